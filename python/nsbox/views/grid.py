"""Tables as the commands of util-linux print them: aligned, as a tree, raw, or as JSON (libsmartcols).

A cell is a text, or None if it is empty. Bytes that are not UTF-8 are surrogates in it (os.fsdecode). Unprintable
characters are escaped, so that no name can move the cursor.
"""

from __future__ import annotations

import json as _json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nsbox.records.names import escaped, safe

__all__ = ["BOX", "Column", "Row", "cut", "downwards", "human", "json", "raw"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: Its heading; in JSON, in lower case.
        right: Whether its cells are aligned to the right.
        number: Whether its cells are numbers in JSON.
        tree: Whether the tree is drawn in it.
        cut: Whether its cells may be cut to make lines shorter.
        wrap: Whether its cells can have several lines.
        room: Its minimum width, if the widest of its cells is not narrower than its heading.
    """

    name: str
    right: bool = False
    number: bool = False
    tree: bool = False
    cut: bool = False
    wrap: bool = False
    room: int = 0


@dataclass(slots=True)
class Row:
    """A row, with its children in the tree."""

    cells: Sequence[str | None]
    children: list[Row] = field(default_factory=list)


_ASCII = ("|-", "`-", "| ", "  ")
BOX = ("├─", "└─", "│ ", "  ")


def human(
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    headings: bool = True,
    ascii: bool = False,
    width: int | None = None,
) -> str:
    """Return a line for each row, with aligned columns. The last column is not padded."""
    lines: list[list[str]] = []
    for row, own, below in downwards(rows, _ASCII if ascii else BOX):
        cells = [
            [safe(line) for line in ((cell or "").split("\n") if column.wrap else [cell or ""])]
            for column, cell in zip(columns, row.cells, strict=True)
        ]
        for number in range(max(map(len, cells))):
            lines.append([
                (own if number == 0 else below) * column.tree + (cell[number] if number < len(cell) else "")
                for column, cell in zip(columns, cells, strict=True)
            ])  # fmt: skip
    if not rows:
        return ""
    sizes = [_size(column, cells) for column, cells in zip(columns, zip(*lines, strict=True), strict=True)]
    if headings:
        lines.insert(0, [column.name for column in columns])
    if width is not None:
        _shrink(columns, sizes, width)
    drawn = []
    for line in lines:
        parts = []
        for position, (column, size, cell) in enumerate(zip(columns, sizes, line, strict=True)):
            shown = cut(cell, size) if column.cut else cell
            blank = " " * (size - _columns(shown))
            is_last = position == len(columns) - 1
            parts.append(blank + shown if column.right else shown if is_last else shown + blank)
        drawn.append(" ".join(parts))
    return "\n".join(drawn)


def downwards(rows: Sequence[Row], pieces: tuple[str, str, str, str]) -> Iterator[tuple[Row, str, str]]:
    """Yield all rows, with the pieces of the tree before the first line of each, and before its other lines."""
    waiting = [(row, "", "") for row in reversed(rows)]
    while waiting:
        row, own, below = waiting.pop()
        yield row, own, below
        for position, child in enumerate(reversed(row.children)):
            here, under = (pieces[1], pieces[3]) if position == 0 else (pieces[0], pieces[2])
            waiting.append((child, below + here, below + under))


def _size(column: Column, cells: Sequence[str]) -> int:
    head, widest = len(column.name), max(map(_columns, cells))
    return max(head, widest, column.room if widest >= head else 0)


def _shrink(columns: Sequence[Column], sizes: list[int], width: int) -> None:
    """Make columns that may be cut narrower until a line fits, but not narrower than their headings."""
    excess = sum(sizes) + len(sizes) - 1 - width
    for position, column in enumerate(columns):
        if column.cut and excess > 0:
            less = min(excess, sizes[position] - len(column.name))
            sizes[position] -= less
            excess -= less


def cut(text: str, size: int) -> str:
    """Cut a text to this number of columns of a terminal."""
    while _columns(text) > size:
        text = text[:-1]
    return text


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def raw(columns: Sequence[Column], rows: Sequence[Row], *, headings: bool = True, ascii: bool = False) -> str:
    """Return a line for each row, with a blank between cells. Blanks, backslashes and non-ASCII bytes are escaped."""
    lines = [" ".join(column.name for column in columns)] if headings and rows else []
    for row, own, _ in downwards(rows, _ASCII if ascii else BOX):
        cells = [own * column.tree + (cell or "") for column, cell in zip(columns, row.cells, strict=True)]
        lines.append(" ".join("".join(map(_raw, cell)) for cell in cells))
    return "\n".join(lines)


def _raw(char: str) -> str:
    return char if "!" <= char <= "~" and char != "\\" else escaped(char)


def json(name: str, columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Return JSON: an object for each row, in a list of this name; the children of a row are its ``"children"``."""
    lines = ["{", f"   {_json.dumps(name)}: ["]
    # A stack of what is still to be written: a row and its depth, or a line. Recursion could exceed Python's stack.
    waiting: list[tuple[Row, int] | str] = _objects(rows, 2)
    while waiting:
        next_one = waiting.pop()
        if isinstance(next_one, str):
            lines.append(next_one)
            continue
        row, depth = next_one
        indent = _STEP * (depth + 1)
        fields = [
            f"{indent}{_json.dumps(column.name.lower())}: {_value(column, cell)}"
            for column, cell in zip(columns, row.cells, strict=True)
        ]
        if row.children:
            fields.append(f'{indent}"children": [')
            waiting.append(f"{indent}]")
            waiting += _objects(row.children, depth + 2)
        lines.append(",\n".join(fields))
    return "\n".join([*lines, "   ]", "}"])


_STEP = "   "


def _objects(rows: Sequence[Row], depth: int) -> list[tuple[Row, int] | str]:
    """Return rows, and the brackets before, between and after them, in reverse order."""
    if not rows:
        return [""]
    indent = _STEP * depth
    parts: list[tuple[Row, int] | str] = [indent + "{"]
    for row in rows:
        parts += [(row, depth), indent + "},{"]
    parts[-1] = indent + "}"
    return parts[::-1]


def _value(column: Column, cell: str | None) -> str:
    if cell is None:
        return "null"
    if column.number:
        return cell
    # JSON has no bytes: those that are not UTF-8 are replaced.
    return _json.dumps(cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), ensure_ascii=False)
