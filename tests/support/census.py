"""A census of what could leak: processes, descriptors, mounts and namespaces.

The test process is made a subreaper for the whole session (prctl(2), PR_SET_CHILD_SUBREAPER), so that whatever
escapes its own parent becomes a descendant of the test process instead of one of PID 1: a census of descendants
then misses nothing, and sees nothing of what else the machine is doing.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from tests.support import libc

__all__ = ["Census", "adopt_orphans", "descendants", "reap_adopted", "reaped_all", "wait_until"]

GONE_TIMEOUT_SECONDS = 30.0
"""Seconds after which what still exists counts as left behind. The kernel removes namespaces with a delay.

Only a test that fails takes that long, even on a busy machine.
"""


@dataclass(frozen=True)
class Census:
    """All that exists at one moment, each thing as a readable line."""

    processes: frozenset[str]
    descriptors: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]

    @classmethod
    def take(cls) -> Census:
        """Take a census now."""
        family = [os.getpid(), *descendants()]
        return cls(
            processes=frozenset(filter(None, map(_describe, family[1:]))),
            descriptors=frozenset(_descriptors()),
            mounts=frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
            namespaces=frozenset(link for pid in family for link in _namespaces(pid)),
        )

    def extra(self, before: Census) -> list[str]:
        """Return what exists now and did not exist before."""
        return [
            f"{field.name}: {line}"
            for field in fields(self)
            for line in sorted(getattr(self, field.name) - getattr(before, field.name))
        ]

    def left_behind(self, timeout: float = GONE_TIMEOUT_SECONDS) -> list[str]:
        """Return what still exists after the timeout and is not in this census."""
        # The traceback of an expected exception keeps handles alive, in a cycle.
        gc.collect()
        deadline = time.monotonic() + timeout
        while (extra := Census.take().extra(self)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return extra


def adopt_orphans() -> None:
    """Make this process the parent of all orphans among its descendants."""
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)


def reap_adopted() -> None:
    """Reap every child that has ended. Only for when no handle of a child is alive, whose status this would take."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def reaped_all() -> bool:
    """Reap adopted children, and return whether no child is left. For `wait_until`, as a kill takes time."""
    reap_adopted()
    return not descendants()


def descendants(root: int | None = None) -> list[int]:
    """Return the PIDs of all descendants of a process, zombies included; by default of this one."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    pending = [os.getpid() if root is None else root]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def wait_until(condition: object, timeout: float = GONE_TIMEOUT_SECONDS) -> bool:
    """Poll until `condition()` is true; return false if it is not within `timeout` seconds."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _parents() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(name), int(stat.rpartition(")")[2].split()[1])


def _describe(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    command, fields_ = stat.rpartition(")")[0], stat.rpartition(")")[2].split()
    # Between running and sleeping a process changes at any time. The start time tells apart two with the same PID.
    zombie = "zombie" if fields_[0] in "ZX" else "alive"
    return f"{command}) {zombie}, started at {fields_[19]}"


def _descriptors() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            yield f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}"
        except FileNotFoundError:
            continue  # the one that listed the directory


def _namespaces(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/ns")
        yield from (os.readlink(f"/proc/{pid}/ns/{name}") for name in names)
    except OSError:
        return  # a zombie, or a process that has ended
