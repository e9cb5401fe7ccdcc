"""How namespaces are drawn, from fabricated records. The comparison with the real lsns is among the kernel tests."""

from __future__ import annotations

import json
from typing import Any

import nsbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.records.namespaces import NamespaceRecord
from nsbox.seeing.namespaces import NamespaceTable
from nsbox.views import grid

pytestmark = pytest.mark.pure

ODD = b"a \xff\n"
RECORDS = [
    NamespaceRecord(id=10, kind="user", process_count=5, pid=1, ppid=0, uid=0, command=b"init"),
    NamespaceRecord(id=11, kind="pid", owner=10, process_count=5, pid=1, ppid=0, uid=0, command=b"init"),
    NamespaceRecord(id=20, kind="user", parent=10, owner=10, owner_uid=0),
    NamespaceRecord(id=21, kind="user", parent=20, owner=20, process_count=1, pid=7, ppid=1, uid=0, command=ODD),
    NamespaceRecord(id=22, kind="net", owner=21, owner_uid=0, mounts=("/a", "/b c"), descriptors=((3, 4),)),
]


def test_trees() -> None:
    table = NamespaceTable(reversed(RECORDS))
    assert [line.removeprefix(" " * 8) for line in str(table).splitlines()] == [
        "NS TYPE  NPROCS PID USER COMMAND",
        "10 user       5   1 root init",
        "11 pid        5   1 root init",
        "21 user       1   7 root └─a \\xff\\x0a",
        "20 user       0     root ",
        "22 net        0     root ",
    ]
    owner = [line.split() for line in table.text(tree="owner", columns=["NS", "type"], ascii=True).splitlines()]
    assert owner == [
        ["NS", "TYPE"],
        ["10", "user"],
        ["|-11", "pid"],
        ["`-20", "user"],
        ["`-21", "user"],
        ["`-22", "net"],
    ]
    parent = table.text(tree="parent", columns=["NS"]).splitlines()
    assert [line.rstrip() for line in parent] == ["NS", "10", "└─20", "  └─21", "11", "22"]


def test_json() -> None:
    rows = json.loads(NamespaceTable(RECORDS).json(tree="owner", columns=["NS", "NSFS", "COMMAND", "PID"]))[
        "namespaces"
    ]
    assert rows == [
        {"ns": 10, "nsfs": None, "command": "init", "pid": 1, "children": [
            {"ns": 11, "nsfs": None, "command": "init", "pid": 1},
            {"ns": 20, "nsfs": None, "command": None, "pid": None, "children": [
                {"ns": 21, "nsfs": None, "command": "a \ufffd\n", "pid": 7, "children": [
                    {"ns": 22, "nsfs": "/a\n/b c", "command": None, "pid": None}]}]}]},
    ]  # fmt: skip
    assert json.loads(NamespaceTable([]).json()) == {"namespaces": []}


def test_repr_and_summary() -> None:
    table = NamespaceTable(RECORDS)
    assert [record.kept_by for record in table] == [
        ("processes",), ("processes",), ("ancestry",), ("processes",), ("descriptors", "mounts"),
    ]  # fmt: skip
    assert repr(table[2]) == "<user namespace 20, 0 processes, kept by ancestry>"
    assert repr(table[3]) == "<user namespace 21, 1 process, kept by processes>"
    assert table[4].link == "net:[22]"
    assert [record.id for record in table.of_kind("Up")] == [10, 11, 20, 21]
    assert table.find(20) is RECORDS[2]
    assert table.find(1) is None
    with pytest.raises(nsbox.SpecError, match="no 'nonsense'"):
        table.text(columns=["nonsense"])


CELLS = st.none() | st.text(max_size=12)


@given(st.recursive(st.lists(CELLS, min_size=2, max_size=2).map(grid.Row),
                    lambda below: st.tuples(st.lists(CELLS, min_size=2, max_size=2), st.lists(below, max_size=3)).map(
                        lambda pair: grid.Row(*pair)), max_leaves=12))  # fmt: skip
def test_any_cells(row: grid.Row) -> None:
    """Every line of the table is one line, the JSON is valid, and raw cells have no blanks."""
    columns = [grid.Column("A", tree=True), grid.Column("B", cut=True)]

    def as_data(row: grid.Row) -> dict[str, Any]:
        data: dict[str, Any] = dict(zip("ab", row.cells, strict=True))
        return data | ({"children": [as_data(child) for child in row.children]} if row.children else {})

    def count(row: grid.Row) -> int:
        return 1 + sum(map(count, row.children))

    assert json.loads(grid.json("rows", columns, [row])) == {"rows": [as_data(row)]}
    for width in (None, 10):
        for line in grid.human(columns, [row], width=width).split("\n"):
            assert line.isprintable()
    lines = grid.raw(columns, [row]).split("\n")
    assert len(lines) == 1 + count(row)
    for line in lines:
        assert line.count(" ") == 1
        assert line.isascii()


def test_a_deep_tree() -> None:
    """Deeper than Python's recursion limit."""
    row = grid.Row(["x"])
    for _ in range(3000):
        row = grid.Row(["x"], [row])
    column = [grid.Column("A", tree=True)]
    assert len(grid.human(column, [row]).splitlines()) == 3002
    assert grid.json("rows", column, [row]).count('"children"') == 3000
