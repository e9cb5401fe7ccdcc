"""The table of the objects in an IPC namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nsbox.records.names import Users
from nsbox.views import grid
from nsbox.views import html as _html

if TYPE_CHECKING:
    from nsbox.records.ipc import IpcObject

__all__ = ["html", "table"]

_COLUMNS = (
    grid.Column("KIND"), grid.Column("ID", right=True), grid.Column("KEY"), grid.Column("OWNER"), grid.Column("PERMS"),
    grid.Column("SIZE", right=True), grid.Column("COUNT", right=True), grid.Column("PID", right=True),
)  # fmt: skip


def table(objects: Sequence[IpcObject], users: Users, unknown: Sequence[str] = ()) -> str:
    """Return a table of objects, in this order; kinds that could not be read are named below."""
    rows = _rows(objects, users)
    return "\n".join([*([grid.human(_COLUMNS, rows)] if rows else []), *_notes(unknown)])


def html(objects: Sequence[IpcObject], users: Users, unknown: Sequence[str] = ()) -> str:
    """Return the same as an HTML table."""
    return _html.table(_COLUMNS, _rows(objects, users), notes=_notes(unknown))


def _notes(unknown: Sequence[str]) -> list[str]:
    return [f"({', '.join(unknown)}: could not be read)"] if unknown else []


def _rows(objects: Sequence[IpcObject], users: Users) -> list[grid.Row]:
    return [
        grid.Row([
            one.kind,
            _number(one.id),
            f"/{one.name}" if one.name is not None else f"0x{one.key or 0:08x}",
            "?" if one.uid is None else users[one.uid],
            f"{one.mode:o}",
            "?" if one.kind == "mqueue" and one.size is None else _number(one.size),
            _number(one.count),
            _number(one.creator),
        ])
        for one in objects
    ]  # fmt: skip


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)
