"""Processes that somebody left behind: `leftovers`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from nsbox.records.processes import Process
from nsbox.seeing.processes import ps

__all__ = ["describe", "leftovers"]

_PATIENCE = 0.2
"""Seconds for what is just about to end."""
_HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")
"""What Python's own multiprocessing keeps for the life of the process."""


def leftovers(
    roots: Iterable[int], known: Callable[[Process], bool] = lambda _: False, patience: float = _PATIENCE
) -> list[Process]:
    """Return the living descendants of some processes, but not those processes themselves.

    An orphan is a descendant of the init of its PID namespace, or of the subreaper (prctl(2)) that adopted it.

    Args:
        roots: Their PIDs, as the caller sees them.
        known: Tells which descendants are no leftovers.
        patience: Seconds in which they may still end.
    """
    deadline = time.monotonic() + patience
    while (found := _descendants(set(roots), known)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _descendants(roots: set[int], known: Callable[[Process], bool]) -> list[Process]:
    children: dict[int, list[Process]] = {}
    for process in ps():
        children.setdefault(process.ppid, []).append(process)
    found: list[Process] = []
    pending = list(roots)
    while pending:
        # A root may be below another one, so each family is taken out as it is seen.
        for process in children.pop(pending.pop(), []):
            pending.append(process.pid)
            if process.state not in "ZX" and process.pid not in roots and not known(process):
                found.append(process)
    return sorted(found, key=lambda process: process.start_ticks)


def is_helper(process: Process) -> bool:
    """Tell whether a process is one that Python's multiprocessing keeps for later."""
    return any(helper in argument for argument in process.cmdline for helper in _HELPERS)


def describe(process: Process) -> str:
    """Say which process it is, under its numbers inside and outside, and whether it has made itself a daemon."""
    inside = f", {process.pids[-1]} inside" if len(process.pids) > 1 else ""
    daemon = ", in a session of its own" if process.sid in (process.pid, process.pids[-1]) else ""
    return f"{process.command} (process {process.pid}{inside}{daemon})"
