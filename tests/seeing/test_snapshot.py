"""Snapshots, differences and comparisons of real boxes, compared with real tools and the files of proc."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any, NoReturn

import nsbox
import pytest

from tests.support.census import wait_until
from tests.support.forked import Who
from tests.support.needs import needs_root
from tests.support.pages import drawing, frames, page, texts
from tests.support.real_box import box as real_tree  # noqa: F401 - a fixture


def until(box: nsbox.Box, pid: int, name: str) -> None:
    """Wait until a process in a box has executed a program."""

    def runs() -> bool:
        seen = nsbox.ps(of=box).find(pid)
        # In the middle of the exec it has the new name, and no arguments yet.
        return seen is not None and seen.name == name and bool(seen.cmdline)

    assert wait_until(runs), f"{pid} does not become {name}"


def nspid(pid: int) -> list[int]:
    """Return the PIDs of a process from NSpid."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return [int(word) for word in line.split()[1:]]
    raise AssertionError


def inside(pid: int) -> int:
    """Return the innermost PID of a process."""
    return nspid(pid)[-1]


def started(box: nsbox.Box, *args: str) -> Any:
    """Start a program that stays in a box; it runs when this returns."""
    process = box.Popen(list(args))
    until(box, inside(process.pid), args[0])
    return process


def test_a_box_comes_and_goes(who: Who) -> None:
    """Its first process and its namespaces, with the ids in its links, are in the difference, whatever else happens."""

    def act() -> tuple[Any, ...]:
        with nsbox.observe() as coming:
            shell = nsbox.Shell("mip")
        ids = {os.stat(f"/proc/{shell.pid}/ns/{link}").st_ino for link in ("mnt", "pid", "ipc")}
        with nsbox.observe() as going:
            shell.exit()
        return coming.diff, going.diff, shell.pid, ids

    came, went, pid, ids = who(act)
    assert pid in [process.pid for process in came.processes.came]
    assert ids <= {namespace.id for namespace in came.namespaces.came}
    assert pid in [process.pid for process in went.processes.went]
    assert ids <= {namespace.id for namespace in went.namespaces.went}
    assert f"+ process   {pid}/1 " in came.text(width=None)


def test_changes_inside(who: Who) -> None:
    """Inside, only the test's own actions are in the difference, as no other process changes anything.

    A mount takes a PID as well: a child of nsbox-init looks the path up.
    """

    def act() -> tuple[nsbox.Diff, int, int]:
        with nsbox.Box("mip") as box:
            gone = started(box, "sleep", "1000")
            moved = started(box, "sleep", "1500")
            with nsbox.observe(of=box) as seen:
                gone.kill()
                gone.wait()
                box.mount_proc()
                box.mount("none", "/mnt", "tmpfs")
                stays = started(box, "sleep", "2000")
            diff = seen.diff
            for process in (moved, stays):
                process.kill()
                process.wait()
            return diff, os.geteuid(), stays.pid_inside

    diff, uid, pid = who(act)
    lines = [line.split(maxsplit=3) for line in str(diff).splitlines() if not line.startswith("(")]
    assert [[sign, what, which, shown.split(" (")[0]] for sign, what, which, shown in lines] == [
        ["-", "process", "2", "sleep 1000"],
        ["+", "process", str(pid), "sleep 2000"],
        ["+", "mount", "/proc", "proc"],
        ["+", "mount", "/mnt", "none"],
    ]
    assert not diff.namespaces
    (proc,) = (mount for mount in diff.mounts.came if mount.fstype == "proc")
    # An ordinary user may not use the root directory of its init to read from it.
    assert proc.pid_namespace in (diff.after.processes[0].namespaces.pid, None if uid else 0)
    shown = texts(drawing(diff.svg()))
    assert shown[shown.index("sleep") : shown.index("sleep") + 2] in (
        ["sleep", "+ new"],
        ["sleep", "\N{MINUS SIGN} gone"],
    )
    assert len(list(page(diff.html()).iter("tr"))) >= 5


@pytest.mark.skipif(shutil.which("ipcmk") is None, reason="ipcmk is not installed (Debian util-linux-extra)")
def test_an_object_is_made(who: Who) -> None:
    """It is in the box only: the caller's own IPC namespace is unchanged."""

    def act() -> tuple[nsbox.Diff, nsbox.Comparison]:
        with nsbox.Box("mip") as box, nsbox.observe(of=box) as seen:
            box.run(["ipcmk", "-M", "5000"], check=True, capture_output=True)
            return seen.diff, nsbox.compare(box)

    diff, comparison = who(act)
    (segment,) = diff.ipc.came
    assert (segment.kind, segment.size) == ("shm", 5000)
    assert not diff.ipc.went
    assert segment in comparison.ipc_only_inside
    assert f"inside shm {segment.id}" in " ".join(str(comparison).split())


def test_a_program_moves(who: Who) -> None:
    """An exec and an unshare by the same process are changes of the process, and the namespace is new."""

    def act() -> tuple[nsbox.Diff, int]:
        with nsbox.Box("mipu") as box:
            reading, writing = os.pipe()
            shell = box.Popen(["sh", "-c", "read line; exec unshare --uts sleep 1000"], stdin=reading)
            inner = inside(shell.pid)
            until(box, inner, "sh")
            with nsbox.observe(of=box) as seen:
                os.write(writing, b"\n")
                until(box, inner, "sleep")
            os.close(reading)
            os.close(writing)
            shell.kill()
            shell.wait()
            return seen.diff, inner

    diff, inner = who(act)
    (change,) = diff.processes.changed
    assert (change.after.pid, change.what) == (inner, ("namespaces", "command"))
    assert change.before.namespaces._replace(uts=change.after.namespaces.uts) == change.after.namespaces
    assert [namespace.id for namespace in diff.namespaces.came] == [change.after.namespaces.uts]
    assert "other uts" in str(diff)
    assert any(text == f"uts {change.after.namespaces.uts}" for text in texts(drawing(diff.svg())))


def test_a_descriptor_keeps_a_namespace(who: Who) -> None:
    """The box ends, one of its namespaces does not."""

    def act() -> tuple[nsbox.Diff, int]:
        shell = nsbox.Shell("mip")
        kept = os.open(f"/proc/{shell.pid}/ns/ipc", os.O_RDONLY)
        try:
            with nsbox.observe() as seen:
                shell.exit()
            return seen.diff, os.fstat(kept).st_ino
        finally:
            os.close(kept)

    diff, id_ = who(act)
    (change,) = (change for change in diff.namespaces.changed if change.after.id == id_)
    assert change.what == ("kept_by",)
    assert change.before.kept_by == ("processes", "descriptors")
    assert change.after.kept_by == ("descriptors",)


def test_a_block_that_raises() -> None:
    """The difference includes what the block has left; before its end, it shows the current state."""

    def observed(box: nsbox.Box) -> NoReturn:
        with nsbox.observe(of=box) as seen:
            seen_by.append(seen)
            box.mount("none", "/mnt", "tmpfs")
            assert [mount.point for mount in seen.diff.mounts.came] == ["/mnt"]
            box.unmount("/mnt")
            raise KeyError

    seen_by: list[Any] = []
    with nsbox.Box("mip") as box, pytest.raises(KeyError):
        observed(box)
    (seen,) = seen_by
    assert not seen.diff.mounts
    assert repr(seen) == "<observation, finished>"


def test_an_end_during_the_block() -> None:
    """A box that is observed from inside must live until the end of the block."""
    box = nsbox.Box("mip")
    with pytest.raises((ProcessLookupError, FileNotFoundError)), nsbox.observe(of=box):
        box.close()


@pytest.mark.parametrize("mounted", [True, False], ids=["proc mounted", "no proc yet"])
def test_side_by_side(who: Who, mounted: bool) -> None:
    """The same process is on both sides, by NSpid; the PIDs inside are those that the real ps shows there."""

    def act() -> tuple[Any, ...]:
        with nsbox.Box("mip") as box:
            running = [started(box, "sleep", "1000"), started(box, "sleep", "1500")]
            if mounted:
                box.mount_proc()
            comparison = nsbox.compare(box)
            pids = {pair.outside.pid: nspid(pair.outside.pid) for pair in comparison.pairs}
            box.mount_proc()
            listed = box.run(["ps", "-e", "-o", "pid="], capture_output=True, text=True).stdout
            for process in running:
                process.kill()
                process.wait()
            return comparison, pids, [int(word) for word in listed.split()], box.pid

    comparison, pids, listed, pid = who(act)
    assert {pair.outside.pid: pair.inside.pid for pair in comparison.pairs} == {
        out: two[-1] for out, two in pids.items()
    }
    assert {pair.inside.pid for pair in comparison.pairs} == set(listed[:-1])  # the last one is ps itself
    first = comparison.pairs[0]
    assert (first.outside.pid, first.inside.pid, first.inside.ppid) == (pid, 1, 0)
    assert {"mount", "pid", "ipc"} <= set(comparison.own)
    assert ("/proc" in [mount.point for mount in comparison.only_inside]) is mounted
    assert os.getpid() in [process.pid for process in comparison.others]
    assert nsbox.Comparison.from_dict(comparison.to_dict()).svg() == comparison.svg()
    found = texts(drawing(comparison.svg()))
    assert {str(number) for two in pids.values() for number in two} <= set(found)


@needs_root
def test_a_box_in_a_box() -> None:
    """From the outer box the inner one is visible; its init has three PIDs."""
    with nsbox.Box("mip") as outer, outer.Box("mip") as inner:
        pids = nspid(inner.pid)
        assert (len(pids), pids[-1]) == (3, 1)
        comparison = nsbox.compare(outer)
        assert (inner.pid, pids[1]) in [(pair.outside.pid, pair.inside.pid) for pair in comparison.pairs]
        assert [pair.inside.pid for pair in nsbox.compare(inner).pairs] == [1]
        root = drawing(nsbox.pstree(outer).svg())
        found = texts(root)
        assert f"outside {pids[1]}, {pids[0]}" in found
        kinds = len(nsbox.compare(outer).own) + 3
        assert len(frames(root)) == kinds
        assert found.count("init") >= 2


def test_a_zombie() -> None:
    """An orphan that is not reaped is in both pictures."""
    with nsbox.Box("mip", reap=False) as box:
        box.run(["sh", "-c", "sh -c 'exit 3' & exec sleep 0.01"])
        assert wait_until(lambda: any(process.state == "Z" for process in nsbox.ps(of=box)))
        comparison = nsbox.compare(box)
        (zombie,) = (pair for pair in comparison.pairs if pair.inside.state == "Z")
        assert nspid(zombie.outside.pid)[-1] == zombie.inside.pid
        assert texts(drawing(comparison.svg())).count("zombie") == 2
        assert "zombie" in texts(drawing(nsbox.pstree(box).svg()))
        box.reap()
        assert len(nsbox.compare(box).pairs) == 1


@needs_root
def test_without_a_pid_namespace() -> None:
    """Every process is on both sides, with the same PID."""
    with nsbox.Box("mi") as box:
        comparison = nsbox.compare(box)
    assert set(comparison.own) == {"mount", "ipc"}
    assert all(pair.outside.pid == pair.inside.pid for pair in comparison.pairs)
    assert box.pid in [pair.outside.pid for pair in comparison.pairs]
    drawing(comparison.svg())


def test_with_oneself() -> None:
    """In the caller's own namespaces nothing differs, and the comparison can be pickled."""
    comparison = nsbox.compare(os.getpid())
    assert (comparison.own, comparison.ipc_only_outside, comparison.ipc_only_inside) == ((), (), ())
    assert str(pickle.loads(pickle.dumps(comparison))) == str(comparison)


def test_no_such_process() -> None:
    with nsbox.Box("mip") as box:
        process = box.Popen(["true"])
        process.wait()
    for look in (nsbox.compare, nsbox.snapshot):
        with pytest.raises(ProcessLookupError):
            look(process.pid)
        with pytest.raises(nsbox.SpecError):
            look(-4)


def test_unknown_to_a_user(who: Who) -> None:
    """What an ordinary user may not read is reported as unknown, not as missing."""

    def act() -> tuple[nsbox.Snapshot, int]:
        return nsbox.snapshot(), os.geteuid()

    taken, uid = who(act)
    assert {process.pid for process in taken.processes} >= {1, os.getpid()}
    foreign = taken.tree.svg().count(">?</text>")
    assert uid == 0 or foreign > 0
    assert taken.ipc.unknown == (() if uid == 0 else ("mqueue",))
    assert nsbox.Snapshot.from_dict(taken.to_dict()).html() == taken.html()
    page(taken.html())


def test_the_hardest_tree(real_tree: int) -> None:  # noqa: F811
    """Threads, names of any bytes, all kinds of namespaces, zombies: each process and box is in the picture."""
    tree = nsbox.pstree(root=real_tree, of=None)
    nodes = [node for node in tree.walk() if node.thread is None or node.changes]
    for compact in (True, False):
        root = drawing(tree.svg(compact=compact))
        page(nsbox.ps(of=real_tree).html())
        found = texts(root)
        if not compact:
            assert len(frames(root)) == sum(len(node.changes) for node in nodes)
            # One of the three has this name.
            assert sum(text == "zombie" for text in found) == 3 + 1
        assert "caf\N{LATIN SMALL LETTER E WITH ACUTE}" in found
        assert "\\x01\\x7f\\xff" in found
