"""The namespaces of the threads of this process, to see which of them a scope moves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from nsbox.spec.kinds import namespace_names

from tests.support.forked import in_child
from tests.support.inside import LINKS
from tests.support.threads import busy

__all__ = ["CHILDREN", "SCOPED", "changed", "everywhere", "names_of", "nothing_moves", "place_of", "threaded"]

T = TypeVar("T")
CHILDREN = {"pid": "pid_for_children", "time": "time_for_children"}
SCOPED = ("mount", "pid", "ipc", "uts", "net", "cgroup")


def place_of(tid: int | str = "thread-self") -> dict[str, str]:
    """The namespaces of a thread, and those that its children are created in."""
    base = "/proc/thread-self" if tid == "thread-self" else f"/proc/self/task/{tid}"
    found = {}
    for name in (*LINKS.values(), *CHILDREN.values()):
        try:
            found[name] = os.readlink(f"{base}/ns/{name}")
        except FileNotFoundError:
            found[name] = "unborn"
    return found


def everywhere() -> dict[int, dict[str, str]]:
    """The namespaces of all threads of this process."""
    return {int(tid): place_of(tid) for tid in os.listdir("/proc/self/task")}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def names_of(kinds: Any) -> set[str]:
    """The links of a thread that differ in a scope of these kinds."""
    return {CHILDREN.get(kind, LINKS[kind]) for kind in namespace_names(kinds)}


def threaded(function: Callable[[], T]) -> T:
    """Run the function in a child with busy threads."""

    def check() -> T:
        with busy(3):
            return function()

    return in_child(check)


@contextmanager
def nothing_moves() -> Iterator[None]:
    """Check that the block changes nothing for good: threads' namespaces, directories, descriptors."""

    def look() -> Any:
        directories = os.getcwd(), os.stat("/").st_ino, os.umask(0o22)
        os.umask(directories[2])
        return everywhere(), directories, sorted(os.listdir("/proc/self/fd")), Path("/proc/self/mountinfo").read_text()

    before = look()
    yield
    assert look() == before
