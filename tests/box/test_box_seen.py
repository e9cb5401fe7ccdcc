"""What is seen of a box from outside, without entering it: as root, and as an ordinary user."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from typing import Any

import nsbox
import pytest

from tests.support.forked import Who
from tests.support.running import ended

MAKE_OBJECTS = """
import ctypes, os, sys
library = ctypes.CDLL(None)
assert library.shmget(4711, 4096, 0o1600) >= 0
queue = library.mq_open(b"/inside", os.O_CREAT | os.O_RDWR, 0o600, None)
assert queue >= 0
print("made", flush=True)
sys.stdin.read()
"""


def test_processes(who: Who) -> None:
    """Processes have their PIDs inside, before a proc is mounted; through /proc the host's are seen until then."""

    def look() -> tuple[Any, ...]:
        with nsbox.Box("mp") as box, box.Popen(["sleep", "1000"]) as process:
            seen = [(one.pid, one.ppid, one.comm) for one in box.ps()]
            many = len(box.ps(view="proc"))
            box.mount_proc()
            few = [one.pid for one in box.ps(view="proc")]
            tree = str(box.pstree())
            process.kill()
            return seen, many > 2, few, tree.split("\n", maxsplit=1)[0]

    assert who(look) == ([(1, 0, b"nsbox-init"), (2, 1, b"sleep")], True, [1, 2], "nsbox-init───sleep")


def test_mounts_and_namespaces(who: Who) -> None:
    """The box's own proc is among its mounts; its namespaces are found from its processes."""

    def look() -> tuple[bool, set[str]]:
        with nsbox.Box("mpiu", mount_proc=True) as box, box.Popen(["sleep", "1000"]) as process:
            proc = [mount for mount in box.mounts() if mount.point == "/proc" and mount.fstype == "proc"]
            kinds = {one.kind for one in box.lsns()}
            process.kill()
            return len(proc) >= 2, kinds

    proc, kinds = who(look)
    assert proc
    assert {"mount", "pid", "ipc", "uts"} <= kinds


def test_functions_agree_with_methods(who: Who) -> None:
    """The package's functions show the same of a box; they ask its init, which other processes may not inspect."""

    def look() -> tuple[Any, ...]:
        with nsbox.Box("mip") as box, box.Popen(["sleep", "1000"]) as process:
            seen = [[one.pid for one in nsbox.ps(of=box)]]
            many = len(nsbox.ps(of=box, view="proc"))
            box.mount_proc()
            seen.append([one.pid for one in nsbox.ps(of=box, view="proc")])
            kinds = {one.kind for one in nsbox.lsns(of=box)}
            init = next(iter(nsbox.ps(of=box)))
            tree = str(nsbox.pstree(of=box))
            process.kill()
            return seen, many > 2, kinds, init.namespaces == box.namespace_ids, tree

    seen, many, kinds, known, tree = who(look)
    assert seen == [[1, 2], [1, 2]]
    assert many
    assert {"mount", "pid", "ipc"} <= kinds
    assert known
    assert tree == "nsbox-init───sleep"


def test_ipc_objects(who: Who) -> None:
    """A segment and a queue of the box have owner, size and creator; objects outside are not listed."""

    def look() -> tuple[list[tuple[Any, ...]], int, int]:
        with nsbox.Box("mpi") as box:
            before = len(box.ipcs())
            command = ["/usr/bin/python3", "-c", MAKE_OBJECTS]
            with box.Popen(command, stdin=-1, stdout=-1, text=True) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "made\n"
                found = [(one.kind, one.key, one.name, one.uid, one.size, one.creator) for one in box.ipcs()]
                process.communicate()
            return found, before, os.geteuid()

    with _segment_outside():
        found, before, uid = who(look)
    assert before == 0
    assert found == [("shm", 4711, None, uid, 4096, 2), ("mqueue", None, "inside", uid, 0, None)]


def test_without_a_mount_namespace(who: Who) -> None:
    """Without one, a user's init can make no mount to look at, and most readers need none."""

    def look() -> tuple[Any, ...]:
        with nsbox.Box("pi") as box, ended(box.Popen(["sleep", "1000"])):
            seen = [one.pid for one in box.ps()], str(box.pstree()), tuple(box.ipcs().unknown)
            found = [(one.kind, one.process_count, one.pid) for one in box.lsns() if one.process_count]
            return *seen, sorted(one for one in found if one[0] in ("pid", "ipc"))

    # Only the queues cannot be read: /proc of the caller has the rest.
    unknown = () if who.is_root else ("mqueue",)
    assert who(look) == ([1, 2], "nsbox-init───sleep", unknown, [("ipc", 2, 1), ("pid", 2, 1)])


def test_remedy_for_a_box_that_cannot_be_read(who: Who) -> None:
    """The remedy names the option that an ordinary user's box needs for a proc of its own; tables need none."""

    def look(unshare: str) -> tuple[set[str], str]:
        with nsbox.Box(unshare) as box:
            kinds = {one.kind for one in box.lsns()}
            try:
                box._open_proc("namespace")
            except nsbox.SpawnError as error:
                return kinds, str(error)
        return kinds, ""

    assert who(lambda: look("mp"))[1] == ""
    for unshare in ("i", "m", "p"):
        kinds, said = who(functools.partial(look, unshare))
        assert kinds >= {"user", "mount", "pid", "ipc"}
        assert said == "" if who.is_root else "the letters m and p" in said


@contextlib.contextmanager
def _segment_outside() -> Any:
    library = ctypes.CDLL(None)
    segment = library.shmget(0, 4096, 0o1600)
    assert segment >= 0
    try:
        yield
    finally:
        library.shmctl(segment, 0, None)


def test_a_box_is_a_target() -> None:
    """The package's functions accept a box as well as a process; a wrong view is named."""
    with nsbox.Box("mp") as box:
        assert [one.pid for one in nsbox.ps(of=box)] == [1]
        assert nsbox.same_namespace(box, os.getpid(), "net")
        assert not nsbox.same_namespace(box, os.getpid(), "pid")
        with pytest.raises(nsbox.SpecError, match=r"^view: "):
            box.ps(view="wrong")  # type: ignore[arg-type]
    with pytest.raises(nsbox.ClosedError):
        box.ps()
