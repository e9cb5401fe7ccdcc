"""The table of what was written to an overlay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nsbox.records.names import safe
from nsbox.views import grid
from nsbox.views import html as _html
from nsbox.views.palette import AMBER, GREEN, RED

if TYPE_CHECKING:
    from nsbox.records.written import WrittenFile

__all__ = ["html", "table"]

_COLUMNS = (
    grid.Column("STATE"), grid.Column("KIND"), grid.Column("SIZE", right=True), grid.Column("MODE", right=True),
    grid.Column("PATH"),
)  # fmt: skip
_COLOURS = {"created": GREEN, "deleted": RED, "changed": AMBER}


def table(files: Sequence[WrittenFile], notes: Sequence[str]) -> str:
    """Return a line for each file."""
    lines = [grid.human(_COLUMNS, _rows(files))] if files else ["nothing was written"]
    return "\n".join([*lines, *(f"({safe(note)})" for note in notes)])


def html(files: Sequence[WrittenFile], notes: Sequence[str]) -> str:
    """Return the same as an HTML table."""
    return _html.table(_COLUMNS, _rows(files), colours={"STATE": _COLOURS}, notes=notes)


def _rows(files: Sequence[WrittenFile]) -> list[grid.Row]:
    return [
        grid.Row([
            one.state, one.kind, "" if one.size is None else str(one.size),
            "" if one.mode is None else f"{one.mode:o}", one.path,
        ])
        for one in files
    ]  # fmt: skip
