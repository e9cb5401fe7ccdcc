"""``nsbox run``: a program in new namespaces, with an init, a timeout, signals passed on, and nothing left behind."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Sequence

from nsbox import _core
from nsbox.command.options import UsageError, help_text, parse
from nsbox.command.program import end_by
from nsbox.command.unshare.request import RUN_OPTIONS, popen_options, request_from
from nsbox.errors import SpawnError
from nsbox.start.popen import Popen

__all__ = ["main"]

_USAGE = """\
Usage: nsbox run [options] program [argument...]

Run a program in new namespaces: by default mount, ipc and pid, with a new /proc. nsbox-init is its PID 1. When it ends,
or this command does, however that happens, nothing of it is left.
"""

_TIMED_OUT = 124
"""As timeout(1)."""
_SI_KERNEL = 128
"""Sent by the kernel, as for Ctrl-C, which the program has had as well (sigaction(2))."""
_PASSED_ON = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


def main(arguments: Sequence[str]) -> int:
    """Do it. The exit status is the program's, 1, 124, 126 or 127; a signal that ends the program ends this too."""
    try:
        found, program = parse(RUN_OPTIONS, arguments)
        seconds = [_seconds(value or "") for option, value in found if option.name == "timeout"]
        request = request_from([pair for pair in found if pair[0].name != "timeout"], program)
        if request.show:
            print(f"{_USAGE}\n{help_text(RUN_OPTIONS)}" if request.show == "help" else f"nsbox run {_core.__version__}")
            return 0
        if not program:
            raise UsageError("no program is given")
        options = popen_options(request)
    except UsageError as error:
        print(f"nsbox run: {error}\nTry 'nsbox run --help' for more information.", file=sys.stderr)
        return 1
    early = _noted()
    try:
        process = Popen(request.program, **options)
    except SpawnError:
        raise
    except OSError as error:
        print(f"nsbox run: failed to execute {program[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    with process:
        in_time = _wait(process, seconds[-1] if seconds else math.inf, early)
        if not in_time:
            process.kill()
    if not in_time:
        return _TIMED_OUT
    if process.returncode < 0:
        end_by(-process.returncode)
        return 128 - process.returncode
    return int(process.returncode)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"failed to parse timeout: '{text}'")
    return seconds


def _noted() -> list[int]:
    """Return a list in which every signal is noted that comes before there is a program to pass it on to.

    They must not be blocked yet, since the program starts with the mask of this process; handlers end with an exec.
    """
    noted: list[int] = []
    for number in _PASSED_ON:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: noted.append(number))
    return noted


def _wait(process: Popen, seconds: float, early: list[int]) -> bool:
    """Wait for the end and pass signals on; tell whether it came in time."""
    end = time.monotonic() + seconds
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_PASSED_ON, signal.SIGCHLD})
    for number in early:
        process.send_signal(number)
    while process.poll() is None:
        left = end - time.monotonic()
        if left <= 0:
            return False
        info = signal.sigtimedwait({*_PASSED_ON, signal.SIGCHLD}, min(left, 3600))
        if info is not None and info.si_signo != signal.SIGCHLD and info.si_code != _SI_KERNEL:
            process.send_signal(info.si_signo)
    return True
