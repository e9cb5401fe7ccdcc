"""Programs in joined namespaces: they come from files that the processes there have arranged."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Box, Join, Namespace, Pidfd

from tests.support.forked import as_user
from tests.support.inside import own_links, status
from tests.support.needs import needs_root

PRIVATE: dict[str, Any] = {"map_users": [(0, 2_000_000_000, 65536)]}
QUIET: Any = {"capture_output": True, "text": True, "check": True, "timeout": 60}

REPLACE_LS = """
mount -t tmpfs tmpfs /mnt
printf '#!/bin/sh\\ncat /proc/self/status; cat /etc/shadow; readlink /proc/self/ns/user\\n' > /mnt/ls
chmod 755 /mnt/ls
mount --bind /mnt/ls /bin/ls
mount --bind /mnt/ls /usr/bin/ls
"""
"""The payload's own `ls`, as everyone in its mount namespace finds it."""


@contextlib.contextmanager
def hostile() -> Iterator[Box]:
    """Make a box of root's with a user namespace and a private range, in which a program has replaced `ls`."""
    with Box("Ump", **PRIVATE) as box:
        box.run(["sh", "-c", REPLACE_LS], check=True)
        yield box


def attack(way: str, box: Box) -> str:
    """Have root run the `ls` of the box, in one of the ways to join."""
    keywords: dict[str, Any] = {**QUIET, "check": False}
    if way == "enter":
        return str(nsbox.enter(box, "mount", ["ls"], **keywords).stdout)
    if way == "root":
        return str(nsbox.enter(box, "", ["ls"], root=True, **keywords).stdout)
    if way == "namespace":
        with box.namespace("mount") as namespace:
            return str(nsbox.enter(namespace, None, ["ls"], **keywords).stdout)
    if way == "pidfd":
        return str(nsbox.enter(Pidfd(box.pidfd), "mount pid", ["ls"], **keywords).stdout)
    if way == "no init":
        return str(nsbox.enter(box, "mount", ["ls"], init=False, **keywords).stdout)
    if way == "no fork":
        return str(nsbox.enter(box, "mount", ["ls"], fork=False, **keywords).stdout)
    if way == "shell":
        with nsbox.Shell("", join=Join(box, "mount")) as shell:
            return shell.run("ls").stdout
    join = Join(box, "mount net ipc")
    return str(nsbox.run(["ls"], unshare="", join=join, **keywords).stdout)


@needs_root
@pytest.mark.parametrize("way", ["enter", "root", "namespace", "pidfd", "no init", "no fork", "shell", "run"])
def test_rights_of_the_box(way: str) -> None:
    """The program has the rights of the box: its user namespace, its user, and no file of root's."""
    with hostile() as box, box.namespace("user") as theirs:
        said = attack(way, box)
    assert status(said)["Uid"].split() == ["0"] * 4, said
    assert status(said)["Gid"].split() == ["0"] * 4
    assert "root:" not in said
    assert f"user:[{theirs.id}]" in said


@needs_root
def test_asked_for_by_name() -> None:
    """With trust=True the program keeps the caller's rights, as with nsenter(1)."""
    with hostile() as box:
        said = nsbox.enter(box, "mount", ["ls"], trust=True, **QUIET).stdout
    assert own_links()["user"] in said
    assert Path("/etc/shadow").read_text() in said


@needs_root
def test_said_in_the_plan() -> None:
    """The plan names the namespace that was added, and why."""
    with hostile() as box, nsbox.Popen(["true"], unshare="", join=Join(box, "mount")) as process:
        ((kind, why),) = process.plan.added
        assert kind == "user"
        assert "trust=True" in why
        assert "the user namespace is joined as well" in str(process.plan)
    with hostile() as box, nsbox.Popen(["true"], unshare="", join=Join(box, "mount", trust=True)) as process:
        assert process.plan.added == []


@needs_root
def test_nothing_changes_without_a_user_namespace() -> None:
    """What belongs to the caller's own user namespace is joined as before."""
    with Box("mpn") as box:
        said = nsbox.enter(box, "mount net", ["readlink", "/proc/self/ns/user"], **QUIET).stdout
    assert said.strip() == own_links()["user"]


@needs_root
def test_two_owners() -> None:
    """Namespaces of two boxes: a program has the rights of one, so the caller has to say which."""
    with hostile() as box, Box("Un", **PRIVATE) as other:
        joins = [Join(box, "mount"), Join(other, "net")]
        with pytest.raises(nsbox.SpecError, match="different user namespaces"):
            nsbox.run(["true"], unshare="", join=joins)
        assert nsbox.run(["true"], unshare="", join=[joins[0], Join(other, "net user", trust=True)]).returncode == 0


@needs_root
def test_no_number_inside() -> None:
    """A user namespace without a root, in which root of the caller has no number: refused, and explained."""
    with Box("Ump", map_users=[(5, 2_000_000_000, 5)]) as box:
        with pytest.raises(nsbox.SpawnError) as caught:
            nsbox.enter(box, "mount", ["true"])
        assert (caught.value.step, caught.value.cause) == ("become root", "no-number-inside")
        command = ["cat", "/proc/self/status"]
        said = nsbox.enter(box, "mount", command, preserve_credentials=True, user=6, group=6, extra_groups=[], **QUIET)
        assert status(said.stdout)["Uid"].split() == ["6"] * 4


def test_ordinary_user() -> None:
    """An ordinary user had no other way, and keeps it."""

    def check() -> tuple[str, str]:
        with Box("mp") as box, Namespace.of(box, "user") as theirs:
            said = nsbox.enter(box, "mount", ["readlink", "/proc/self/ns/user"], **QUIET).stdout
            return str(said).strip(), f"user:[{theirs.id}]"

    said, theirs = as_user(check)
    assert said == theirs


@needs_root
def test_nsenter_follows_nsenter() -> None:
    """`nsbox nsenter` does what nsenter(1) does, and its help says so."""

    def output(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    ours = [sys.executable, "-m", "nsbox", "nsenter"]
    with hostile() as box:
        options = ["--target", str(box.pid), "--mount", "readlink", "/proc/self/ns/user"]
        assert output(*ours, *options) == output("nsenter", *options) == own_links()["user"] + "\n"
    assert "keeps the caller's rights" in " ".join(output(*ours, "--help").split())
