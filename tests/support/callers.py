"""A process that starts boxes and is killed without a warning, as the out-of-memory killer does it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from tests.support.census import GONE_TIMEOUT_SECONDS, descendants, reap_adopted
from tests.support.forked import fork

__all__ = ["Caller", "alive", "caller", "survivors"]


@dataclass(frozen=True)
class Caller:
    """A forked child that runs a function, and the pipe through which it sends text to the test."""

    pid: int
    reader: int

    def receive(self) -> str:
        """Return the next text that the child has sent."""
        return os.read(self.reader, 1000).decode()

    def kill(self) -> None:
        """Kill the child with SIGKILL, so that it can neither catch the signal nor clean up, and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@contextmanager
def caller(function: Callable[[Callable[[object], None]], object]) -> Iterator[Caller]:
    """Run `function(send)` in a child. When the function has returned, the child waits until it is killed."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        _run(function, writer)
    os.close(writer)
    try:
        yield Caller(pid, reader)
    finally:
        os.close(reader)
        # Kill all that the test has not ended itself.
        for survivor in descendants():
            # The process may end by itself in between.
            with suppress(ProcessLookupError):
                os.kill(survivor, signal.SIGKILL)
        survivors()
        reap_adopted()


def _run(function: Callable[[Callable[[object], None]], object], writer: int) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(600)
    try:

        def send(what: object) -> None:
            os.write(writer, str(what).encode())

        kept = function(send)
        while kept is not NotImplemented:
            time.sleep(60)
    finally:
        os._exit(1)


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def survivors(timeout: float = GONE_TIMEOUT_SECONDS, *, root: int | None = None) -> list[int]:
    """Return the descendants that are still alive after the timeout, in seconds."""
    deadline = time.monotonic() + timeout
    while (left := list(filter(alive, descendants(root)))) and time.monotonic() < deadline:
        time.sleep(0.005)
    return left
