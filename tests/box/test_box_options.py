"""Boxes with a root, mounts, limits and ids of their own: the options hold for all programs of a box."""

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


def output_of(box: Box, *command: str, **options: Any) -> str:
    """Return the output of a program in the box."""
    return str(box.run(command, stdout=subprocess.PIPE, text=True, check=True, **options).stdout)


@pytest.fixture
def rootfs(place: Path) -> Rootfs:
    return Rootfs.make(place)


def test_root_and_mounts(who: Who, rootfs: Rootfs) -> None:
    """Each program starts in the new root, and a later one reads what an earlier one has written to a tmpfs."""

    def check() -> list[str]:
        with Box("mip", mount_proc=True, **rootfs.options(Tmpfs("/tmp"))) as box:
            box.run(["sh", "-c", "echo kept > /tmp/file"], check=True)
            assert any(step.name == "pivot root" and step.errno == 0 for step in box.steps)
            return [
                output_of(box, "pwd"),
                output_of(box, "ls", "/"),
                output_of(box, "cat", "/tmp/file"),
                output_of(box, "pwd", cwd="/data"),
            ]

    assert who(check) == ["/\n", "".join(f"{name}\n" for name in rootfs.names()), "kept\n", "/data\n"]


def test_start_directory_in_the_root(who: Who, rootfs: Rootfs) -> None:
    """`cwd` is a path in the root of the box, also for a box inside it."""

    def check() -> tuple[str, str]:
        options = rootfs.options(nsbox.Bind("/dev", "/tmp", dev=True), mount_proc=True)
        with Box("mip", cwd="/data", **options) as box, box.Box("mip", mounts=[Tmpfs("/etc")]) as inner:
            return output_of(box, "pwd"), output_of(inner, "ls", "/etc")

    assert who(check) == ("/data\n", "")


def test_limits_for_each_program(who: Who) -> None:
    """The limits do not hold for nsbox-init, which needs descriptors."""

    def check() -> str:
        with Box("mip", rlimits={"nofile": 5}) as box:
            return output_of(box, "sh", "-c", "ulimit -n") + output_of(box, "sh", "-c", "ulimit -n")

    assert who(check) == "5\n5\n"


def test_ids(who: Who) -> None:
    """newuidmap(1) works for boxes as well; in an inner box, words such as "auto" are refused."""
    words: dict[str, Any] = {"map_users": "auto", "map_groups": "auto"}

    def check() -> str:
        with Box("Ump", **words, map_root_user=True) as box:
            with pytest.raises(nsbox.SpecError, match=r"^map_users: 'auto'"):
                box.Box("U", **words)
            with box.Box("U", map_users=[(0, 5, 3)], map_groups=[(0, 5, 3)]) as inner:
                return output_of(box, "cat", "/proc/self/uid_map") + output_of(inner, "cat", "/proc/self/uid_map")

    lines = [list(map(int, line.split())) for line in granted(lambda: who(check)).splitlines()]
    assert lines[0][1:] == [0 if who.is_root else USER, 1]
    assert lines[1] == [1, GRANTED[0], GRANTED[1] - 1]
    # A process in the inner namespace sees the outer one as outside.
    assert lines[2] == [0, 5, 3]


def test_failures_name_the_step(who: Who, rootfs: Rootfs) -> None:
    """The error names the step, as for a single program."""

    def check() -> tuple[str, str, int | None, str]:
        with pytest.raises(nsbox.SpawnError) as caught:
            Box("mip", **rootfs.options(Tmpfs("/nonexistent")))
        error = caught.value
        return error.step, error.actor, error.errno, error.evidence[:22]

    assert who(check) == ("tmpfs", "init", errno.ENOENT, "looking up the target;")


def test_more_than_granted_in_a_box() -> None:
    """A user's box cannot map more ids in an inner box than it has."""

    def check() -> tuple[str, int | None]:
        with Box("U") as box:
            with pytest.raises(nsbox.SpawnError) as caught:
                box.Box("U", map_users=[(0, 5, 3)])
            return caught.value.step, caught.value.errno

    assert as_user(check) == ("uid_map", errno.EPERM)
