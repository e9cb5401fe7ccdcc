"""The fork of unshare(1): the child becomes the program; the parent waits, and exits as the child did."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator

from nsbox import _core
from nsbox._core import Call
from nsbox.command.program import end_by
from nsbox.command.step import CommandStep
from nsbox.command.unshare.request import Request
from nsbox.diagnosis.failure import spawn_error

__all__ = ["fork_steps"]

_SIGNALS = {signal.SIGINT, signal.SIGTERM}
"""Signals that the parent forwards to the child, or blocks."""


def fork_steps(request: Request, pin: CommandStep | None) -> Iterator[CommandStep]:
    """Return the steps; the parent makes the mounts that keep namespaces, when the child is in them."""
    fork = _Fork(request.forward_signals, pin)
    signals = "forwards SIGINT and SIGTERM" if request.forward_signals else "blocks SIGINT and SIGTERM"
    why = f"a new PID namespace is for children only; the parent waits, and {signals}"
    yield CommandStep("fork", (Call("clone", flags=("SIGCHLD",)),), "fork(2)", why, fork.do)
    if number := request.kill_child:
        name = signal.Signals(number).name if number in list(signal.Signals) else str(number)
        call = Call("prctl", op=("PR_SET_PDEATHSIG",), arg2=(name,))
        why = "the child is killed when its parent exits"
        yield CommandStep(
            "parent death signal", (call,), "PR_SET_PDEATHSIG(2const)", why, lambda: fork.end_with_parent(number)
        )
    if pin:
        yield CommandStep(pin.name, pin.calls, pin.manual, f"{pin.why}; the parent makes it", lambda: None)


class _Fork:
    def __init__(self, forward: bool, pin: CommandStep | None) -> None:
        self._forward, self._pin = forward, pin
        self._parent = -1

    def do(self) -> None:
        """Return in the child."""
        self._parent = os.pidfd_open(os.getpid())
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return
        if self._pin:
            try:
                self._pin.do()
            except BaseException as error:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                if isinstance(error, OSError):
                    raise spawn_error(error.errno or 0, "pin", "unshare", self._pin.calls) from None
                raise
        if self._forward:
            child = os.pidfd_open(pid)
            for number in _SIGNALS:
                signal.signal(number, lambda number, _: _forward(child, number))
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            end_by(os.WTERMSIG(status))
        raise SystemExit(os.WEXITSTATUS(status))

    def end_with_parent(self, number: int) -> None:
        """Have the kernel send this signal when the parent exits; exit at once where it already has."""
        _core.die_with_parent(number)
        if select.select([self._parent], [], [], 0)[0]:
            raise SystemExit(1)


def _forward(pidfd: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
