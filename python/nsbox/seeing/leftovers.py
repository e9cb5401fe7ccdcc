"""Processes that were left running: `leftovers`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable

from nsbox.records.processes import Process
from nsbox.seeing.processes import ps
from nsbox.seeing.target import Target, pid_of
from nsbox.views.grid import safe

__all__ = ["describe", "leftovers"]

_GRACE_SECONDS = 0.2
"""The time for processes that are about to end."""
_HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")
"""Processes that Python's multiprocessing keeps until the process ends."""


def leftovers(
    roots: Iterable[Target], known: Callable[[Process], bool] = lambda _: False, timeout: float = _GRACE_SECONDS
) -> list[Process]:
    """Return the living descendants of some processes, without these processes themselves.

    An orphan is a child of the init of its PID namespace, or of the subreaper (prctl(2)) that adopted it.

    Args:
        roots: These processes; one that has ended counts as one without descendants.
        known: Returns whether a descendant is no leftover.
        timeout: Seconds during which they may still end.
    """
    deadline = time.monotonic() + timeout
    above = set()
    for root in roots:
        with contextlib.suppress(ProcessLookupError):
            above.add(pid_of(root, "roots"))
    while (found := _descendants(above, known)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _descendants(roots: set[int], known: Callable[[Process], bool]) -> list[Process]:
    children: dict[int, list[Process]] = {}
    for process in ps():
        children.setdefault(process.ppid, []).append(process)
    found: list[Process] = []
    pending = list(roots)
    while pending:
        # A root may be a descendant of another one, so each family is removed when it is visited.
        for process in children.pop(pending.pop(), []):
            pending.append(process.pid)
            if process.state not in "ZX" and process.pid not in roots and not known(process):
                found.append(process)
    return sorted(found, key=lambda process: process.start_ticks)


def is_helper(process: Process) -> bool:
    """Return whether a process is one that Python's multiprocessing keeps."""
    return any(helper in argument for argument in process.cmdline for helper in _HELPERS)


def describe(process: Process) -> str:
    """Return the command of a process, its PIDs outside and inside, and whether it has its own session.

    Unprintable characters of the command, which the process can choose, are escaped.
    """
    inside = f", {process.pids[-1]} inside" if len(process.pids) > 1 else ""
    daemon = ", in a session of its own" if process.sid in (process.pid, process.pids[-1]) else ""
    return f"{safe(process.command)} (process {process.pid}{inside}{daemon})"
