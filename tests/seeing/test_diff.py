"""Differences of made-up snapshots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.errors import SpecError
from nsbox.records.comparison import Pair
from nsbox.records.ipc import IpcObject
from nsbox.records.mountinfo import Mount
from nsbox.records.namespaces import NamespaceRecord
from nsbox.records.processes import NamespaceIds, Process, Reading
from nsbox.seeing.compare import Comparison
from nsbox.seeing.diff import Diff, diff
from nsbox.seeing.ipc import IpcTable
from nsbox.seeing.mounts import MountTable
from nsbox.seeing.namespaces import NamespaceTable
from nsbox.seeing.processes import ProcessTable
from nsbox.seeing.snapshot import Snapshot
from nsbox.views import change_table

from tests.support.pages import drawing, page, texts
from tests.support.records import HOST, ipc_objects, mounts, process, trees

pytestmark = pytest.mark.pure

BOX = HOST._replace(mount=22, pid=33)


def taken(
    processes: list[Process] = [], *, namespaces: list[NamespaceRecord] = [], mounts: list[Mount] = [],  # noqa: B006
    ipc: IpcTable | None = None, **others: Any,
) -> Snapshot:  # fmt: skip
    """Return a snapshot."""
    table = ProcessTable(processes, boot=0.0, read_at=9000.0)
    found = NamespaceTable(namespaces, processes)
    return Snapshot(table, found, MountTable(mounts), IpcTable([]) if ipc is None else ipc, **others)


def mount(id: int, point: str, **others: Any) -> Mount:
    values: dict[str, Any] = {
        "parent": 1, "device": (0, 40), "root": "/", "options": ("rw",), "propagation": (), "fstype": "tmpfs",
        "source": "none", "super_options": (),
    }  # fmt: skip
    return Mount(id=id, point=point, **values | others)


def test_a_lesson() -> None:
    """All kinds of changes in one difference, as a reader sees them."""
    before = taken(
        [process(1, 0, "init"), process(7, 1, "bash"), process(8, 7, "sleep"), process(9, 7, "worker")],
        namespaces=[NamespaceRecord(id=22, kind="mount", process_count=1, pid=8, command=b"x"),
                    NamespaceRecord(id=50, kind="net", process_count=1, pid=9, command=b"worker")],
        mounts=[mount(30, "/"), mount(31, "/old")],
    )  # fmt: skip
    objects = [IpcObject(kind="shm", id=5, key=0xBEEF, uid=0, gid=0, mode=0o600, size=4096, count=0),
               IpcObject(kind="mqueue", name="jobs", uid=0, gid=0, mode=0o600)]  # fmt: skip
    after = taken(
        [process(1, 0, "init"), process(7, 1, "bash", namespaces=BOX._replace(pid=3)),
         process(9, 1, "worker", state="Z"), process(10, 7, "a\nb", namespaces=BOX, pids=(10, 1))],
        namespaces=[NamespaceRecord(id=33, kind="pid", process_count=1, pid=10, command=b"a\nb"),
                    NamespaceRecord(id=50, kind="net", descriptors=((1, 3),))],
        mounts=[mount(30, "/", propagation=("shared:1",)), mount(32, "/proc", fstype="proc", source="proc")],
        ipc=IpcTable(objects),
    )  # fmt: skip
    found = diff(before, after)
    assert str(found) == "\n".join([
        "- process   8            sleep",
        "+ process   10/1         a?b",
        "~ process   7            bash: other mount",
        "~ process   9            [worker] <defunct>: state S -> Z",
        "- namespace mnt:[22]     of 8 x",
        "+ namespace pid:[33]     of 10 a\\x0ab",
        "~ namespace net:[50]     kept by descriptors: kept by processes -> descriptors",
        "- mount     /old         none (tmpfs; private)",
        "+ mount     /proc        proc (proc; private)",
        "~ mount     /            none (tmpfs; shared:1): propagation none -> shared:1",
        "+ ipc       shm 5        key 0x0000beef, 4096 bytes",
        "+ ipc       mqueue /jobs",
    ])  # fmt: skip
    assert repr(found) == "<diff: processes +1 -1 ~2, namespaces +1 -1 ~1, mounts +1 -1 ~1, ipc objects +2 -0 ~0>"
    assert ["".join(row[2].itertext()) for row in page(found.html()).iter("tr")][1:3] == ["8", "10/1"]
    shown = texts(drawing(found.svg()))
    assert shown[shown.index("sleep") + 1] == "\N{MINUS SIGN} gone"
    assert shown[shown.index("a\\x0ab") + 1] == "+ new"
    assert shown[shown.index("bash") + 1] == "~ changed"
    assert not {"+ new", "~ changed"} & {shown[shown.index("init") + 1]}


def test_colours_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is not a terminal here."""
    found = diff(taken(), taken([process(1, 0, "init")]))
    assert found.text() == str(found) == "+ process 1 init"
    assert found.text(color=True) == "\033[32m+ process 1 init\033[0m"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert change_table.is_colored()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not change_table.is_colored()


def test_lines_are_cut() -> None:
    found = diff(taken(), taken([process(1, 0, "init", cmdline=(b"x" * 100,))]))
    assert [len(line) for line in str(found).split("\n")] == [80]
    assert len(found.text(width=None)) > 100


@given(trees(most=20), st.lists(mounts, max_size=3), st.lists(ipc_objects, max_size=3))
def test_nothing_changed(processes: list[Process], mounted: list[Mount], objects: list[IpcObject]) -> None:
    one = taken(processes, mounts=mounted, ipc=IpcTable(objects))
    found = diff(one, one)
    assert not found
    assert str(found) == "nothing changed"


@given(trees(most=20), trees(most=20))
def test_backwards(before: list[Process], after: list[Process]) -> None:
    """What appears in one direction disappears in the other, and every picture of it is valid."""
    there, back = diff(taken(before), taken(after)), diff(taken(after), taken(before))
    assert there.processes.came == back.processes.went
    assert there.processes.went == back.processes.came
    drawing(there.svg())
    page(there.html())


def changed(before: Process, after: Process) -> tuple[str, ...]:
    """Return the fields in which a process differs."""
    changes = diff(taken([before]), taken([after])).processes.changed
    return changes[0].what if changes else ()


ONE = process(5, 1, "one")


@pytest.mark.parametrize(
    ("others", "what"),
    [
        ({"rss": 9, "utime": 1.0, "state": "R", "thread_count": 4}, ()),
        ({"comm": b"other"}, ("command",)),
        ({"cmdline": (b"one", b"two")}, ("command",)),
        ({"ppid": 2, "sid": 5}, ("ppid", "sid")),
        ({"state": "T"}, ("state",)),
        ({"state": "Z", "cmdline": (), "namespaces": NamespaceIds(), "uids": None}, ("state",)),
        ({"uids": (0, 1, 1, 1), "seccomp": 2, "no_new_privs": True}, ("uids", "no_new_privs", "seccomp")),
        ({"uids": None, "capabilities": None, "namespaces": NamespaceIds()}, ()),
        ({"namespaces": HOST._replace(net=77)}, ("namespaces",)),
    ],
)
def test_changes_that_are_reported(others: dict[str, Any], what: tuple[str, ...]) -> None:
    """Unknown values are no change, nor are values that change all the time."""
    assert changed(ONE, Process(**ONE._asdict() | others)) == what


def test_names_of_kernel_threads() -> None:
    """The name of a kernel thread changes with its current work, so that is no change."""
    thread = process(5, 2, "kworker/0:1", kernel_thread=True)
    assert changed(thread, Process(**thread._asdict() | {"comm": b"kworker/0:1-events"})) == ()


def test_a_pid_that_was_reused() -> None:
    found = diff(taken([ONE]), taken([Process(**ONE._asdict() | {"start_ticks": 999})]))
    assert len(found.processes.came) == len(found.processes.went) == 1


def test_a_namespace_id_that_was_reused() -> None:
    """With other processes it is another namespace; but not if it was mounted all the time, or has the same process."""
    record = NamespaceRecord(id=4, kind="ipc", process_count=1, pid=5)
    other = Process(**ONE._asdict() | {"pid": 6})
    before, after = taken([ONE], namespaces=[record]), taken([other], namespaces=[record])
    assert diff(before, after).namespaces.came == diff(before, after).namespaces.went == (record,)
    assert not diff(before, before).namespaces
    pinned = replace(record, mounts=("/run/ipc",))
    before, after = taken([ONE], namespaces=[pinned]), taken([other], namespaces=[pinned])
    assert not diff(before, after).namespaces


def test_unknown_has_not_gone() -> None:
    queue = IpcObject(kind="mqueue", name="jobs", uid=0, gid=0, mode=0o600)
    before = taken(mounts=[mount(30, "/")], ipc=IpcTable([queue]))
    found = diff(before, taken(unknown=("mounts",), ipc=IpcTable([], ["mqueue"])))
    assert not found
    assert str(found) == "nothing changed\n(mounts: unknown)\n(mqueue: unknown)"
    assert "(mounts: unknown)" in found.html()


def test_from_different_places() -> None:
    with pytest.raises(SpecError, match="different processes"):
        diff(taken(of=4), taken(of=None))


def test_with_other_pids() -> None:
    """One was taken inside, as by ``box.call(nsbox.snapshot)``: there the same PIDs are other processes."""
    inside, outside = (process(5, 1, "one", reading=Reading(namespace, namespace)) for namespace in (7, 8))
    with pytest.raises(SpecError, match="after: its PIDs are of PID namespace 8, and those in before of 7"):
        diff(taken([inside]), taken([outside]))
    assert not diff(taken([inside]), taken([inside]))


def test_a_recorded_difference() -> None:
    found = diff(taken([ONE]), taken())
    assert str(Diff.from_dict(found.to_dict())) == str(found) == "- process 5 one"


def test_side_by_side() -> None:
    """The tables of a comparison show what is equal, and what is unknown."""
    outer = process(8, 7, "sh", cmdline=(b"sh", b"-c", b"y" * 90), pids=(8, 1))
    inner = Process(**outer._asdict() | {"pid": 1, "ppid": 0})
    comparison = Comparison(
        8, HOST, BOX._replace(time=None), (Pair(outer, inner),), (process(1, 0), process(7, 1)),
        (mount(30, "/old"),), (mount(32, "/proc", fstype="proc", source="proc"),), (),
        (IpcObject(kind="sem", id=3, key=0, uid=0, gid=0, mode=0o600),), ("x",),
    )  # fmt: skip
    assert str(comparison) == "\n".join([
        "NAMESPACE OUTSIDE   INSIDE",
        "user            1 the same",
        "mount           2       22",
        "pid             3       33",
        "ipc             4 the same",
        "uts             5 the same",
        "net             6 the same",
        "cgroup          7 the same",
        "time            8  unknown",
        "",
        "PID OUTSIDE PPID PID INSIDE PPID COMMAND",
        "          8    7          1    0 sh -c " + "y" * (80 - 39),
        "2 more processes are only seen outside",
        "",
        "ONLY    WHICH WHAT",
        "outside /old  mount of none (tmpfs; private)",
        "inside  /proc mount of proc (proc; private)",
        "inside  sem 3 key 0x00000000",
        "unknown: x",
    ])  # fmt: skip
    assert comparison.own == ("mount", "pid")
    rows = list(page(comparison.html()).iter("tr"))
    assert "".join(rows[2][0].itertext()) == "\N{BLACK SQUARE}\N{NO-BREAK SPACE}mount"
    assert "".join(rows[1][0].itertext()) == "user"
    shown = texts(drawing(comparison.svg()))
    assert {"seen from outside", "seen from inside, by process 8", "mount 22", "pid 33"} <= set(shown)
    assert shown[shown.index("8") :][:5] == ["8", "sh", "1", "sh", "init"]
