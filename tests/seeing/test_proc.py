"""The process table from fabricated files: exact for all that the kernel may write, robust for anything else."""

from __future__ import annotations

import os
import pickle
import pwd
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import nsbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox import _core
from nsbox.errors import SpecError
from nsbox.records.processes import Capabilities, NamespaceIds, Process, Thread
from nsbox.seeing.proc import BoxFiles, as_box
from nsbox.seeing.processes import ps
from nsbox.seeing.tree import pstree

from tests.support.fake_proc import LINKS, FakeProc, FakeProcess, stat

pytestmark = pytest.mark.pure

# A name has at most 15 bytes for users' processes, 63 for the kernel's (proc_pid_comm(5)); no NUL.
NAMES = st.lists(st.integers(1, 255), max_size=63).map(bytes)
WORDS = st.lists(st.lists(st.integers(1, 255)).map(bytes), min_size=1)


def _read(proc: Path, *, everything: bool = True, threads: bool = False) -> list[Process]:
    sources = ["status", "cmdline", "namespaces"] if everything else []
    classes = (Process, Thread, NamespaceIds, Capabilities)
    return _core.read_processes(_core.open_proc(os.fsencode(proc)), classes, sources + ["threads"] * threads)[0]


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


@given(NAMES | st.sampled_from([b"", b")", b") R 1 (", b"(", b" ", b"\n", b"a\nNSpid:\t1"]), st.integers(1, 2**31 - 1))
def test_any_name_is_exact(name: bytes, ppid: int) -> None:
    with TemporaryDirectory() as place:
        proc = FakeProc(Path(place))
        proc.add(FakeProcess(pid=7, ppid=ppid, comm=name, threads=((8, name),)))
        (found,) = _read(proc.path, threads=True)
    assert (found.comm, found.ppid, found.state, found.thread_count) == (name, ppid, "S", 2)
    assert (found.start_ticks, found.vsize) == (500, 4096)
    assert found.rss == 3 * os.sysconf("SC_PAGESIZE")
    assert found.utime + found.stime == 200 / os.sysconf("SC_CLK_TCK")
    assert [(thread.tid, thread.comm) for thread in found.threads] == [(8, name)]


@given(WORDS)
def test_any_arguments_are_exact(words: list[bytes]) -> None:
    with TemporaryDirectory() as place:
        proc = FakeProc(Path(place))
        proc.add(FakeProcess(pid=7, cmdline=tuple(words)))
        (found,) = _read(proc.path)
    assert found.cmdline == tuple(words)


@pytest.mark.parametrize("size", [4095, 4096, 16383, 16384, 16385, 2_000_000])
def test_arguments_of_any_length(proc: FakeProc, size: int) -> None:
    """The buffer grows at these sizes."""
    proc.add(FakeProcess(pid=7, cmdline=(b"x" * size,)))
    (found,) = _read(proc.path)
    assert found.cmdline == (b"x" * size,)


@given(
    st.sampled_from(["stat", "status", "cmdline", "task/8/comm", "task/8/stat"]),
    st.binary() | st.binary().map(lambda more: stat(FakeProcess(pid=7)) + more),
)
def test_any_contents_are_survived(file: str, contents: bytes) -> None:
    with TemporaryDirectory() as place:
        proc = FakeProc(Path(place))
        directory = proc.add(FakeProcess(pid=7, threads=((8, b"thread"),)))
        (directory / file).write_bytes(contents)
        found = _read(proc.path, threads=True)
    assert [process.pid for process in found] in ([], [7])


@given(st.integers(0, len(stat(FakeProcess(pid=7)))))
def test_a_cut_stat_is_no_process_or_the_same(end: int) -> None:
    with TemporaryDirectory() as place:
        proc = FakeProc(Path(place))
        directory = proc.add(FakeProcess(pid=7, comm=b"a)b"))
        whole = _read(proc.path)[0]
        (directory / "stat").write_bytes(stat(FakeProcess(pid=7, comm=b"a)b"))[:end])
        for process in _read(proc.path):
            assert (process.comm, process.start_ticks, process.vsize) == (b"a)b", 500, whole.vsize)


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=80))
def test_any_link_is_a_number_or_unknown(target: str) -> None:
    with TemporaryDirectory() as place:
        proc = FakeProc(Path(place))
        directory = proc.add(FakeProcess(pid=7))
        (directory / "ns" / "mnt").symlink_to(target)
        (found,) = _read(proc.path)
    assert found.namespaces is not None
    assert NamespaceIds(*found.namespaces)._replace(mount=None) == NamespaceIds()


@pytest.mark.parametrize("target", ["mnt", "mnt:[]", "mnt:[x]", "mnt:[1", "mnt:[-1]", "mnt:[99999999999999999999]"])
def test_a_link_without_a_number_is_unknown(proc: FakeProc, target: str) -> None:
    (proc.add(FakeProcess(pid=7)) / "ns" / "mnt").symlink_to(target)
    assert ps(proc=proc.path)[0].namespaces == NamespaceIds()


def test_links_are_read_by_kind(proc: FakeProc) -> None:
    proc.add(FakeProcess(pid=7, namespaces={link: number for number, link in enumerate(LINKS)}))
    assert ps(proc=proc.path)[0].namespaces == tuple(proc.inode(number) for number in range(8))


def test_fields_are_in_the_order_of_the_table_of_kinds() -> None:
    assert NamespaceIds._fields == tuple(kind.name for kind in _core.kinds())
    assert tuple(kind.link for kind in _core.kinds()) == LINKS


def test_a_box_offers_what_is_used_of_it() -> None:
    """The type checker compares the signatures."""

    def offered(box: nsbox.Box) -> BoxFiles:
        return box

    assert as_box(offered) is None
    assert {"pid", "namespace_ids", "open", "ipcs", "_open_proc"} <= set(dir(nsbox.Box))


def test_only_what_is_asked_for_is_read(proc: FakeProc) -> None:
    directory = proc.add(FakeProcess(pid=7, threads=((8, b"thread"),)))
    for file in ("status", "cmdline"):
        (directory / file).unlink()
    (found,) = _read(proc.path, everything=False)
    assert (found.pid, found.threads) == (7, ())
    for name in ("uids", "cmdline", "namespaces", "exe", "capabilities"):
        with pytest.raises(AttributeError, match="not requested"):
            getattr(found, name)


@pytest.mark.parametrize("file", ["stat", "status", "cmdline"])
def test_a_process_that_is_ending_is_left_out(proc: FakeProc, file: str) -> None:
    """Its files vanish one after another; an incomplete process would be worse than none."""
    (proc.add(FakeProcess(pid=7)) / file).unlink()
    proc.add(FakeProcess(pid=8))
    assert [process.pid for process in ps(proc=proc.path)] == [8]


def test_a_thread_that_is_ending_is_left_out(proc: FakeProc) -> None:
    directory = proc.add(FakeProcess(pid=7, threads=((8, b"a"), (9, b"b"))))
    (directory / "task" / "8" / "comm").unlink()
    (found,) = _read(proc.path, threads=True)
    assert [thread.tid for thread in found.threads] == [9]


def test_other_entries_are_no_processes(proc: FakeProc) -> None:
    proc.add(FakeProcess(pid=7))
    for name in ("self", "8x", "+8", "99999999999", "-1"):
        (proc.path / name).mkdir()
    (proc.path / "8").write_text("a file")
    assert [process.pid for process in ps(proc=proc.path)] == [7]


def test_the_pids_from_outside_inwards(proc: FakeProc) -> None:
    proc.add(FakeProcess(pid=7, pids=(7, 3, 1)))
    # Not the PIDs of this process: those of another proc.
    proc.add(FakeProcess(pid=8, pids=(9, 1)))
    assert {process.pid: process.pids for process in ps(proc=proc.path)} == {7: (7, 3, 1), 8: (8,)}


def test_pids_that_were_asked_for(proc: FakeProc) -> None:
    for pid in (7, 8, 9):
        proc.add(FakeProcess(pid=pid))
    assert [process.pid for process in ps(proc=proc.path, pids=[9, 2**80, -1, 7, 100])] == [9, 7]
    assert len(ps(proc=proc.path, pids=[])) == 0


def test_no_proc_is_an_error(tmp_path: Path) -> None:
    """An empty mount point would otherwise look like a machine without processes."""
    with pytest.raises(FileNotFoundError) as caught:
        ps(proc=tmp_path / "missing")
    assert caught.value.filename == str(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="is proc mounted there"):
        ps(proc=tmp_path)
    with pytest.raises(NotADirectoryError):
        ps(proc=__file__)
    with pytest.raises(TypeError, match="of and proc"):
        ps(of=1, proc="/proc")


def test_this_process() -> None:
    (me,) = ps(pids=[os.getpid()])
    assert (me.pid, me.ppid, me.pgid, me.sid) == (os.getpid(), os.getppid(), os.getpgrp(), os.getsid(0))
    assert me.pids[0] == me.pid
    assert me.uids is not None
    assert me.uids[:3] == os.getresuid()
    assert me.uid == os.getuid()
    assert me.cmdline == tuple(Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1])
    assert me.comm == Path("/proc/self/comm").read_bytes()[:-1]
    assert not me.kernel_thread
    for link, number in zip(LINKS, me.namespaces, strict=True):
        assert os.readlink(f"/proc/self/ns/{link}") == f"{link}:[{number}]"


def test_everything_about_this_process() -> None:
    """The fields agree with other interfaces of the kernel."""
    (me,) = ps(pids=[os.getpid()], fields="all")
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert (me.exe, me.cwd) == (os.fsencode(os.readlink("/proc/self/exe")), os.getcwdb())
    assert me.gids is not None
    assert me.gids[:3] == os.getresgid()
    assert sorted(me.groups) == sorted(os.getgroups())
    sets = [int(status[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
    assert me.capabilities == tuple(sets)
    assert (me.no_new_privs, me.seccomp) == (status["NoNewPrivs"] == "1", int(status["Seccomp"]))
    assert me.cgroup is not None
    assert b"0::" + me.cgroup in Path("/proc/self/cgroup").read_bytes().splitlines()
    assert (me.pid_for_children, me.time_for_children) == (me.namespaces.pid, me.namespaces.time)
    assert me.user == {user.pw_uid: user.pw_name for user in reversed(pwd.getpwall())}.get(
        os.geteuid(), str(os.geteuid())
    )
    assert me.identity == (me.pid, me.start_ticks)
    assert me.locked == int(status["VmLck"].split()[0]) * 1024
    with Path("/proc/self/ns/uts").open("rb") as opened:
        (again,) = ps(pids=[me.pid], fields="namespace_descriptors")
        assert (opened.fileno(), "uts", me.namespaces.uts) in (again.namespace_descriptors or ())
    assert again != me


def test_chosen_fields(proc: FakeProc) -> None:
    proc.add(FakeProcess(pid=7, comm=b"seven", uid=4242, label=b"unconfined\n"))
    for fields in ("uids, label", ["label", "uid"], iter(["user", "label"])):
        (found,) = ps(proc=proc.path, fields=fields)
        assert (found.label, found.uids) == (b"unconfined", (4242,) * 4)
        assert not hasattr(found, "namespaces")
    # Fields from stat are always read, and a table shows those that exist.
    table = ps(proc=proc.path, fields="pid state name")
    assert (table[0].name, table[0].uid, table[0].tty) == ("seven", 4242 if os.geteuid() == 0 else os.geteuid(), None)
    assert "[seven]" in str(table)
    with pytest.raises(SpecError, match="a process has no 'nonsense'"):
        ps(proc=proc.path, fields="pid nonsense")
    with pytest.raises(AttributeError, match="exe was not requested"):
        _ = table[0].exe
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = table[0].nonsense  # type: ignore[attr-defined]


def test_as_many_as_need_several_workers(proc: FakeProc) -> None:
    """The processes are in the order of the directory, and none occurs twice."""
    for pid in range(1, 1200):
        proc.add(FakeProcess(pid=pid, pids=(pid, 1) if pid % 7 == 0 else (pid,)))
    found = ps(proc=proc.path, fields="pids")
    assert [process.pid for process in found] == [int(name) for name in os.listdir(proc.path) if name.isdecimal()]
    assert all(len(process.pids) == (2 if process.pid % 7 == 0 else 1) for process in found)
    wanted = [1199, 1, *range(600, 1, -1)]
    assert [process.pid for process in ps(proc=proc.path, pids=wanted)] == wanted


def test_threads_of_this_process() -> None:
    done = threading.Event()
    started = threading.Event()
    found: list[int] = []

    def wait() -> None:
        found.append(threading.get_native_id())
        started.set()
        done.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    try:
        node = pstree(os.getpid()).find(found[0])
        assert node is not None
        assert node.thread is not None
        assert node.process is not None
        assert node.process.pid == os.getpid()
    finally:
        done.set()
        thread.join()


def test_processes_that_end_during_the_pass() -> None:
    """No error is raised, whatever vanishes during the read."""
    script = "for i in $(seq 150); do /bin/true; /bin/sleep 0 & done; wait"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL) as churn:
        while churn.poll() is None:
            for process in pstree().walk():
                assert process.pid >= 0


def test_records_are_frozen_and_can_be_compared(proc: FakeProc) -> None:
    proc.add(FakeProcess(pid=7))
    first, second = ps(proc=proc.path)[0], ps(proc=proc.path)[0]
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(AttributeError):
        first.pid = 8  # type: ignore[misc]
    assert Process(**(first._asdict() | {"pid": 8})) != first
    assert pickle.loads(pickle.dumps(first)) == first


def test_reading_imports_nothing_big() -> None:
    big = ["argparse", "ctypes", "nsbox.cli.ps"]
    code = f"import sys, nsbox.cli; print([name for name in {big} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
