"""A process that starts boxes and is killed without a warning, as an out-of-memory kill does it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from tests.support.census import PATIENCE, descendants, reap_adopted
from tests.support.forked import fork

__all__ = ["Caller", "alive", "caller", "nobody_left"]


@dataclass(frozen=True)
class Caller:
    """A forked child that runs a function, and the pipe through which it tells us things."""

    pid: int
    reader: int

    def tells(self) -> str:
        """Return the next thing it says."""
        return os.read(self.reader, 1000).decode()

    def kill(self) -> None:
        """End it as nothing can be caught or cleaned up, and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@contextmanager
def caller(function: Callable[[Callable[[object], None]], object]) -> Iterator[Caller]:
    """Run `function(tell)` in a child, which waits for its end by somebody else's hand once that has returned."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        _run(function, writer)
    os.close(writer)
    try:
        yield Caller(pid, reader)
    finally:
        os.close(reader)
        # Whatever a test did not get to end.
        for survivor in descendants():
            # It may end by itself in between.
            with suppress(ProcessLookupError):
                os.kill(survivor, signal.SIGKILL)
        nobody_left()
        reap_adopted()


def _run(function: Callable[[Callable[[object], None]], object], writer: int) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(600)
    try:

        def tell(what: object) -> None:
            os.write(writer, str(what).encode())

        kept = function(tell)
        while kept is not NotImplemented:
            time.sleep(60)
    finally:
        os._exit(1)


def alive(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def nobody_left(patience: float = PATIENCE, *, root: int | None = None) -> list[int]:
    """Return the descendants that are still alive after a while."""
    deadline = time.monotonic() + patience
    while (left := list(filter(alive, descendants(root)))) and time.monotonic() < deadline:
        time.sleep(0.005)
    return left
