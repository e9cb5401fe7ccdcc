"""HTML tables that the sanitizers of GitHub, nbconvert and JupyterLab leave as they are.

They have no classes, ids or scripts, and lose nothing without the one style. The colours of the text are those of the
page, dark or light. The style of JupyterLab aligns all cells to the right, whatever their attributes, but not a
division (div) in a cell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from nsbox.records.names import safe
from nsbox.views import grid

__all__ = ["MAX_ROWS", "aligned", "cell", "table", "text"]

MAX_ROWS = 500
"""The maximum number of rows that are shown, as a page with more becomes slow. The records have all of them."""

_MAX_LENGTH = 160
_BREAKS = re.compile(r"\||(?<=\w)/(?=\w)|,(?=\w)|(?<=[a-z])_(?=[a-z])")
"""Where a line may be broken: in flags of a system call, in a path, in options of a mount, in a name."""
_MANY_COLUMNS = 6
_SMALLER = ' style="font-size:min(.93em,1.45vw)"'
"""The style of a table with many columns, so that it fits into a narrow page. JupyterLab has .93 em for all."""
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
        columns: Its columns; cells are cut after 160 characters.
        rows: Its rows; trees are drawn as in a terminal.
        colours: The colour of the square before a cell, by the name of the column and the text of the cell.
        notes: Texts for rows at the end.
    """
    colours = colours or {}
    head = "".join(aligned("th", _side(column), escape(column.name)) for column in columns)
    style = _SMALLER if len(columns) >= _MANY_COLUMNS else ""
    lines = [f"<table{style}>", f"<thead><tr>{head}</tr></thead>", "<tbody>"]
    drawn = list(grid.downwards(rows, grid.BOX))
    for row, own, _ in drawn[:MAX_ROWS]:
        cells = (
            aligned("td", _side(column), _cell(column, own, text or "", colours))
            for column, text in zip(columns, row.cells, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    more = [f"… and {len(drawn) - MAX_ROWS} more"] if len(drawn) > MAX_ROWS else []
    lines += [f"<tr>{aligned('td', 'left', cell(note), span=len(columns))}</tr>" for note in [*more, *notes]]
    return "\n".join([*lines, "</tbody>", "</table>"])


def aligned(tag: str, side: str, content: str, span: int = 1) -> str:
    """Return a cell of a table that contains HTML and spans this number of columns."""
    columns = f' colspan="{span}"' if span > 1 else ""
    inside = f'<div align="{side}">{content}</div>' if side == "left" and content else content
    return f'<{tag}{columns} align="{side}">{inside}</{tag}>'


def cell(text: str) -> str:
    """Return a text as the contents of a cell. Unprintable characters are escaped, byte by byte."""
    return _BREAKS.sub(r"\g<0><wbr/>", escape(_blanks(safe(_cut(text)))))


def text(text: str) -> str:
    """Return a text uncut, with its line breaks."""
    return "<br/>".join(escape(safe(line)) for line in text.split("\n"))


def _cell(column: grid.Column, tree: str, text: str, colours: Mapping[str, Mapping[str, str]]) -> str:
    lines = text.split("\n") if column.wrap else [text]
    shown = "<br/>".join(map(cell, [tree * column.tree + lines[0], *lines[1:]]))
    colour = colours.get(column.name, {}).get(text)
    return shown if colour is None else f'<font color="{colour}">\N{BLACK SQUARE}</font>{_BLANK}{shown}'


def _cut(line: str) -> str:
    return line if len(line) <= _MAX_LENGTH else line[: _MAX_LENGTH - 1] + "…"


def _blanks(line: str) -> str:
    """Make blanks unbreakable where a page would collapse them."""
    return line.replace("  ", _BLANK * 2) if "  " in line or line[:1] == " " else line


def _side(column: grid.Column) -> str:
    return "right" if column.right else "left"
