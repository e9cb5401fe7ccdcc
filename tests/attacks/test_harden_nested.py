"""Hardened boxes inside other boxes, and hardened tasks: their files belong to the caller, and nothing else opens."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Bind, Overlay
from nsbox.tasks.within import Within

from tests.attacks.test_harden_everywhere import reachable
from tests.support.forked import USER, Who
from tests.support.needs import needs, needs_root
from tests.support.private import private_directory
from tests.support.rootfs import Rootfs

SCRIPT = 'cd "$1" && cat private && echo written > new && chmod 600 new && stat -c %u:%g new && stat -c %u:%g .'


@pytest.fixture
def work(who: Who) -> Iterator[Path]:
    """Return a directory of the caller's, with a file that only the caller may read, where private /tmp is not."""
    needs(who, "mipUnC")
    with private_directory("/var/lib" if os.geteuid() == 0 else None) as path:
        if os.geteuid() == 0 and not who.is_root:
            for one in (path / "private", path):
                os.chown(one, USER, USER)
        yield path


@pytest.fixture
def roots() -> Iterator[Path]:
    """Return a directory of root's, with a file that only root may read."""
    with private_directory() as path:
        yield path


def owner(who: Who) -> tuple[int, int, int]:
    """Return the user, the group and the mode that a new file has outside."""
    number = 0 if who.is_root else USER
    return (number, number if os.geteuid() == 0 else os.getegid(), 0o600)


def owner_of(path: Path) -> tuple[int, int, int]:
    """Return the same of a file."""
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o777


OUTER: dict[str, Callable[[Path], dict[str, Any]]] = {
    "mounts-of-its-own": lambda _: {"unshare": "mip"},
    "the-caller's-mounts": lambda _: {"unshare": "p"},
    "no-namespace": lambda _: {"unshare": "", "mount_proc": False},
    "hardened": lambda work: {"harden": True, "writable": [work]},
}


@pytest.mark.parametrize("outer", OUTER.values(), ids=list(OUTER))
def test_box_in_a_box(who: Who, work: Path, outer: Callable[[Path], dict[str, Any]]) -> None:
    """A hardened box reads and writes the caller's files, whatever box it is made in."""

    def inside() -> tuple[str, str]:
        with (
            nsbox.Box(**outer(work), cwd="/") as box,
            box.Box(harden=True, writable=[work], cwd="/") as inner,
        ):
            done = inner.run(["/bin/sh", "-c", SCRIPT, "sh", str(work)], capture_output=True, text=True)
        return done.stdout, done.stderr

    assert who(inside) == ("secret\n0:0\n0:0\n", "")
    assert owner_of(work / "new") == owner(who)


def test_third_level(who: Who, work: Path) -> None:
    """A hardened box in a hardened box in a hardened box: the same."""
    options: Any = {"harden": True, "writable": [work], "cwd": "/"}

    def inside() -> tuple[str, str]:
        with nsbox.Box(**options) as box, box.Box(**options) as second, second.Box(**options) as third:
            done = third.run(["/bin/sh", "-c", SCRIPT, "sh", str(work)], capture_output=True, text=True)
        return done.stdout, done.stderr

    assert who(inside) == ("secret\n0:0\n0:0\n", "")
    assert owner_of(work / "new") == owner(who)


def test_outer_box_is_read_only(who: Who, work: Path) -> None:
    """What the outer box may not write, the inner one may not write either."""

    def inside() -> str:
        with (
            nsbox.Box(harden=True, readable=[work], cwd="/") as box,
            box.Box(harden=True, writable=[work], cwd="/") as inner,
        ):
            command = ["touch", f"{work}/new"]
            return str(inner.run(command, capture_output=True, text=True).stderr)

    assert "Read-only file system" in who(inside)
    assert not (work / "new").exists()


def test_inner_box_keeps_the_masked_proc(who: Who) -> None:
    """A hardened box in a hardened box has the /proc of that one, with the same parts hidden, and says so."""
    needs(who, "mipUnC")

    def inside() -> tuple[str, str, list[str]]:
        with nsbox.Box(harden=True, cwd="/") as box, box.Box(harden=True, cwd="/") as inner:
            script = "cat /proc/keys; echo 5 > /proc/sys/kernel/pid_max; readlink /proc/self > /dev/null && echo fine"
            done = inner.run(["/bin/sh", "-c", script], capture_output=True, text=True)
            return done.stdout, done.stderr, [part for part, _ in inner.plan.left_out]

    stdout, stderr, left_out = who(inside)
    assert (stdout, left_out) == ("fine\n", ["mask_proc"])
    assert "cannot create /proc/sys/kernel/pid_max" in stderr


def test_another_proc_is_refused(who: Who) -> None:
    """What asks for another proc there is told why it cannot have one, and what helps."""
    needs(who, "mipUnC")

    def inside() -> tuple[str, str]:
        with nsbox.Box(harden=True, cwd="/") as box, pytest.raises(nsbox.SpecError) as refused:
            box.Box("mipU", mount_proc=True, cwd="/")
        with (
            nsbox.Box(harden=True, mask_proc=False, mount_proc=True, cwd="/") as box,
            box.Box("mipU", mount_proc=True, cwd="/") as inner,
        ):
            shown = inner.run(["sh", "-c", "echo /proc/[0-9]*"], capture_output=True, text=True).stdout
        return str(refused.value), shown

    message, shown = who(inside)
    assert message.startswith("mount_proc: the outer box hides parts of its /proc")
    assert shown == "/proc/1 /proc/2\n"


@needs_root
def test_root_outside_stays_refused() -> None:
    """In a box whose root is root outside, no private ids can be mapped: a hardened box there is refused."""
    every: tuple[Any, ...] = ({"unshare": "mipU"}, {"unshare": "mipU", "map_root_user": False})
    for options in every:
        with nsbox.Box(**options, cwd="/") as box:
            with pytest.raises(nsbox.SpecError, match="private_ids: root of the outer box is root outside"):
                box.Box(harden=True, cwd="/")
            with pytest.raises(nsbox.SpecError, match="private_ids: root of the outer box is root outside"):
                box.Box(private_ids=True, cwd="/")


@needs_root
def test_box_in_other_ids() -> None:
    """In a box with ids of another range a hardened box has the ids of that box."""
    with (
        nsbox.Box("mip", map_users=[(0, 1_234_567_000, 65536)], cwd="/") as box,
        box.Box(harden=True, cwd="/") as inner,
    ):
        status = Path(f"/proc/{inner.pid}/status").read_text()
        assert inner.run(["id", "-u"], capture_output=True, text=True).stdout == "0\n"
    assert "Uid:\t1234567000" in status


@needs_root
def test_bind_with_other_owners(roots: Path) -> None:
    """``Bind(idmap=True)`` in a box in a box, and where it cannot be had."""
    mounts = [Bind(roots, roots, idmap=True)]
    with nsbox.Box("mip", cwd="/") as box:
        with box.Box(harden=True, mounts=mounts, cwd="/") as inner:
            done = inner.run(["/bin/sh", "-c", SCRIPT, "sh", str(roots)], capture_output=True, text=True)
        assert done.stdout == "secret\n0:0\n0:0\n"
        with pytest.raises(nsbox.SpawnError) as caught:
            box.Box(harden=True, mounts=[Bind("/no/such", "/mnt", idmap=True)], cwd="/")
        assert (caught.value.step, caught.value.errno) == ("source", 2)
    with nsbox.Box(harden=True, cwd="/") as box, pytest.raises(nsbox.SpecError, match="idmap: "):
        box.Box("m", map_users=[(0, 0, 1)], mounts=mounts, cwd="/")


@needs_root
def test_the_outer_box_decides_what_a_path_is(roots: Path) -> None:
    """The files are those of the outer box, not those that the caller sees at the same path."""
    with tempfile.TemporaryDirectory(prefix="nsbox-test-") as other:
        with (
            nsbox.Box("mip", mounts=[Bind(other, roots)], cwd="/") as box,
            box.Box(harden=True, writable=[roots], cwd="/") as inner,
        ):
            inner.run(["/bin/sh", "-c", f"echo here > {roots}/new"], check=True)
        assert Path(other, "new").read_text() == "here\n"
    assert not (roots / "new").exists()


@needs_root
def test_root_of_others(roots: Path) -> None:
    """A root in which a hardened box may not make `/dev/shm` has none, and the box starts."""
    roots.chmod(0o755)
    rootfs = Rootfs.make(roots)
    (rootfs.path / "dev").mkdir()
    with (
        nsbox.Box(harden=True, hidden=[], cwd="/") as box,
        box.Box(harden=True, root=Overlay([rootfs.path]), mounts=rootfs.mounts, cwd="/") as inner,
    ):
        assert inner.run(["cat", "/etc/marker"], capture_output=True, text=True).stdout == "in the box\n"


@needs_root
def test_descriptors_are_closed(roots: Path) -> None:
    """Many boxes leave no descriptor open, and none is passed on to a program."""
    options: Any = {"harden": True, "writable": [roots], "cwd": "/"}
    with nsbox.Box("mip", cwd="/") as box:
        with box.Box(**options) as inner:
            before = len(os.listdir("/proc/self/fd"))
            shown = inner.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True).stdout
            assert len(shown.splitlines()) == 5, shown
        for _ in range(5):
            box.Box(**options).close()
        assert len(os.listdir("/proc/self/fd")) <= before


# Tasks and marked tests


def _write(path: str) -> tuple[str, int, int]:
    with open(f"{path}/private") as file:
        text = file.read()
    with open(f"{path}/new", "w") as file:
        os.fchmod(file.fileno(), 0o600)
        status = os.fstat(file.fileno())
    return text, status.st_uid, status.st_gid


def test_task(who: Who, work: Path, place: Path) -> None:
    """A task of an executor reads and writes the caller's files."""

    def inside() -> tuple[str, int, int]:
        with nsbox.Executor(1, harden=True, writable=[work]) as executor:
            return executor.submit(_write, str(work)).result()

    assert reachable(who, place, inside) == ("secret\n", 0, 0)
    assert owner_of(work / "new") == owner(who)


def test_marked_test(who: Who, work: Path) -> None:
    """So does a function in a child of this process, as for a marked test."""

    def inside() -> int:
        def function() -> None:
            os._exit(7 if _write(str(work)) == ("secret\n", 0, 0) else 8)

        with nsbox.Box(harden=True, writable=[work], cwd="/") as box, Within(box, function) as within:
            return within.wait()

    assert who(inside) == 7
    assert owner_of(work / "new") == owner(who)


def test_landlock_of_a_marked_test(who: Who, work: Path) -> None:
    """A descriptor of the caller leads around the mounts of the box: Landlock refuses writes there."""

    def inside() -> int:
        with tempfile.TemporaryDirectory(prefix="nsbox-test-") as other:
            os.chmod(other, 0o777)
            directory = os.open(other, os.O_RDONLY | os.O_DIRECTORY)

            def function() -> None:
                try:
                    os.open("stray", os.O_WRONLY | os.O_CREAT, dir_fd=directory)
                except PermissionError:
                    os._exit(7)
                os._exit(8)

            with nsbox.Box(harden=True, writable=[work], cwd="/") as box, Within(box, function) as within:
                status = within.wait()
            os.close(directory)
            return status if not os.listdir(other) else -1

    assert who(inside) == 7
