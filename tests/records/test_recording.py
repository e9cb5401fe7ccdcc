"""Recorded data can be shown on another machine: nothing is lost, and nothing of this system is needed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.errors import SpecError
from nsbox.records.comparison import Pair
from nsbox.records.ipc import IpcObject
from nsbox.records.mountinfo import Mount
from nsbox.records.namespaces import NamespaceRecord
from nsbox.records.processes import Capabilities, Process
from nsbox.records.recording import loaded, plain
from nsbox.seeing.compare import Comparison
from nsbox.seeing.diff import Diff, diff
from nsbox.seeing.ipc import IpcTable
from nsbox.seeing.mounts import MountTable
from nsbox.seeing.namespaces import NamespaceTable
from nsbox.seeing.processes import ProcessTable
from nsbox.seeing.snapshot import Snapshot
from nsbox.seeing.tree import ProcessTree

from tests.support import records

pytestmark = pytest.mark.pure

USERS = {uid: f"user{uid}" for uid in range(20)}


def tables(
    processes: list[Process], mounts: list[Mount], namespaces: list[NamespaceRecord], objects: list[IpcObject]
) -> list[Any]:
    """Return all objects that can be recorded."""
    table = ProcessTable(processes, boot=5.5, read_at=9000.0, memory=1 << 30, hidden=(3,), users=USERS)
    parts = NamespaceTable(namespaces, processes, USERS), MountTable(mounts), IpcTable(objects, ["mqueue"], USERS)
    taken = Snapshot(table, *parts, ("mounts",), 7)
    half = Snapshot(ProcessTable(processes[: len(processes) // 2], boot=5.5, read_at=8000.0), *parts, (), 7)
    pairs = tuple(Pair(one, one) for one in processes)
    compared = Comparison(1, records.HOST, records.HOST, pairs, (), tuple(mounts), (), (), tuple(objects), ("a",))
    return [table, *parts, taken, diff(half, taken), compared, ProcessTree(processes, ns_changes=False, uptime=3.5)]


@given(records.trees(most=12), st.lists(records.mounts, max_size=3), st.lists(records.namespaces, max_size=3),
       st.lists(records.ipc_objects, max_size=3))  # fmt: skip
def test_round_trip(processes: Any, mounts: Any, namespaces: Any, objects: Any) -> None:
    """A round trip by JSON, as UTF-8 like notebooks."""
    for one in tables(processes, mounts, namespaces, objects):
        data = one.to_dict()
        text = json.dumps(data, ensure_ascii=False).encode()
        again = type(one).from_dict(json.loads(text))
        assert again.to_dict() == data
        assert again._repr_mimebundle_() == one._repr_mimebundle_()


def test_unread_fields_stay_unknown() -> None:
    """Fields that were not read are unknown afterwards, too."""
    known = {"pid": 5, "ppid": 1, "comm": b"\xff", "start_ticks": 1}
    table = ProcessTable([Process(**known)], boot=0.0, read_at=1.0)
    data = table.to_dict() if hasattr(table[0], "owner") else plain(table[0])
    assert data == {"pid": 5, "ppid": 1, "comm": {"hex": "ff"}, "start_ticks": 1, "threads": []}


def test_all_kinds_of_values() -> None:
    """Bytes, texts, numbers, tuples, nested records."""
    capabilities = Capabilities(1, 2, 3, 4, 5)
    one = records.process(
        1, 0, b"caf\xc3\xa9", capabilities=capabilities, groups=(4, 5), pid_for_children=None, exe=b"/bin/\xffx",
        namespace_descriptors=((3, "net", 77),), label=None,
    )  # fmt: skip
    table = ProcessTable([one], boot=0.0, read_at=1.0)
    (again,) = ProcessTable.from_dict(json.loads(json.dumps(table.to_dict())))
    assert again == one
    assert type(again.capabilities) is Capabilities
    assert plain(one)["comm"] == "café"
    assert plain(one)["capabilities"]["ambient"] == 5


def test_ancestors_of_a_tree() -> None:
    """Processes outside of the tree are not recorded, but its ancestors are, because of changes of namespaces there."""
    processes = [records.process(1, 0), records.process(2, 1), records.process(3, 1), records.process(4, 2)]
    processes += [records.process(5, 4, namespaces=records.HOST._replace(net=99))]
    tree = ProcessTree(processes)
    for some in (tree.lineage(4), tree.subtree(5)):
        again = ProcessTree.from_dict(some.to_dict())
        assert str(again) == str(some)
        assert again.svg() == some.svg()
    assert "net" in str(tree.subtree(5))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "no recorded mounts"),
        ([], "no recorded mounts"),
        ({"nsbox": "processes", "version": 1}, "no recorded mounts"),
        ({"nsbox": "mounts", "version": 2, "mounts": []}, "version 2"),
        ({"nsbox": "mounts", "version": 1}, "damaged mounts"),
        ({"nsbox": "mounts", "version": 1, "mounts": [{"id": "x"}]}, "damaged mounts"),
        ({"nsbox": "mounts", "version": 1, "mounts": [{}]}, "damaged mounts"),
        ({"nsbox": "mounts", "version": 1, "mounts": {"a": 1}}, "damaged mounts"),
    ],
)
def test_other_data_is_refused(data: object, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        MountTable.from_dict(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["hex", "pid", "id", "x"]), inner),
    max_leaves=8,
)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), _JSON)
def test_damaged_data(way: list[int], other: Any) -> None:
    """If a value is replaced, loading fails with the documented error, or succeeds; no other exception is raised."""
    objects = IpcObject(kind="shm", id=1, key=2, uid=0, gid=0, mode=0o600)
    mount = Mount(id=1, parent=2, device=(3, 4), root="/", point="/", options=(), propagation=(), fstype="x",
                  source="y", super_options=())  # fmt: skip
    for whole in tables([records.process(1, 0)], [mount], [NamespaceRecord(id=1, kind="pid")], [objects]):
        data = json.loads(json.dumps(whole.to_dict()))
        place: Any = data
        for step in way:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = keys[step % len(keys)]
            if isinstance(place[key], dict | list) and step != way[-1]:
                place = place[key]
            else:
                place[key] = other
                break
        with contextlib.suppress(SpecError):
            type(whole).from_dict(data)


def test_attributes_of_the_future_are_left_out() -> None:
    data = MountTable([]).to_dict()
    mount = {"id": 1, "parent": 2, "device": [3, 4], "root": "/", "point": "/", "options": [], "propagation": [],
             "fstype": "x", "source": "y", "super_options": [], "pid_namespace": None, "colour": "red"}  # fmt: skip
    (one,) = MountTable.from_dict(data | {"mounts": [mount]})
    assert one.device == (3, 4)


def test_without_linux(tmp_path: Path) -> None:
    """An interpreter without the core, the user database and the signals of Linux shows the same texts and pictures."""
    processes = [
        records.process(1, 0, b"a\xff", tty_nr=34817),
        records.process(2, 1, namespaces=records.HOST._replace(pid=9)),
    ]
    recorded = {}
    expected = {}
    for whole in tables(processes, [], [NamespaceRecord(id=1, kind="pid", uid=3)], []):
        name = f"{type(whole).__module__}:{type(whole).__name__}"
        recorded[name] = whole.to_dict()
        expected[name] = whole._repr_mimebundle_()
    lesson, shown = tmp_path / "lesson.json", tmp_path / "shown.json"
    lesson.write_text(json.dumps(recorded))
    program = f"""
import sys
for name in ("nsbox._core", "pwd", "grp", "fcntl", "resource", "termios"):
    sys.modules[name] = None
import json, importlib, os
del os.major, os.minor, os.sysconf
shown = {{}}
for name, data in json.load(open({str(lesson)!r})).items():
    module, _, kind = name.partition(":")
    shown[name] = getattr(importlib.import_module(module), kind).from_dict(data)._repr_mimebundle_()
json.dump(shown, open({str(shown)!r}, "w"))
import nsbox
for name in "ProcessTable ProcessTree NamespaceTable MountTable IpcTable Snapshot Diff Comparison".split():
    getattr(nsbox, name)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert json.loads(shown.read_text()) == expected


def test_unknown_users_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pwd", None)
    table = ProcessTable([records.process(1, 0, uids=(4242,) * 4)], boot=0.0, read_at=1.0)
    assert str(table).splitlines()[1].split()[0] == "4242"


def test_data_of_another_kind() -> None:
    with pytest.raises(SpecError):
        Diff.from_dict({"nsbox": "diff", "version": 1, "before": {}, "after": {}})
    with pytest.raises(SpecError, match="damaged tree: no process has the PID 5"):
        ProcessTree.from_dict(
            {"nsbox": "tree", "version": 1, "root": 5, "ns_changes": True, "uptime": 0, "processes": []}
        )
    assert loaded({"nsbox": "x", "version": 1, "a": [1]}, "x", a=tuple[int, ...]) == {"a": (1,)}


def test_a_process_with_missing_fields() -> None:
    """Every pass reads the fields of stat, so a process without them is damaged."""
    data = ProcessTable([records.process(1, 0)], boot=0.0, read_at=1.0).to_dict()
    del data["processes"][0]["ppid"]
    with pytest.raises(SpecError, match="Process without ppid"):
        ProcessTable.from_dict(data)
