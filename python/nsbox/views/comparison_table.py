"""The tables of a comparison: inside and outside side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from nsbox.records.processes import command
from nsbox.views import grid
from nsbox.views import html as _html
from nsbox.views.change_table import ipc_object, mount
from nsbox.views.palette import KIND_STYLES

if TYPE_CHECKING:
    from nsbox.records.comparison import Compared

__all__ = ["html", "text"]

_KINDS = (grid.Column("NAMESPACE"), grid.Column("OUTSIDE", right=True), grid.Column("INSIDE", right=True))
_PROCESSES = (
    grid.Column("PID OUTSIDE", right=True), grid.Column("PPID", right=True), grid.Column("PID INSIDE", right=True),
    grid.Column("PPID", right=True), grid.Column("COMMAND", cut=True),
)  # fmt: skip
_THINGS = (grid.Column("ONLY"), grid.Column("WHICH"), grid.Column("WHAT", cut=True))


class _Part(NamedTuple):
    columns: Sequence[grid.Column]
    rows: list[grid.Row]
    note: str = ""


def text(comparison: Compared, *, width: int | None) -> str:
    """Return the tables below each other."""
    drawn = []
    for columns, rows, note in _parts(comparison):
        lines = [line.rstrip() for line in grid.human(columns, rows, width=width).split("\n")] if rows else []
        drawn.append("\n".join([*lines, *([note] if note else [])]))
    return "\n\n".join(drawn)


def html(comparison: Compared) -> str:
    """Return the tables as HTML."""
    colours = {"NAMESPACE": {kind: colour for kind, (colour, _) in KIND_STYLES.items() if kind in comparison.own}}
    return "\n".join(
        _html.table(columns, rows, colours=colours, notes=[note] if note else [])
        for columns, rows, note in _parts(comparison)
    )


def _parts(comparison: Compared) -> list[_Part]:
    return [
        part for part in (_kinds(comparison), _processes(comparison), _things(comparison)) if part.rows or part.note
    ]


def _kinds(comparison: Compared) -> _Part:
    pairs = zip(comparison.outside._fields, comparison.outside, comparison.inside, strict=True)
    rows = [
        grid.Row([kind, _id(out), "the same" if out == inner and out else _id(inner)]) for kind, out, inner in pairs
    ]
    return _Part(_KINDS, rows)


def _id(number: int | None) -> str:
    return "unknown" if number is None else str(number)


def _processes(comparison: Compared) -> _Part:
    rows = [
        grid.Row([str(out.pid), str(out.ppid), str(inner.pid), str(inner.ppid), command(out)])
        for out, inner in comparison.pairs
    ]
    count = len(comparison.others)
    note = f"{count} more process{'es are' if count != 1 else ' is'} only seen outside" if count else ""
    return _Part(_PROCESSES, rows, note)


def _things(comparison: Compared) -> _Part:
    mounts = [("outside", one) for one in comparison.only_outside] + [("inside", one) for one in comparison.only_inside]
    rows = [grid.Row([where, one.point, f"mount of {mount(one)}"]) for where, one in mounts]
    for where, objects in (("outside", comparison.ipc_only_outside), ("inside", comparison.ipc_only_inside)):
        rows += [grid.Row([where, *ipc_object(one)]) for one in objects]
    note = f"unknown: {', '.join(comparison.unknown)}" if comparison.unknown else ""
    return _Part(_THINGS, rows, note)
