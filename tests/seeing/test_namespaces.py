"""Namespaces and what keeps them alive: none that exists may be missing."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import _core

from tests.support import libc
from tests.support.forked import Who, fork, in_child

NEW = {kind.name: kind.flag for kind in _core.kinds()}


def inode(path: str) -> int:
    return os.stat(path).st_ino


def test_namespaces_of_all_links(who: Who) -> None:
    """Every namespace to which a link of a process leads, with the right count, compared with the file system."""

    def act() -> tuple[dict[int, list[int]], dict[int, tuple[int, int | None, str]]]:
        def look() -> dict[int, list[int]]:
            members: dict[int, list[int]] = {}
            for process in nsbox.ps(fields="pid"):
                for kind in _core.kinds():
                    try:
                        members.setdefault(inode(f"/proc/{process.pid}/ns/{kind.link}"), []).append(process.pid)
                    except OSError:
                        continue
            return members

        with nsbox.Shell("mipun"):
            before = look()
            found = {n.id: (n.process_count, n.pid, n.kind) for n in nsbox.lsns()}
            after = look()
            # Other processes start and end, and their namespaces with them.
            return {id_: pids for id_, pids in before.items() if after.get(id_) == pids}, found

    members, found = who(act)
    assert members.keys() <= found.keys()
    assert len(members) >= 5
    for id_, pids in members.items():
        if len(pids) == 1:
            assert found[id_][1] == pids[0]


def test_relations(who: Who) -> None:
    def act() -> tuple[Any, ...]:
        with nsbox.Shell("mip", map_root_user=True) as shell:
            table = nsbox.lsns()
            outer, inner = nsbox.namespaces_of(os.getpid()), nsbox.namespaces_of(shell.pid)
            return table, outer, inner, shell.pid, os.geteuid()

    table, outer, inner, pid, uid = who(act)
    user, pid_ns, mount = (table.find(getattr(inner, kind)) for kind in ("user", "pid", "mount"))
    assert (user.kind, user.parent, user.owner, user.owner_uid) == ("user", outer.user, outer.user, uid)
    assert (pid_ns.parent, pid_ns.owner, pid_ns.owner_uid) == (outer.pid, inner.user, uid)
    assert (mount.parent, mount.owner) == (None, inner.user)
    assert (pid_ns.pid, pid_ns.process_count, pid_ns.kept_by) == (pid, 1, ("processes",))
    # nsbox-init made it from outside, and tells its own namespaces to a caller who may not read them.
    assert pid_ns.ppid is not None
    assert pid_ns.creator == pid_ns.ppid
    assert pid_ns.command.split(b" ")[0].endswith(b"/bash")
    assert pid_ns.uid == uid
    assert f"{inner.pid} pid" in str(table)
    assert f"{inner.pid}" in table.text(tree="owner")
    assert [n.kind for n in table.of_process(pid)] == sorted(
        (n.kind for n in table.of_process(pid)), key=lambda kind: getattr(inner, kind)
    )
    assert {n.id for n in table.of_process(pid)} == set(inner)
    assert [p.pid for p in table.processes_in(inner.pid)] == [pid]
    assert table.of_kind("p").find(inner.mount) is None


def test_kept_by_a_descriptor(who: Who) -> None:
    def act() -> tuple[Any, ...]:
        with nsbox.Shell("u") as shell:
            fd = os.open(f"/proc/{shell.pid}/ns/uts", os.O_RDONLY)
            id_ = os.fstat(fd).st_ino
        kept = nsbox.lsns().find(id_)
        os.close(fd)
        return kept, nsbox.lsns().find(id_), (os.getpid(), fd)

    kept, gone, holder = who(act)
    assert kept.kept_by == ("descriptors",)
    assert kept.descriptors == (holder,)
    assert (kept.process_count, kept.pid, kept.command, kept.kind) == (0, None, None, "uts")
    assert kept.owner is not None
    assert gone is None


def test_kept_by_a_mount() -> None:
    """In this mount namespace or in another one, and with names that have to be escaped."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount without a user namespace")
    script = (
        "mount -t tmpfs none /mnt; touch '/mnt/a b\\c' /mnt/time; unshare --net='/mnt/a b\\c' true; "
        "unshare --uts=/mnt/time true; mount --bind /mnt/time /mnt/time; echo ready; exec sleep 60"
    )
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            mounted = [n for n in nsbox.lsns() if n.mounts and n.owner]
            found = {point: n for n in mounted for point in n.mounts if point.startswith("/mnt/")}
            assert found["/mnt/a b\\c"].kind == "net"
            assert found["/mnt/time"].kind == "uts"
            for namespace in found.values():
                assert namespace.kept_by == ("mounts",)
                assert namespace.owner == nsbox.namespaces_of(os.getpid()).user
            assert [m.point for m in nsbox.mounts(running.pid) if m.fstype == "nsfs"] == [
                "/mnt/a b\\c", "/mnt/time", "/mnt/time",
            ]  # fmt: skip
        finally:
            running.kill()


def test_kept_by_a_thread(who: Who) -> None:
    def act() -> tuple[Any, ...]:
        done, ready, ids = threading.Event(), threading.Event(), []

        def move() -> None:
            libc.unshare(NEW["uts"] if os.geteuid() == 0 else 0)
            ids.append((inode("/proc/thread-self/ns/uts"), threading.get_native_id()))
            ready.set()
            done.wait()

        thread = threading.Thread(target=move)
        thread.start()
        ready.wait()
        found = nsbox.lsns().find(ids[0][0])
        done.set()
        thread.join()
        return found, ids[0][1], os.getpid()

    found, tid, pid = who(act)
    if who.is_root:
        assert found.kept_by == ("threads",)
        assert found.threads == ((pid, tid),)
    else:
        # Without privileges a thread of a process with several threads cannot move.
        assert "processes" in found.kept_by


def test_kept_for_children() -> None:
    """A time namespace without a process so far; and a PID namespace whose first process has ended."""
    if os.geteuid() != 0:
        pytest.skip("makes namespaces without a user namespace")

    def act() -> tuple[Any, ...]:
        libc.unshare(NEW["time"] | NEW["pid"])
        first = fork()
        if first == 0:
            os._exit(0)
        id_ = inode("/proc/self/ns/pid_for_children")
        os.waitpid(first, 0)
        table = nsbox.lsns()
        me = nsbox.ps(pids=[os.getpid()], fields="all")[0]
        return table.find(inode("/proc/self/ns/time_for_children")), table.find(id_), os.getpid(), me

    time_ns, pid_ns, pid, me = in_child(act)
    for kept, kind in ((time_ns, "time"), (pid_ns, "pid")):
        assert (kept.kind, kept.kept_by, kept.for_children) == (kind, ("for children",), (pid,))
    assert (me.time_for_children, me.pid_for_children) == (time_ns.id, pid_ns.id)
    assert me.namespaces.time != me.time_for_children


def test_kept_by_descendants(who: Who) -> None:
    """A user namespace without processes is found by the namespaces that it owns."""

    def act() -> tuple[Any, ...]:
        with nsbox.Popen(["unshare", "-U", "-r", "sleep", "60"], unshare="p", map_root_user=True) as process:
            try:
                while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
                    pass
                namespaces = nsbox.namespaces_of(process.pid)
                table = nsbox.lsns()
                user, pid = (table.find(id_ or 0) for id_ in (namespaces.user, namespaces.pid))
                assert user is not None
                return table.find(user.parent or 0), pid
            finally:
                process.kill()

    above, pid_ns = who(act)
    assert above.kind == "user"
    # nsbox-init is in it.
    assert above.id == pid_ns.owner


def test_namespaces_of(who: Who) -> None:
    def act() -> tuple[Any, ...]:
        with nsbox.Shell("mip") as shell:
            return (
                nsbox.namespaces_of(shell.pid),
                nsbox.namespaces_of(shell),
                [inode(f"/proc/{shell.pid}/ns/{kind.link}") for kind in _core.kinds()],
                nsbox.same_namespace(shell, os.getpid(), "ipc"),
                nsbox.same_namespace(shell, os.getpid(), "net uts"),
                nsbox.same_namespace(shell, os.getpid(), "uin"),
                nsbox.same_namespace(shell.pid, shell, "mip"),
            )

    first, second, expected, *same = who(act)
    assert first == second == tuple(expected)
    assert same == [False, True, False, True]


def test_namespaces_of_processes_without_any() -> None:
    me = os.getpid()
    with pytest.raises(ProcessLookupError):
        nsbox.namespaces_of(999_999_999)
    with pytest.raises(nsbox.SpecError, match="target: expected a PID"):
        nsbox.namespaces_of(-1)
    with pytest.raises(nsbox.SpecError, match="no namespace"):
        nsbox.same_namespace(me, me, "x")
    with pytest.raises(nsbox.SpecError, match="at least one"):
        nsbox.same_namespace(me, me, "")
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessLookupError, match="has no mount namespace"):
            nsbox.same_namespace(me, zombie.pid, "mnt")
        with pytest.raises(ProcessLookupError):
            nsbox.mounts(zombie.pid)


def test_namespaces_that_may_not_be_known(who: Who) -> None:
    def act() -> str:
        try:
            nsbox.same_namespace(2, os.getpid(), "ipc")
        except PermissionError as error:
            return str(error)
        return ""

    assert bool(who(act)) is not who.is_root
