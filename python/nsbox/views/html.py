"""Rows of cells as an HTML table that goes through the sanitizers of GitHub, nbconvert and JupyterLab.

No styles, classes, ids or scripts; the colours of the text are those of the page, dark or light. JupyterLab's own style
aligns all cells to the right, whatever their attributes say, but not what is in a division of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from nsbox.views import grid

__all__ = ["MOST_ROWS", "aligned", "cell", "table", "text"]

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
    head = "".join(aligned("th", _side(column), escape(column.name)) for column in columns)
    lines = ["<table>", f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    drawn = list(grid.downwards(rows, grid.BOX))
    for row, own, _ in drawn[:MOST_ROWS]:
        cells = (
            aligned("td", _side(column), _cell(column, own, text or "", colours))
            for column, text in zip(columns, row.cells, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    more = [f"… and {len(drawn) - MOST_ROWS} more"] if len(drawn) > MOST_ROWS else []
    lines += [f"<tr>{aligned('td', 'left', cell(note), span=len(columns))}</tr>" for note in [*more, *notes]]
    return "\n".join([*lines, "</tbody>", "</table>"])


def aligned(tag: str, side: str, content: str, span: int = 1) -> str:
    """Return a cell of a table, as wide as `span` columns, with HTML in it."""
    columns = f' colspan="{span}"' if span > 1 else ""
    inside = f'<div align="{side}">{content}</div>' if side == "left" and content else content
    return f'<{tag}{columns} align="{side}">{inside}</{tag}>'


def cell(text: str) -> str:
    """Return a text as the contents of a cell. What is not printable is escaped, byte by byte."""
    # Flags of system calls are one long word.
    return escape(_blanks(grid.safe(_cut(text)))).replace("|", "|<wbr/>")


def text(text: str) -> str:
    """Return a text in full, with its lines."""
    return "<br/>".join(escape(grid.safe(line)) for line in text.split("\n"))


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
