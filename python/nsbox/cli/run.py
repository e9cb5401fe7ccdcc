"""``nsbox run``: a program in new namespaces, with an init and a timeout. Signals are forwarded to the program."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from subprocess import PIPE

from nsbox import _core
from nsbox.cli import _output
from nsbox.command.options import UsageError, help_text, parse
from nsbox.command.program import end_by
from nsbox.command.unshare.request import RUN_OPTIONS, max_output_of, popen_options, request_from
from nsbox.errors import SpawnError
from nsbox.start.output import OutputLimit
from nsbox.start.popen import Popen

__all__ = ["main"]

_USAGE = """\
Usage: nsbox run [options] program [argument...]

Run a program in new namespaces: by default mount, ipc and pid, with a new
/proc. nsbox-init is PID 1 there. When the program exits, or nsbox is killed,
everything that the program has started is killed too.

Example: nsbox run ps -e
"""

_TIMED_OUT = 124
"""The exit status after a timeout, as for timeout(1)."""
_TOO_MUCH = 125
"""The exit status after more output than allowed."""
_READ_BYTES = 1 << 16
_SI_KERNEL = 128
"""The kernel sent the signal, as for Ctrl-C: the program got it as well, in the same process group (sigaction(2))."""
_FORWARDED = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


def main(arguments: Sequence[str]) -> int:
    """Run the program; return its exit status, or 1, 124 to 127. The signal that kills it kills this process."""
    try:
        found, program = parse(RUN_OPTIONS, arguments)
        seconds = [_seconds(value or "") for option, value in found if option.name == "timeout"]
        limits = [max_output_of(value or "") for option, value in found if option.name == "max-output"]
        request = request_from([pair for pair in found if pair[0].name not in ("timeout", "max-output")], program)
        if request.show:
            is_help = request.show == "help"
            _output.write(f"{_USAGE}\n{help_text(RUN_OPTIONS)}" if is_help else f"nsbox run {_core.__version__}")
            return 0
        if not program:
            raise UsageError("no program is given. Example: nsbox run ps -e")
        options = popen_options(request)
        if limits:
            options |= {"stdout": PIPE, "stderr": PIPE}
    except UsageError as error:
        return _output.usage_error("run", error)
    early = _record_signals()
    try:
        process = Popen(request.program, **options)
    except SpawnError:
        raise
    except OSError as error:
        print(f"nsbox run: failed to execute {program[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    relays = [_Relay(process, fd, limits[-1]) for fd in (1, 2)] if limits else []
    with process:
        in_time = _wait(process, seconds[-1] if seconds else math.inf, early, relays)
        if not in_time:
            process.kill()
            process.wait()
        for relay in relays:
            relay.join()
    if exceeded := [relay for relay in relays if relay.exceeded]:
        limit = exceeded[0].limit
        done = "the rest was dropped" if limit.on_exceed == "truncate" else "everything was killed"
        print(f"nsbox run: the program has written more than {limit.bytes} bytes; {done}", file=sys.stderr)
        if limit.on_exceed == "kill":
            return _TOO_MUCH
    if not in_time:
        print(f"nsbox run: killed after {seconds[-1]:g} s, with everything that it has started", file=sys.stderr)
        return _TIMED_OUT
    if process.returncode < 0:
        end_by(-process.returncode)
        return 128 - process.returncode
    return int(process.returncode)


class _Relay(threading.Thread):
    """Passes on what a program writes to a stream, up to the limit.

    Attributes:
        limit: The limit.
        exceeded: Whether there was more.
    """

    def __init__(self, process: Popen, fd: int, limit: OutputLimit) -> None:
        """Prepare for a stream, by its number. Call `start` while signals are blocked: a thread inherits that."""
        super().__init__(daemon=True)
        self.limit, self.exceeded = limit, False
        self._process, self._fd = process, fd

    def run(self) -> None:
        """Read up to the end."""
        source = self._process.stdout if self._fd == 1 else self._process.stderr
        assert source is not None
        room = self.limit.bytes
        while data := os.read(source.fileno(), _READ_BYTES):
            piece, room = memoryview(data)[:room], max(0, room - len(data))
            self.exceeded = self.exceeded or len(piece) < len(data)
            try:
                while piece:
                    piece = piece[os.write(self._fd, piece) :]
            except OSError:
                # Nobody reads it: the program gets SIGPIPE, as without a limit.
                source.close()
                return
            if self.exceeded and self.limit.on_exceed == "kill":
                self._process.kill()
                return


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"failed to parse timeout: '{text}'")
    return seconds


def _record_signals() -> list[int]:
    """Return a list to which every signal is appended that arrives before the program can receive it.

    The signals must not be blocked yet: the program inherits the mask of this process. An exec resets handlers.
    """
    received: list[int] = []
    for number in _FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: received.append(number))
    return received


def _wait(process: Popen, seconds: float, early: list[int], relays: Sequence[_Relay]) -> bool:
    """Wait until the program exits and forward signals to it; return whether it exited in time."""
    deadline = time.monotonic() + seconds
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    for relay in relays:
        relay.start()
    for number in early:
        process.send_signal(number)
    while process.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        info = signal.sigtimedwait({*_FORWARDED, signal.SIGCHLD}, min(left, 3600))
        if info is not None and info.si_signo != signal.SIGCHLD and info.si_code != _SI_KERNEL:
            process.send_signal(info.si_signo)
    return True
