"""Boxes with a root, mounts, limits and ids of their own: what holds for one program holds for all of a box."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Box, Tmpfs

from tests.support.forked import USER, Who, as_user
from tests.support.rootfs import Rootfs
from tests.support.subids import GRANTED, granted


def says(box: Box, *command: str, **options: Any) -> str:
    """Return what a program in the box says."""
    return str(box.run(command, stdout=subprocess.PIPE, text=True, check=True, **options).stdout)


@pytest.fixture
def rootfs(place: Path) -> Rootfs:
    return Rootfs.make(place)


def test_root_and_mounts(who: Who, rootfs: Rootfs) -> None:
    """Each program starts in the new root, and what one writes into a tmpfs the next one reads."""

    def check() -> list[str]:
        with Box("mip", mount_proc=True, **rootfs.options(Tmpfs("/tmp"))) as box:
            box.run(["sh", "-c", "echo kept > /tmp/file"], check=True)
            assert any(step.name == "pivot root" and step.errno == 0 for step in box.steps)
            return [
                says(box, "pwd"),
                says(box, "ls", "/"),
                says(box, "cat", "/tmp/file"),
                says(box, "pwd", cwd="/data"),
            ]

    assert who(check) == ["/\n", "".join(f"{name}\n" for name in rootfs.names()), "kept\n", "/data\n"]


def test_start_directory_in_the_root(who: Who, rootfs: Rootfs) -> None:
    """`cwd` of the box is a path in its root, as is that of a box inside it."""

    def check() -> tuple[str, str]:
        options = rootfs.options(nsbox.Bind("/dev", "/tmp", dev=True), mount_proc=True)
        with Box("mip", cwd="/data", **options) as box, box.Box("mip", mounts=[Tmpfs("/etc")]) as inner:
            return says(box, "pwd"), says(inner, "ls", "/etc")

    assert who(check) == ("/data\n", "")


def test_limits_for_each_program(who: Who) -> None:
    """nsbox-init itself, which needs descriptors, has none of it."""

    def check() -> str:
        with Box("mip", rlimits={"nofile": 5}) as box:
            return says(box, "sh", "-c", "ulimit -n") + says(box, "sh", "-c", "ulimit -n")

    assert who(check) == "5\n5\n"


def test_ids(who: Who) -> None:
    """newuidmap(1) serves boxes as well; in a box inside, words for the caller's own ranges mean nothing."""
    words: dict[str, Any] = {"map_users": "auto", "map_groups": "auto"}

    def check() -> str:
        with Box("Ump", **words, map_root_user=True) as box:
            with pytest.raises(nsbox.SpecError, match=r"^map_users: 'auto'"):
                box.Box("U", **words)
            with box.Box("U", map_users=[(0, 5, 3)], map_groups=[(0, 5, 3)]) as inner:
                return says(box, "cat", "/proc/self/uid_map") + says(inner, "cat", "/proc/self/uid_map")

    lines = [list(map(int, line.split())) for line in granted(lambda: who(check)).splitlines()]
    assert lines[0][1:] == [0 if who.is_root else USER, 1]
    assert lines[1] == [1, GRANTED[0], GRANTED[1] - 1]
    # As seen by a member of the inner namespace, outside is the outer one.
    assert lines[2] == [0, 5, 3]


def test_failures_name_the_step(who: Who, rootfs: Rootfs) -> None:
    """As for a single program."""

    def check() -> tuple[str, str, int | None, str]:
        with pytest.raises(nsbox.SpawnError) as caught:
            Box("mip", **rootfs.options(Tmpfs("/nonexistent")))
        error = caught.value
        return error.step, error.actor, error.errno, error.evidence[:22]

    assert who(check) == ("tmpfs", "init", errno.ENOENT, "looking up the target;")


def test_more_than_granted_in_a_box() -> None:
    """A box of an ordinary user cannot map more inside it than it has."""

    def check() -> tuple[str, int | None]:
        with Box("U") as box:
            with pytest.raises(nsbox.SpawnError) as caught:
                box.Box("U", map_users=[(0, 5, 3)])
            return caught.value.step, caught.value.errno

    assert as_user(check) == ("uid_map", errno.EPERM)
