"""Mounts made inside are not visible outside, even where "/" is shared, as with systemd."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import nsbox
import pytest

from tests.support import libc
from tests.support.forked import Who, as_user, in_child
from tests.support.inside import by_unshare, cat, mounts
from tests.support.needs import needs_root

T = TypeVar("T")

ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "init": {},
    "no init": {"init": False},
    "no fork": {"fork": False},
}
CLONE_NEWNS = 0x20000


def where_all_is_shared(function: Callable[[], T]) -> T:
    """Run `function` in a child with a mount namespace of its own in which every mount is shared."""

    def prepared() -> T:
        libc.unshare(CLONE_NEWNS)
        # First made private, apart from the machine's, then shared among the children of this process.
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_SHARED)
        return function()

    return in_child(prepared)


def own_mounts() -> list[str]:
    """Return the mount table of this process, including ids."""
    return Path("/proc/self/mountinfo").read_text().splitlines()


@needs_root
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("propagation", ["private", "slave"])
@pytest.mark.parametrize("user", ["root", "user"])
def test_nothing_is_seen_outside(propagation: Any, arrangement: str, user: str, place: Path) -> None:
    """Neither nsbox's own mounts nor the payload's leave the namespace."""
    options = ARRANGEMENTS[arrangement] | {"unshare": "m" if arrangement == "no fork" else "mip"}
    script = f"mount -t tmpfs inside {place} && grep -c ' {place} ' /proc/self/mountinfo"

    def check() -> tuple[list[str], list[str], list[str]]:
        before = own_mounts()

        def box() -> list[str]:
            keywords = {"capture_output": True, "text": True, "propagation": propagation, **options}
            # Where the new PID namespace has no process yet, its proc cannot be mounted.
            proc = arrangement != "no fork"
            return [nsbox.run(["sh", "-c", script], mount_proc=proc, **keywords).stdout for _ in range(3)]

        return before, box() if user == "root" else as_user(box), own_mounts()

    before, seen_inside, after = where_all_is_shared(check)
    assert seen_inside == ["1\n"] * 3
    assert before == after


@needs_root
@pytest.mark.parametrize("propagation", ["private", "slave", "shared", "unchanged"])
def test_as_unshare(propagation: Any) -> None:
    """The mount table is that of the real unshare(1), for every kind of propagation."""
    file = "/proc/self/mountinfo"

    def both() -> tuple[list[str], list[str]]:
        theirs = by_unshare("-m", "--propagation", propagation, "cat", file)
        return mounts(cat(file, unshare="m", propagation=propagation)), mounts(theirs)

    ours, theirs = where_all_is_shared(both)
    assert ours == theirs


@needs_root
def test_slave_receives(place: Path) -> None:
    """With "slave", a later mount outside appears inside."""

    def check() -> str:
        script = f"read line; grep -c ' {place} ' /proc/self/mountinfo"
        with nsbox.Popen(["sh", "-c", script], unshare="m", propagation="slave", stdin=-1, stdout=-1) as process:
            libc.mount("outside", str(place), "tmpfs")
            return bytes(process.communicate(b"go\n")[0]).decode()

    assert where_all_is_shared(check) == "1\n"


@needs_root
def test_shared_is_what_was_asked(place: Path) -> None:
    """With "unchanged" and a mount by the user it appears outside: the lesson of the exercise."""

    def check() -> bool:
        nsbox.run(["mount", "-t", "tmpfs", "inside", place], unshare="m", propagation="unchanged", check=True)
        return any(f" {place} " in line for line in own_mounts())

    assert where_all_is_shared(check)


def test_the_host_is_not_touched(who: Who) -> None:
    """The mount namespace of the tests is the same afterwards; the census compares it after every test."""
    before = own_mounts()
    who(lambda: nsbox.run(["true"], unshare="mip", mount_proc=True))
    assert own_mounts() == before
    assert os.path.exists("/proc/self")
