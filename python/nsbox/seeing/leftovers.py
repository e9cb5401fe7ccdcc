"""Processes that were left running: `leftovers`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable

from nsbox.records.names import safe
from nsbox.records.processes import Process
from nsbox.seeing.processes import ps
from nsbox.seeing.target import Target, pid_of

__all__ = ["describe", "described", "is_helper", "leftovers"]

MAX_LINES = 10
"""How many commands are named."""
_MAX_COMMAND = 160
"""How many characters of a command are shown."""
_GRACE_SECONDS = 0.2
"""The time for processes that are about to end."""
_HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")
"""Processes that Python's multiprocessing keeps until the process ends."""
_HELPER_SECONDS = 3.0
"""The time for such a process to end while it sleeps, after the process that it belongs to has ended."""
_MAX_HELPER_SECONDS = 20.0


def leftovers(
    roots: Iterable[Target], known: Callable[[Process], bool] = lambda _: False, timeout: float = _GRACE_SECONDS
) -> list[Process]:
    """Return the living descendants of some processes, without these processes themselves.

    An orphan is a child of the init of its PID namespace, or of the subreaper (prctl(2)) that adopted it.

    A process that calls itself one that multiprocessing keeps gets more time, and nothing else for its name: a real one
    ends when the process that it belongs to has ended.

    Args:
        roots: These processes; one that has ended counts as one without descendants.
        known: Returns whether a descendant is no leftover.
        timeout: Seconds during which they may still end; 0 does not wait.
    """
    above = set()
    for root in roots:
        with contextlib.suppress(ProcessLookupError):
            above.add(pid_of(root, "roots"))
    start = busy = time.monotonic()
    while found := _descendants(above, known):
        now, end = time.monotonic(), start + timeout
        helpers = [process for process in found if is_helper(process)] if timeout else []
        if any(process.state != "S" for process in helpers):
            busy = now  # on a busy machine, one that is ending waits for a processor
        if helpers:
            end = max(end, min(busy + _HELPER_SECONDS, start + _MAX_HELPER_SECONDS))
        if now >= end:
            break
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
    """Return whether a process calls itself one that Python's multiprocessing keeps, as any process can."""
    return any(helper in argument for argument in process.cmdline for helper in _HELPERS)


def describe(process: Process) -> str:
    """Return the command of a process, its PIDs outside and inside, and whether it has its own session.

    Unprintable characters of the command, which the process can choose, are escaped.
    """
    inside = f", {process.pids[-1]} inside" if len(process.pids) > 1 else ""
    daemon = ", in a session of its own" if process.sid in (process.pid, process.pids[-1]) else ""
    command = safe(process.command)
    shown = command if len(command) <= _MAX_COMMAND else f"{command[:_MAX_COMMAND]}..."
    return f"{shown} (process {process.pid}{inside}{daemon})"


def described(processes: Collection[Process]) -> list[str]:
    """Return a line for each command, with the first process that has it, and a last line if there are many."""
    by_command: dict[str, list[Process]] = {}
    for process in processes:
        by_command.setdefault(process.command, []).append(process)
    groups = list(by_command.values())
    lines = [describe(first) + (f" and {len(others)} more" if others else "") for first, *others in groups[:MAX_LINES]]
    if rest := groups[MAX_LINES:]:
        commands = f"{len(rest)} other command{'s' * (len(rest) > 1)}"
        lines.append(f"and {sum(map(len, rest))} more, of {commands}")
    return lines
