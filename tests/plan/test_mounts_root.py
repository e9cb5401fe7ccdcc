"""A new root: what it contains, that nothing of the old one is left, and every way in which it can fail."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support import seccomp
from tests.support.callers import alive, survivors
from tests.support.forked import Who, in_child
from tests.support.needs import needs_root
from tests.support.rootfs import Rootfs
from tests.support.seccomp import Deny
from tests.support.start import failure

ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "init": {"unshare": "mip", "mount_proc": True},
    "no pid": {"unshare": "m", "map_root_user": True},
    "no init": {"unshare": "mip", "mount_proc": True, "init": False},
    "no fork": {"unshare": "m", "fork": False},
}


@pytest.fixture
def rootfs(place: Path) -> Rootfs:
    return Rootfs.make(place)


def out(who: Who, *command: str, **options: Any) -> str:
    """Return the output of a program."""
    run = lambda: nsbox.run(command, stdout=subprocess.PIPE, text=True, check=True, **options)  # noqa: E731
    return str(who(run).stdout)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_only_the_new_root_is_visible(who: Who, rootfs: Rootfs, arrangement: str) -> None:
    """The root is the directory, also for paths with `..`, and the payload starts there."""
    options = rootfs.options(**ARRANGEMENTS[arrangement])
    assert out(who, "ls", "/", **options).split() == rootfs.names()
    assert out(who, "ls", "/../../..", **options).split() == rootfs.names()
    assert out(who, "sh", "-c", "pwd; cd ..; pwd; cat ../etc/marker", **options) == "/\n/\nin the box\n"


@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_no_mount_of_the_old_root_is_left(who: Who, rootfs: Rootfs, arrangement: str) -> None:
    """The mount table has only what was asked for."""
    options = rootfs.options(nsbox.Tmpfs("/tmp"), **ARRANGEMENTS[arrangement])
    lines = out(who, "cat", "/proc/self/mountinfo", **options).splitlines()
    below = {os.fsdecode(mount.target) for mount in rootfs.mounts}
    points = {line.split()[4] for line in lines}
    assert {"/", "/proc", "/tmp", *below} <= points
    # Mounts below a recursive bind are there as well.
    assert all(point in ("/", "/proc", "/tmp") or point.startswith(tuple(below)) for point in points)


def test_it_is_no_chroot(rootfs: Rootfs) -> None:
    """Root can leave a chroot by making another and going up from outside of it. Here no directory is above."""
    script = (
        "import os; os.mkdir('/tmp/x'); os.chroot('/tmp/x'); [os.chdir('..') for _ in range(50)]; os.chroot('.'); "
        "print(sorted(os.listdir('/')))"
    )
    for options in ({}, {"init": False}):
        found = out(
            Who("root"), "python3", "-c", script, unshare="mip", **rootfs.options(nsbox.Tmpfs("/tmp")), **options
        )
        assert found == f"{rootfs.names()}\n"


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_working_directory(who: Who, rootfs: Rootfs, arrangement: str) -> None:
    """`cwd` is a path in the new root; a missing one is an error as in subprocess."""
    options = rootfs.options(**ARRANGEMENTS[arrangement])
    assert out(who, "pwd", cwd="/data", **options) == "/data\n"

    def check() -> str:
        with pytest.raises(FileNotFoundError) as caught:
            nsbox.run(["pwd"], cwd="/var", **options)
        return str(caught.value.filename)

    assert who(check) == "/var"


def test_programs_are_looked_up_inside(who: Who, rootfs: Rootfs) -> None:
    """Programs are looked up in the new root, by path and by PATH."""
    program = rootfs.path / "data" / "program"
    program.write_text("#!/bin/sh\necho its own\n")
    program.chmod(0o755)
    assert out(who, "/data/program", **rootfs.options()) == "its own\n"
    assert out(who, "program", env={"PATH": "/bin:/data"}, **rootfs.options()) == "its own\n"
    with pytest.raises(FileNotFoundError, match=str(program)):
        nsbox.run([program], **rootfs.options())


def test_a_relative_path(who: Who, rootfs: Rootfs) -> None:
    """A relative path is allowed, as with chroot(8)."""

    def check() -> str:
        os.chdir(rootfs.path.parent)
        options = rootfs.options() | {"root": "root"}
        return str(nsbox.run(["pwd"], capture_output=True, text=True, check=True, **options).stdout)

    assert in_child(lambda: who(check)) == "/\n"


def test_the_machines_own_root(who: Who) -> None:
    """Any directory can be the root, also / itself."""
    assert out(who, "ls", "-A", "/", root="/").split() == sorted(os.listdir("/"))


def test_proc_shows_the_box(who: Who, rootfs: Rootfs) -> None:
    """`mount_proc` mounts it in the new root, at the path that is asked for."""
    assert out(who, "ls", "/proc", mount_proc=True, **rootfs.options()).split()[0] == "1"
    assert out(who, "ls", "/data", mount_proc="/data", **rootfs.options()).split()[0] == "1"


@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_read_only_root(who: Who, rootfs: Rootfs, arrangement: str) -> None:
    """As a bind the new root is read-only, with all mounts below; what is mounted in it later is not."""
    options = rootfs.options(nsbox.Tmpfs("/tmp"), **ARRANGEMENTS[arrangement])
    options["root"] = nsbox.Bind(rootfs.path, "/", read_only=True)
    script = "touch /data/x 2>&1; touch /usr/x 2>&1; touch /tmp/x && ls /tmp; pwd"
    lines = out(who, "sh", "-c", script, **options).splitlines()
    assert ["Read-only file system" in line for line in lines] == [True, True, False, False]
    assert lines[2:] == ["x", "/"]


@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_the_whole_tree_is_read_only(who: Who, place: Path, arrangement: str) -> None:
    """Every mount is, devices work, and what follows in the list is writable; the working directory stays."""
    (place / "work").mkdir()
    (place / "work").chmod(0o777)
    mounts = [nsbox.Bind("/", "/", read_only=True), nsbox.Bind(place / "work", place / "work"), nsbox.Tmpfs("/mnt")]
    script = (
        f"touch {place}/x 2>&1; touch /dev/shm/x 2>&1; touch work/y /mnt/z; echo > /dev/null && ls /mnt; pwd; ls work"
    )
    options = {"mounts": mounts, "mount_proc": True, "cwd": str(place), **ARRANGEMENTS[arrangement]}
    lines = out(who, "sh", "-c", script, **options).splitlines()
    assert ["Read-only file system" in line for line in lines[:2]] == [True, True]
    assert lines[2:] == ["z", str(place), "y"]


@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_no_directory_for_proc(who: Who, rootfs: Rootfs, arrangement: str) -> None:
    """Nothing is created; the error names the missing directory."""
    (rootfs.path / "proc").rmdir()
    error = who(lambda: failure(**rootfs.options(**ARRANGEMENTS[arrangement])))
    assert (error.step, error.errno) == ("mount proc", errno.ENOENT)
    assert 'move_mount(<proc>, <new root>, "/proc")' in error.call
    assert "nsbox creates nothing" in error.evidence
    assert not (rootfs.path / "proc").exists()


def test_daemons_end_without_a_proc(who: Who, rootfs: Rootfs) -> None:
    """Without a PID namespace nsbox-init finds descendants in the old proc, of which it keeps a descriptor."""
    command = ["sh", "-c", "setsid sh -c 'sleep 60; :' > /dev/null 2>&1 & echo $!"]
    found = out(who, *command, unshare="m", **rootfs.options(nsbox.Bind("/dev", "/data")))
    assert found.strip().isdigit()
    assert not alive(int(found))
    assert not survivors()


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize(
    ("step", "rule", "part"),
    [
        ("root", Deny("open_tree", errno.EPERM), "looking up the source"),
        ("root", Deny("move_mount", errno.EINVAL), "mounting it there"),
        ("root", Deny("fchdir", errno.EACCES), "mounting it there"),
        ("pivot root", Deny("pivot_root", errno.EPERM), "mounting it there"),
        ("pivot root", Deny("umount2", errno.EINVAL), "letting go of the old root"),
    ],
    ids=lambda value: value.name if isinstance(value, Deny) else "",
)
def test_each_call_can_fail(who: Who, rootfs: Rootfs, arrangement: str, step: str, rule: Deny, part: str) -> None:
    """The error names the step and the part of it that failed."""

    def check() -> tuple[str, str, int | None, bool]:
        seccomp.install(rule)
        error = failure(root=rootfs.path, **ARRANGEMENTS[arrangement])
        return error.step, error.actor, error.errno, error.evidence.startswith(part)

    options = ARRANGEMENTS[arrangement]
    actor = "init" if options.get("init", options.get("fork", True)) else "payload"
    assert in_child(lambda: who(check)) == (step, actor, rule.errno, True)


@pytest.mark.parametrize(("path", "number"), [("/nonexistent", errno.ENOENT), ("/etc/passwd", errno.ENOTDIR)])
def test_no_directory(who: Who, path: str, number: int) -> None:
    """The root is not a directory."""
    error = who(lambda: failure(root=path))
    assert (error.step, error.actor, error.errno) == ("root", "init", number)


@needs_root
def test_in_a_chroot(rootfs: Rootfs) -> None:
    """In a chroot the root is not a mount point, so it can neither be made private nor exchanged."""

    def check() -> tuple[str, int | None]:
        (rootfs.path / "data" / "inner").mkdir()
        os.chroot(rootfs.path)
        os.chdir("/")
        error = failure(root="/data/inner")
        return error.step, error.errno

    assert in_child(check) == ("propagation", errno.EINVAL)
