"""Rows of cells as an HTML table that goes through the sanitizers of GitHub, nbconvert and JupyterLab.

No styles, classes, ids or scripts; the colours of the text are those of the page, dark or light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from nsbox.views import grid

__all__ = ["MOST_ROWS", "cell", "table"]

MOST_ROWS = 500
"""How many rows are shown. A page with more becomes slow; whoever needs them has the records."""

_LONGEST = 160
_BLANK = "\N{NO-BREAK SPACE}"


def table(
    columns: Sequence[grid.Column],
    rows: Sequence[grid.Row],
    *,
    colours: Mapping[str, Mapping[str, str]] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return a table.

    Args:
        columns: Its columns; one that is to be cut is cut after 160 characters.
        rows: Its rows; trees are drawn as in a terminal.
        colours: A square of which colour is put before which contents of a column, by the name of the column.
        notes: Texts for a last row.
    """
    colours = colours or {}
    head = "".join(f'<th align="{_side(column)}">{escape(column.name)}</th>' for column in columns)
    lines = ["<table>", f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    drawn = list(grid.downwards(rows, grid.BOX))
    for row, own, _ in drawn[:MOST_ROWS]:
        cells = (
            f'<td align="{_side(column)}">{_cell(column, own, text or "", colours)}</td>'
            for column, text in zip(columns, row.cells, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    more = [f"… and {len(drawn) - MOST_ROWS} more"] if len(drawn) > MOST_ROWS else []
    lines += [f'<tr><td colspan="{len(columns)}" align="left">{cell(note)}</td></tr>' for note in [*more, *notes]]
    return "\n".join([*lines, "</tbody>", "</table>"])


def cell(text: str) -> str:
    """Return a text as the contents of a cell. What is not printable is escaped, byte by byte."""
    return escape(_blanks(grid.safe(_cut(text))))


def _cell(column: grid.Column, tree: str, text: str, colours: Mapping[str, Mapping[str, str]]) -> str:
    lines = text.split("\n") if column.wrap else [text]
    shown = "<br/>".join(map(cell, [tree * column.tree + lines[0], *lines[1:]]))
    colour = colours.get(column.name, {}).get(text)
    return shown if colour is None else f'<font color="{colour}">\N{BLACK SQUARE}</font>{_BLANK}{shown}'


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _blanks(line: str) -> str:
    """Keep blanks that a page would collapse."""
    return line.replace("  ", _BLANK * 2) if "  " in line or line[:1] == " " else line


def _side(column: grid.Column) -> str:
    return "right" if column.right else "left"
