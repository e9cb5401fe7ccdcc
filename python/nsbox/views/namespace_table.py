"""The table of namespaces, as lsns(8) shows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from nsbox.errors import SpecError
from nsbox.records.names import Users
from nsbox.records.processes import unpadded
from nsbox.spec.kinds import KINDS
from nsbox.spec.nearest import did_you_mean
from nsbox.views import grid
from nsbox.views import html as _html
from nsbox.views.filter import Filter
from nsbox.views.palette import KIND_STYLES

if TYPE_CHECKING:
    from nsbox.records.namespaces import NamespaceRecord, TreeOf
    from nsbox.records.processes import Process

__all__ = ["COLUMNS", "PROCESS_COLUMNS", "columns_listed", "filter_of", "members", "table"]

COLUMNS = {
    "NS": "its id, an inode number",
    "TYPE": "its kind",
    "PATH": "a link to it",
    "NPROCS": "how many processes are in it",
    "PID": "the lowest PID in it",
    "PPID": "the parent of that process",
    "COMMAND": "the command line of that process",
    "UID": "the user of that process",
    "USER": "the name of that user",
    "NETNSID": "what the network subsystem calls it",
    "NSFS": "where it is mounted",
    "PNS": "the namespace it was made in",
    "ONS": "the user namespace that owns it",
}
"""The columns of lsns in its order, and their meanings."""

DEFAULT_COLUMNS = ("NS", "TYPE", "NPROCS", "PID", "USER", "COMMAND")
PROCESS_COLUMNS = ("PID", "PPID", "USER", "COMMAND")

Form = Literal["human", "raw", "json", "html"]
_COLOURS = {KINDS[kind].link: colour for kind, (colour, _) in KIND_STYLES.items()}
_RIGHT = {"NS", "NPROCS", "PID", "PPID", "UID", "NETNSID", "PNS", "ONS"}
_ROOM = {"NS": 10, "TYPE": 5, "PID": 5, "PPID": 5}
_NUMBERS = _RIGHT - {"NETNSID"}


def columns_listed(form: Form = "human") -> str:
    """Return a table of the columns, with their types and meanings."""
    head = [grid.Column("HOLDER", right=True), grid.Column("TYPE"), grid.Column("DESCRIPTION")]
    rows = [
        grid.Row([name, "<integer>" if name in _NUMBERS else "<string>", meaning]) for name, meaning in COLUMNS.items()
    ]
    return _formed("lsns-columns", head, rows, form=form, headings=False, ascii=True, width=None)


def filter_of(expression: str) -> Filter:
    """Return the filter that selects namespaces by an expression.

    Raises:
        SpecError: for a syntax error, and for an unknown column.
    """
    return Filter(expression, COLUMNS, _NUMBERS)


def columns_of(names: Sequence[str], tree: TreeOf | None, *, cut: bool = True) -> list[grid.Column]:
    """Return the columns with these names.

    Raises:
        SpecError: for an unknown column.
    """
    found = []
    for name in names:
        upper = name.upper()
        if upper not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise SpecError(f"columns: there is no {name!r}; there are {known}{did_you_mean(name, COLUMNS)}")
        of_relations = tree in ("parent", "owner")
        column = grid.Column(
            upper, upper in _RIGHT, upper in _NUMBERS, room=_ROOM.get(upper, 0), cut=cut and upper == "COMMAND"
        )
        if upper == "NSFS":
            column = replace(column, wrap=True)
        if upper == "COMMAND" and tree == "process":
            column = replace(column, tree=True)
        if upper == "NS" and of_relations:
            column = replace(column, tree=True, right=False)
        found.append(column)
    return found


def table(
    namespaces: Sequence[NamespaceRecord],
    *,
    tree: TreeOf | None,
    columns: Sequence[str] | None = None,
    form: Form = "human",
    headings: bool = True,
    ascii: bool = False,
    one_line: bool = False,
    width: int | None = None,
    related: Mapping[int, NamespaceRecord] | None = None,
    users: Users | None = None,
    chosen_by: Filter | None = None,
) -> str:
    """Return a table of namespaces.

    Args:
        namespaces: In the order of their ids.
        tree: The relation that makes them a tree.
        columns: The names of the columns.
        form: Aligned columns, raw ones, JSON, or an HTML table.
        headings: Whether the first line names the columns.
        ascii: Draw the tree with ASCII characters.
        one_line: Put several mount points on one line, with commas, instead of a line for each.
        width: Cut the commands so that no line is longer.
        related: Parents and owners that are not among the namespaces, by their ids.
        users: The names of users.
        chosen_by: Show only those that this filter selects.

    Raises:
        SpecError: for an unknown column.
    """
    chosen = columns_of(columns or DEFAULT_COLUMNS, tree, cut=width is not None)
    # Where the column in which the tree is drawn is not among them, rows are a list. A tree of relations has an order
    # of its own: what is above comes first.
    flat = not any(column.tree for column in chosen)
    if flat and tree == "process":
        tree = None
    names, separator = Users() if users is None else users, "," if one_line or form == "raw" else "\n"
    rows: list[grid.Row] = []
    of_process: dict[int, grid.Row] = {}
    of_namespace: dict[int, grid.Row] = {}
    if chosen_by:
        wanted = _wanted(chosen_by, names, separator)
        namespaces = [namespace for namespace in namespaces if wanted(namespace)]
        related = {id_: namespace for id_, namespace in (related or {}).items() if wanted(namespace)}
    known = dict(related or {}) | {namespace.id: namespace for namespace in namespaces}

    def add(namespace: NamespaceRecord, above: grid.Row | None) -> None:
        cells = [_cell(namespace, column.name, names, separator) for column in chosen]
        row = grid.Row(cells)
        (rows if above is None or flat else above.children).append(row)
        of_namespace[namespace.id] = row
        if namespace.pid is not None:
            of_process[namespace.pid] = row

    for namespace in namespaces:
        if tree == "process":
            # Below the row whose process is the parent of this one's process, if there is one.
            add(namespace, of_process.get(namespace.ppid) if namespace.ppid is not None else None)
        elif tree is None:
            add(namespace, None)
        else:
            for one in reversed(_upwards(namespace, tree, known, of_namespace)):
                above = one.parent if tree == "parent" else one.owner
                add(one, of_namespace.get(above) if above is not None else None)
    return _formed("namespaces", chosen, rows, form=form, headings=headings, ascii=ascii, width=width)


def _upwards(
    namespace: NamespaceRecord, tree: TreeOf, known: Mapping[int, NamespaceRecord], shown: Mapping[int, grid.Row]
) -> list[NamespaceRecord]:
    """Return a namespace and those above it that are not shown yet; as in lsns, the owner if there is no parent."""
    found: list[NamespaceRecord] = []
    one: NamespaceRecord | None = namespace
    while one is not None and one.id not in shown:
        found.append(one)
        above = (
            known.get(one.owner or 0) if tree == "owner" else (known.get(one.parent or 0) or known.get(one.owner or 0))
        )
        one = above
    return found


def _formed(
    name: str,
    columns: Sequence[grid.Column],
    rows: Sequence[grid.Row],
    *,
    form: Form,
    headings: bool,
    ascii: bool,
    width: int | None,
) -> str:
    if form == "json":
        return grid.json(name, columns, rows)
    if form == "html":
        return _html.table(columns, rows, colours={"TYPE": _COLOURS})
    if form == "raw":
        return grid.raw(columns, rows, headings=headings, ascii=ascii)
    return grid.human(columns, rows, headings=headings, ascii=ascii, width=width)


def _cell(namespace: NamespaceRecord, column: str, users: Users, separator: str) -> str | None:
    kind, _, _ = namespace.link.partition(":")
    owner = namespace.uid if namespace.uid is not None else namespace.owner_uid or 0
    values: dict[str, Callable[[], str | None]] = {
        "NS": lambda: str(namespace.id),
        "TYPE": lambda: kind,
        "PATH": lambda: f"/proc/{namespace.pid}/ns/{kind}" if namespace.pid else None,
        "NPROCS": lambda: str(namespace.process_count),
        "PID": lambda: _number(namespace.pid),
        "PPID": lambda: _number(namespace.ppid),
        "COMMAND": lambda: None if namespace.command is None else os.fsdecode(namespace.command),
        "UID": lambda: str(owner),
        "USER": lambda: users[owner],
        "NETNSID": lambda: "unassigned" if namespace.netns_id == -1 else _number(namespace.netns_id),
        "NSFS": lambda: separator.join(namespace.mounts) or None,
        "PNS": lambda: str(namespace.parent or 0),
        "ONS": lambda: str(namespace.owner or 0),
    }
    return values[column]()


def _wanted(chosen_by: Filter, users: Users, separator: str) -> Callable[[NamespaceRecord], bool]:
    def wanted(namespace: NamespaceRecord) -> bool:
        cells = {name: _cell(namespace, name, users, separator) for name in chosen_by.columns}
        return chosen_by.matches(cells)

    return wanted


def _number(number: int | None) -> str | None:
    return None if number is None else str(number)


def members(
    processes: Sequence[Process],
    namespace: NamespaceRecord,
    *,
    tree: bool,
    columns: Sequence[str] | None = None,
    form: Form = "human",
    headings: bool = True,
    ascii: bool = False,
    one_line: bool = False,
    width: int | None = None,
    chosen_by: Filter | None = None,
) -> str:
    """Return a table of the processes of a namespace, as ``lsns NAMESPACE`` does. They must have `cmdline`.

    Raises:
        SpecError: for an unknown column.
    """
    chosen = columns_of(columns or PROCESS_COLUMNS, "process" if tree else None, cut=width is not None)
    users, separator = Users(), "," if one_line or form == "raw" else "\n"
    tree = any(column.tree for column in chosen)
    seen_in = {process.pid: _as_seen(namespace, process) for process in processes}
    if chosen_by:
        wanted = _wanted(chosen_by, users, separator)
        processes = [process for process in processes if wanted(seen_in[process.pid])]
    by_pid = {process.pid: process for process in processes}
    shown: dict[int, grid.Row] = {}
    rows: list[grid.Row] = []
    for process in processes:
        path: list[Process] = []
        one: Process | None = process
        while one is not None and one.pid not in shown and one not in path:
            path.append(one)
            one = by_pid.get(one.ppid) if tree else None
        for member in reversed(path):
            seen = seen_in[member.pid]
            row = grid.Row([_cell(seen, column.name, users, separator) for column in chosen])
            above = shown.get(member.ppid) if tree else None
            (rows if above is None else above.children).append(row)
            shown[member.pid] = row
    return _formed("namespaces", chosen, rows, form=form, headings=headings, ascii=ascii, width=width)


def _as_seen(namespace: NamespaceRecord, process: Process) -> NamespaceRecord:
    """Return the record of the namespace, with this process as the lowest in it."""
    command = b" ".join(unpadded(process.cmdline)) or process.comm
    return replace(namespace, pid=process.pid, ppid=process.ppid, uid=process.owner, command=command)
