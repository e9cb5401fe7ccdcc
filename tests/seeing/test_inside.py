"""The process table as a process in a box sees it, also a process that cannot be inspected."""

from __future__ import annotations

import os
from typing import Any

import nsbox
import pytest
from nsbox import _core
from nsbox.records.processes import NamespaceIds, Process
from nsbox.seeing import inside

from tests.support import libc
from tests.support.forked import USER, Who, in_child
from tests.support.real_box import box

__all__ = ["box"]

PR_GET_DUMPABLE = 3


def test_view_of_a_process_inside(who: Who) -> None:
    """The host before proc is mounted, the namespace after; the namespace itself at any time."""

    def act() -> tuple[int, list[int], list[int], list[int], bool, str]:
        with nsbox.Shell("mip") as shell:
            before = len(nsbox.ps(of=shell.pid, view="proc"))
            early = [process.pid for process in nsbox.ps(of=shell.pid)]
            drawn = str(nsbox.pstree(of=shell.pid))
            shell.run("mount -t proc none /proc", check=True)
            return (
                before,
                early,
                [process.pid for process in nsbox.ps(of=shell.pid)],
                [process.pid for process in nsbox.ps(of=shell.pid, view="proc")],
                shell.pid in [process.pid for process in nsbox.ps()],
                drawn,
            )

    before, early, after, mounted, outside, drawn = who(act)
    assert before > 1
    assert early == after == mounted == [1]
    assert outside
    assert drawn == "bash"


@pytest.mark.parametrize("trick", ["mount -t tmpfs none /proc", "umount -l /proc; mount --bind /etc /proc"])
def test_no_proc_there(trick: str, who: Who) -> None:
    """A file system that is not a proc is not read: its files could be anything, for example FIFOs that block."""

    def act() -> list[int]:
        with nsbox.Shell("mip") as shell:
            shell.run(trick)
            with pytest.raises(FileNotFoundError):
                nsbox.ps(of=shell.pid, view="proc")
            return [process.pid for process in nsbox.ps(of=shell.pid)]

    assert who(act) == [1]


def test_looking_leaves_no_trace(who: Who) -> None:
    """The caller enters nothing itself, although it shares its memory with the process that does."""

    def act() -> tuple[Any, ...]:
        before = nsbox.namespaces_of(os.getpid()), libc.prctl(PR_GET_DUMPABLE, 0), sorted(os.listdir("/proc/self/fd"))
        with nsbox.Shell("mipunC") as shell:
            for _ in range(20):
                nsbox.ps(of=shell.pid)
                nsbox.ipcs(shell.pid)
                nsbox.lsns(of=shell.pid)
        after = nsbox.namespaces_of(os.getpid()), libc.prctl(PR_GET_DUMPABLE, 0), sorted(os.listdir("/proc/self/fd"))
        return before, after

    before, after = who(act)
    assert before == after


@pytest.mark.usefixtures("busy_threads")
def test_with_busy_threads(who: Who) -> None:
    def act() -> set[tuple[int, ...]]:
        with nsbox.Shell("mip") as shell:
            return {tuple(process.pid for process in nsbox.ps(of=shell.pid)) for _ in range(50)}

    assert who(act) == {(1,)}


def test_link_stays_inside() -> None:
    """A /proc that is an absolute link is resolved in the process's root, not in the caller's."""
    script = (
        "set -e; mount -t tmpfs none /mnt; mkdir /mnt/real; mount --bind /mnt /mnt; "
        "mount -t proc none /mnt/real; ln -s /real /mnt/proc; "
        "mkdir /mnt/bin /mnt/usr /mnt/lib /mnt/lib64; "
        "for place in bin usr lib lib64; do mount --rbind /$place /mnt/$place; done; "
        "exec chroot /mnt /bin/sh -c 'echo ready; exec sleep 60'"
    )
    with nsbox.Popen(["sh", "-c", script], unshare="mip", stdout=-1, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert sorted(seen.pid for seen in nsbox.ps(of=process, view="proc")) == [1, 2]
            assert sorted(seen.pid for seen in nsbox.ps(of=process)) == [1, 2]
        finally:
            process.kill()


def comparable(processes: nsbox.ProcessTable) -> list[dict[str, Any]]:
    """Return all fields that do not change by themselves."""
    moving = ("utime", "stime", "rss", "locked")
    return [{name: value for name, value in p._asdict().items() if name not in moving} for p in processes]


@pytest.mark.parametrize("fields", [None, "all", "pid ppid", "threads comm namespaces"])
def test_the_same_without_a_proc_of_it(box: int, monkeypatch: pytest.MonkeyPatch, fields: str | None) -> None:
    """If the kernel gives no proc of the namespace, the PIDs are translated one by one."""
    wanted = fields.split() if fields and fields != "all" else fields
    expected = comparable(nsbox.ps(of=box, fields=wanted))
    innermost = next(p for p in nsbox.ps(fields="pids comm") if p.comm == b"innermost")
    inner = comparable(nsbox.ps(of=innermost.pid))

    def refused(pid: int) -> _core.Proc:
        raise PermissionError(1, "refused", f"/proc/{pid}/ns/pid")

    monkeypatch.setattr(_core, "open_proc_of", refused)
    found = nsbox.ps(of=box, fields=wanted)
    # Fields that were not asked for were read all the same, for the translation.
    names = set(expected[0])
    assert [{n: v for n, v in p.items() if n in names} for p in comparable(found)] == expected
    assert comparable(nsbox.ps(of=innermost.pid)) == inner
    assert [p["pid"] for p in inner] == [1, 2]
    assert [p.pid for p in nsbox.ps(of=box, pids=[5, 1, 99999])] == [5, 1]
    with pytest.raises(nsbox.ProcessEndedError, match="no process has the PID 999999999"):
        nsbox.ps(of=999_999_999)


def test_a_process_that_is_not_there() -> None:
    acts: list[Any] = [nsbox.ps, nsbox.pstree, nsbox.lsns]
    for act in acts:
        for view in ("namespace", "proc"):
            with pytest.raises(nsbox.ProcessEndedError, match="no process has the PID 999999999"):
                act(of=999_999_999, view=view)
        for wrong in (0, -1, True, "1", 1.0, 2**31, object()):
            with pytest.raises(nsbox.SpecError, match="of: expected a PID"):
                act(of=wrong)
        with pytest.raises(nsbox.SpecError, match="view: expected"):
            act(of=1, view="nonsense")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a proc without a user namespace")
@pytest.mark.parametrize("hidepid", ["1", "2"])
def test_processes_that_hide(hidepid: str) -> None:
    """Hidden processes are left out, and listed ones are counted as not readable."""

    def act() -> tuple[list[int], int, str, list[Process]]:
        libc.unshare(0x20000)
        libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE)
        libc.mount("proc", "/mnt", "proc", data=f"hidepid={hidepid}")
        before = len(os.listdir("/mnt"))
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        # Not dumpable after the change of ids: its files in /proc belong to root.
        libc.prctl(libc.PR_SET_DUMPABLE, 1)
        table = nsbox.ps(proc="/mnt")
        return [p.owner for p in table], before, repr(table), list(nsbox.ps(proc="/mnt", pids=[1, os.getpid()]))

    owners, before, text, some = in_child(act)
    assert set(owners) == {USER}
    assert len(some) == 1
    hidden = "that may not be read" in text
    assert hidden == (hidepid == "1")
    assert before > 20


def test_unreadable_namespaces_are_unknown(who: Who) -> None:
    """An ordinary user does not see the namespaces of root's processes, which are unknown, not missing."""

    def act() -> tuple[Any, ...]:
        (one,) = nsbox.ps(pids=[2], fields="all")
        return one.namespaces, one.exe, one.namespace_descriptors, one.pid_for_children, one.uids

    namespaces, exe, descriptors, for_children, uids = who(act)
    assert uids == (0, 0, 0, 0)
    assert exe is None
    if who.is_root:
        assert None not in namespaces
        assert (descriptors, for_children) == ((), namespaces.pid)
    else:
        assert set(namespaces) == {None}
        assert (descriptors, for_children) == (None, None)


@pytest.mark.pure
def test_the_order_is_that_of_the_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The PIDs of the caller may have begun anew meanwhile: then a later process has a lower one there."""

    def process(*pids: int, parent: int) -> Process:
        return Process(
            pid=pids[0], ppid=parent, pgid=0, sid=0, tpgid=0, pids=pids, namespaces=NamespaceIds(pid=len(pids))
        )

    table = [process(300, 2, parent=32000), process(400, 3, parent=300), process(32000, 1, parent=1)]
    monkeypatch.setattr(inside, "read_here", lambda _: ([process(1, parent=0), *table], ()))
    found, hidden = inside.read(32000, ["stat"], None, OSError("refused"))
    assert [(one.pid, one.ppid) for one in found] == [(1, 0), (2, 1), (3, 2)]
    assert hidden == ()
