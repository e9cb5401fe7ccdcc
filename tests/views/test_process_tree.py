"""How processes are drawn, from fabricated records. The comparison with the real pstree is among the kernel tests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pytest
from nsbox.records.processes import NamespaceIds, Process, Thread
from nsbox.seeing.processes import ProcessTable
from nsbox.seeing.tree import ProcessTree

pytestmark = pytest.mark.pure

HOST = NamespaceIds(1, 2, 3, 4, 5, 6, 7, 8)


def process(pid: int, ppid: int, name: str, **fields: Any) -> Process:
    values: dict[str, Any] = {
        "pid": pid, "ppid": ppid, "comm": name.encode(), "pids": (pid,), "pgid": pid, "sid": 1, "tty_nr": 0,
        "tpgid": -1, "state": "S", "nice": 0, "uids": (0, 0, 0, 0), "owner": 0, "thread_count": 1,
        "cmdline": (name.encode(),), "kernel_thread": False, "start_ticks": 0, "start_seconds": 0.0, "utime": 0.0,
        "stime": 0.0, "rss": 0, "vsize": 0, "namespaces": HOST,
    }  # fmt: skip
    return Process(**(values | fields))


def threads(*tids: int, name: str = "worker", namespaces: NamespaceIds = HOST) -> tuple[Thread, ...]:
    return tuple(Thread(tid, name.encode(), namespaces) for tid in tids)


BOX = HOST._replace(mount=22, pid=33, ipc=44)
WORKSHOP = [
    process(1, 0, "systemd"),
    process(10, 1, "auditd", namespaces=HOST._replace(mount=20), threads=()),
    process(11, 10, "sedispatch", namespaces=HOST._replace(mount=20)),
    process(20, 1, "sshd"),
    process(21, 20, "sshd"), process(22, 21, "bash"),
    process(23, 20, "sshd"), process(24, 23, "bash"),
    process(25, 20, "sshd"), process(26, 25, "bash"),
    process(27, 26, "unshare", namespaces=HOST._replace(mount=22, ipc=44)),
    process(28, 27, "bash", namespaces=BOX, pids=(28, 1)), process(29, 28, "ps", namespaces=BOX, pids=(29, 2)),
    process(30, 1, "chronyd", owner=990, uids=(990, 990, 990, 990)),
    process(40, 1, "tuned", threads=threads(41, 42, 43)),
]  # fmt: skip


def drawn(text: str) -> str:
    return dedent(text).strip("\n")


def test_the_tree_of_the_workshop() -> None:
    assert str(ProcessTree(WORKSHOP)) == drawn("""
        systemd─┬─auditd(mnt)───sedispatch
                ├─chronyd
                ├─sshd─┬─2*[sshd───bash]
                │      └─sshd───bash───unshare(ipc,mnt)───bash(pid)───ps
                └─tuned───3*[{tuned}]
    """)


def test_everything_at_once() -> None:
    text = ProcessTree(WORKSHOP).text(show_pids=True, show_pgids=True, thread_names=True, ascii=True)
    assert text == drawn("""
        systemd(1,1)-+-auditd(10,10,mnt)---sedispatch(11,11)
                     |-chronyd(30,30)
                     |-sshd(20,20)-+-sshd(21,21)---bash(22,22)
                     |             |-sshd(23,23)---bash(24,24)
                     |             `-sshd(25,25)---bash(26,26)---unshare(27,27,ipc,mnt)---bash(28,28,pid)---ps(29,29)
                     `-tuned(40,40)-+-{worker}(41,40)
                                    |-{worker}(42,40)
                                    `-{worker}(43,40)
    """)


def test_arguments() -> None:
    tree = ProcessTree([
        process(1, 0, "init", cmdline=(b"/sbin/init", b"--system", b"two words")),
        process(2, 1, "x", cmdline=(b"x", b"caf\xc3\xa9")),
        process(3, 2, "below"),
        process(4, 1, "kthread", cmdline=()),
        process(5, 1, "multi", threads=threads(6, 7)),
    ])  # fmt: skip
    assert tree.text(arguments=True) == drawn(r"""
        init --system two words
          ├─(kthread)
          ├─multi
          │   └─2*[{multi}]
          └─x caf\303\251
             └─below
    """)


def test_nothing_is_cut_unless_asked_for() -> None:
    tree = ProcessTree([process(1, 0, "a" * 200), process(2, 1, "b" * 200)])
    assert str(tree) == "a" * 200 + "───" + "b" * 200
    assert tree.text(width=10) == "a" * 9 + "+"
    assert tree.text(width=205) == "a" * 200 + "───" + "b" + "+"
    # One mark for one column, where pstree writes one for each byte of a line's character.
    assert tree.text(width=202) == "a" * 200 + "─+"


def test_compaction_needs_the_same_everything() -> None:
    def tree(**fields: Any) -> ProcessTree:
        return ProcessTree([process(1, 0, "init"), process(2, 1, "a"), process(3, 1, "a", **fields)])

    assert str(tree()) == "init───2*[a]"
    assert str(tree(namespaces=HOST._replace(uts=50))) == "init─┬─a\n     └─a(uts)"
    assert tree(namespaces=HOST._replace(uts=50)).text(ns_changes=False) == "init───2*[a]"
    assert str(tree(owner=5)) == "init───2*[a]"
    assert tree(owner=4294967294).text(uid_changes=True) == "init─┬─a\n     └─a(4294967294)"
    assert tree().text(compact=False) == "init─┬─a\n     └─a"
    assert tree().text(show_pids=True) == "init(1)─┬─a(2)\n        └─a(3)"


def test_groups_need_not_be_neighbours() -> None:
    tree = ProcessTree([
        process(1, 0, "init"),
        process(2, 1, "a"), process(3, 1, "a"), process(4, 1, "a"),
        process(5, 3, "kid"), process(6, 5, "kid"), process(7, 5, "kid"),
    ])  # fmt: skip
    assert str(tree) == "init─┬─2*[a]\n     └─a───kid───2*[kid]"


def test_unreadable_namespaces() -> None:
    tree = ProcessTree([
        process(1, 0, "init", namespaces=NamespaceIds()),
        process(2, 1, "a", namespaces=BOX),
        process(3, 2, "b", namespaces=NamespaceIds()),
        process(4, 3, "c", namespaces=HOST),
        process(5, 1, "z", state="Z", namespaces=NamespaceIds()),
    ])  # fmt: skip
    # As with pstree, unknown is not marked...
    assert str(tree) == "init─┬─a───b───c\n     └─z"
    # ... but it is reported, and can be marked. A zombie has no namespaces, so for it nothing is missing.
    (note,) = tree.notes
    assert note.startswith("the namespaces of 2 of 5 processes could not be read (1 init, 3 b)")
    assert tree.text(mark_unknown=True) == "init(?)─┬─a───b(?)───c\n        └─z"
    assert ProcessTree([process(1, 0, "init")]).notes == ()


def test_hidden_parents() -> None:
    """PID 1 and the parents of the caller may be hidden (hidepid, proc(5)); pstree draws them as question marks."""
    tree = ProcessTree([process(5, 99, "python"), process(6, 98, "sleep"), process(7, 1, "daemon")])
    assert str(tree) == "?─┬─?───sleep\n  ├─?───python\n  └─daemon"
    assert [tree.find(pid) is not None for pid in (5, 6, 7)] == [True] * 3


def test_unknown_parents_and_parents_outside() -> None:
    tree = ProcessTree([process(1, 0, "init"), process(5, 99, "orphan"), process(6, 0, "joined")])
    # A tree has every process that was read: what `enter` has started in a box has no parent there.
    assert str(tree) == "?─┬─init───?───orphan\n  └─joined"
    assert tree.notes == ()
    # Only the threads of the kernel are left out, as in pstree.
    tree = ProcessTree([process(1, 0, "init"), process(2, 0, "kthreadd", kernel_thread=True)])
    assert str(tree) == "init"
    assert tree.notes == ("left out: 1 thread of the kernel, not below PID 1; top(2) shows them",)
    assert ProcessTree([process(5, 99, "orphan"), process(6, 0, "joined")]).root.pid == 0


def test_parents_in_a_circle() -> None:
    """PIDs that were reused during the pass must not make a circle of the tree."""
    tree = ProcessTree([process(1, 7, "init"), process(5, 6, "a"), process(6, 5, "b"), process(8, 8, "self")])
    assert sorted(node.pid for node in tree.walk()) == [1, 5, 6, 8]
    assert len(str(tree).splitlines()) == 2


def test_a_long_chain() -> None:
    """Deeper than Python's recursion limit, with two equal ends."""
    chain = [process(1, 0, "a")] + [process(pid, pid - 1, "a") for pid in range(2, 5000)]
    tree = ProcessTree([*chain, process(5000, 4998, "a")])
    assert str(tree) == "───".join(["a"] * 4998) + "───2*[a]"
    assert len(tree.ancestors(5000)) == 4998


def test_finding_one_s_way() -> None:
    tree = ProcessTree(WORKSHOP)
    assert tree.root.name == "systemd"
    bash = tree.find(28)
    assert bash is not None
    assert (bash.name, bash.changes) == ("bash", ("pid",))
    assert bash.process is not None
    assert bash.process.pids == (28, 1)
    assert [node.pid for node in tree.ancestors(28)] == [27, 26, 25, 20, 1]
    assert [node.pid for node in tree.ancestors(42)] == [40, 1]
    assert [node.name for node in tree.subtree(40).walk()] == ["tuned", "{tuned}", "{tuned}", "{tuned}"]
    assert tree.find(12345) is None
    for act in (tree.subtree, tree.ancestors):
        with pytest.raises(ProcessLookupError):
            act(12345)
    with pytest.raises(ProcessLookupError):
        ProcessTree(WORKSHOP, root=12345)


def test_the_top_of_a_subtree_still_has_its_marks() -> None:
    tree = ProcessTree(WORKSHOP).subtree(27)
    assert str(tree) == "unshare(ipc,mnt)───bash(pid)───ps"
    assert tree.find(1) is None
    assert [node.pid for node in tree.ancestors(29)] == [28, 27]


def test_threads_can_be_hidden() -> None:
    assert ProcessTree(WORKSHOP).subtree(40).text(threads=False) == "tuned"


def test_a_thread_in_namespaces_of_its_own() -> None:
    moved = threads(3, namespaces=HOST._replace(uts=50))
    tree = ProcessTree([process(1, 0, "init", threads=threads(2) + moved)])
    assert str(tree) == "init─┬─{init}\n     └─{init}(uts)"


def test_reprs_are_sentences() -> None:
    tree = ProcessTree(WORKSHOP)
    assert repr(tree) == "<tree of 18 processes and threads below 1 systemd>"
    assert repr(tree.find(28)) == "<node 28 bash in a new pid namespace, 1 children>"
    assert repr(WORKSHOP[0]) == "<process 1 systemd (S)>"


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_the_table() -> None:
    overflow_id = 4294967294
    rows = [
        process(1, 0, "systemd", sid=1, cmdline=(b"/usr/lib/systemd/systemd", b"--switched-root"), utime=20.5, stime=1,
                rss=13 << 20, vsize=170 << 20, locked=4096),
        process(2, 0, "kthreadd", cmdline=(), state="I", nice=-20, kernel_thread=True, sid=0),
        process(7128, 1, "bash", cmdline=(b"-bash",), tty_nr=136 << 8, tpgid=7130, start_seconds=86400, sid=7128),
        process(7130, 7128, "evil", pids=(7130, 1), cmdline=(b"evil\x1b[2J", b"caf\xc3\xa9\xff"), start_seconds=86459,
                pgid=7130, tpgid=7130, tty_nr=136 << 8, state="R", thread_count=2, nice=5, utime=35.5,
                uids=(0, overflow_id, 0, 0)),
        process(7131, 7130, "gone", pids=(7131, 2, 1), cmdline=(), state="Z", start_seconds=86460, utime=4000),
    ]  # fmt: skip
    table = ProcessTable(rows, boot=1_000_000_000, read_at=1_000_090_000, memory=1_000 << 20)
    expected = drawn("""
        USER      PID INSIDE PPID %CPU %MEM    VSZ   RSS TTY   STAT START  TIME COMMAND
        root        1      -    0  0.0  1.3 174080 13312 ?     SLs  Sep09  0:21 /usr/lib/systemd/systemd --switched-root
        root        2      -    0  0.0  0.0      0     0 ?     I<   Sep09  0:00 [kthreadd]
        root     7128      -    1  0.0  0.0      0     0 pts/0 Ss   01:46  0:00 -bash
        4294967+ 7130      1 7128  1.0  0.0      0     0 pts/0 RNl+ 01:47  0:35 evil?[2J café?
        root     7131    2,1 7130  112  0.0      0     0 ?     Z    01:47 66:40 [gone] <defunct>
    """)
    assert str(table) == expected
    assert table.text(width=30) == "\n".join(line[:30] for line in expected.splitlines())
    assert [len(table), table[2].pid, len(table[1:3]), repr(table)] == [5, 7128, 2, "<table of 5 processes>"]
    assert table.find(7130) is rows[3]
    assert table.find(5) is None


@pytest.mark.usefixtures("utc")
def test_no_column_for_inner_pids_where_there_are_none() -> None:
    table = ProcessTable([process(1, 0, "a")], boot=0, read_at=60)
    head = "USER PID PPID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"
    row = "root   1    0  0.0  0.0   0   0 ?   Ss   00:00 0:00 a"
    assert str(table).splitlines() == [head, row]
