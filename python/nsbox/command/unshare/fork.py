"""The fork of unshare(1): the child becomes the program, and the parent waits and ends as it does."""

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

_DEAF = {signal.SIGINT, signal.SIGTERM}


def fork_steps(request: Request, pin: CommandStep | None) -> Iterator[CommandStep]:
    """Return the steps; mounts that keep namespaces are made by the parent, when there is somebody inside."""
    fork = _Fork(request.forward_signals, pin)
    waits = "passes on SIGINT and SIGTERM" if request.forward_signals else "is deaf to SIGINT and SIGTERM"
    why = f"a child, which a new PID namespace is for; the parent waits, and {waits}"
    yield CommandStep("fork", (Call("clone", flags=("SIGCHLD",)),), "fork(2)", why, fork.do)
    if number := request.kill_child:
        name = signal.Signals(number).name if number in list(signal.Signals) else str(number)
        call = Call("prctl", op=("PR_SET_PDEATHSIG",), arg2=(name,))
        why = "the child does not outlive its parent"
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
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _DEAF)
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
            for number in _DEAF:
                signal.signal(number, lambda number, _: _pass_on(child, number))
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            end_by(os.WTERMSIG(status))
        raise SystemExit(os.WEXITSTATUS(status))

    def end_with_parent(self, number: int) -> None:
        """Have this signal when the parent ends; end at once where it already has."""
        _core.die_with_parent(number)
        if select.select([self._parent], [], [], 0)[0]:
            raise SystemExit(1)


def _pass_on(pidfd: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
