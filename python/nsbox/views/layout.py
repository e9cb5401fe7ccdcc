"""The layout of a picture: labels in rows, families below each other or in columns, frames around them.

The size of a block is known before it is drawn, so that the blocks around it can be laid out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nsbox.views.palette import GREY, KIND_STYLES, PAPER
from nsbox.views.svg import SANS, Sheet, measure

__all__ = ["INDENT", "ROW", "Block", "Family", "Frame", "Label", "Row", "columns_of"]

ROW = 27
INDENT = 30
_TRUNK = 14
_PILL_HEIGHT = 20
_GAP = 8
_PAD = 10
_OUTLINE = 4
_CHIP_HEIGHT = 17
_MAX_CHIPS_WIDTH = 390
_COLUMN_GAP = 24
_BUS_HEIGHT = 10
_RADIUS = 6


@dataclass(frozen=True, slots=True)
class Label:
    """A piece of a row: a text, bare or on a pill. If it is `linked`, a line leads to it from the label before."""

    text: str
    size: float = 11
    colour: str = GREY
    family: str = SANS
    bold: bool = False
    pill: Literal["", "full", "hollow"] = ""
    struck: bool = False
    linked: bool = False

    @property
    def width(self) -> float:
        """Its width in pixels."""
        width = measure(self.text, self.size, self.family, bold=self.bold)
        return max(width + 14, 28) if self.pill else width

    def draw(self, sheet: Sheet, x: float, middle: float, height: float = _PILL_HEIGHT) -> None:
        """Draw it, with its left end at `x`."""
        if not self.pill:
            sheet.text(
                x, middle, self.text, size=self.size, fill=self.colour, family=self.family, bold=self.bold,
                struck=self.struck,
            )  # fmt: skip
            return
        full = self.pill == "full"
        sheet.rect(
            x + 0.75, middle - height / 2, self.width - 1.5, height, radius=height / 2,
            fill=self.colour if full else PAPER, stroke=self.colour, stroke_width=1.5,
            dashes="none" if full else "3 2.5",
        )  # fmt: skip
        sheet.text(
            x + self.width / 2, middle, self.text, size=self.size, fill=PAPER if full else self.colour,
            family=self.family, bold=self.bold, anchor="middle",
        )  # fmt: skip


@dataclass(slots=True)
class Block:
    """A part of a picture, with its size in pixels. Lines from above lead to `anchor`, the left end of a pill."""

    width: float
    height: float
    anchor: tuple[float, float]

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draw it, with its top left corner at this point."""
        raise NotImplementedError


class Row(Block):
    """Labels on a line, with gaps between them, which are wider where a line leads to the next label."""

    __slots__ = ("labels",)

    def __init__(self, labels: Sequence[Label]) -> None:
        """Put labels side by side."""
        super().__init__(sum(_gap_before(label) + label.width for label in labels) - _GAP, ROW, (0, ROW / 2))
        self.labels = labels

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draw the labels, and the lines to those that are linked."""
        x -= _GAP
        for label in self.labels:
            if label.linked:
                sheet.path(f"M{x + _GAP:g} {y + ROW / 2:g}h{2 * _GAP}")
            x += _gap_before(label)
            label.draw(sheet, x, y + ROW / 2)
            x += label.width


def _gap_before(label: Label) -> int:
    return 3 * _GAP + 1 if label.linked else _GAP


class Family(Block):
    """A process, and the blocks of its children below it: first those in columns, then those below each other."""

    __slots__ = ("columns", "row", "stack")

    def __init__(self, row: Row, stack: Sequence[Block], columns: Sequence[Sequence[Block]] = ()) -> None:
        """Lay out the process, and its children in a stack and in columns."""
        self.row, self.stack, self.columns = row, stack, columns
        width = max((block.width + INDENT for block in stack), default=0)
        height = ROW + sum(block.height for block in stack)
        if columns:
            width = max(width, _total_width(columns))
            height += _BUS_HEIGHT + max(map(_column_height, columns))
        super().__init__(max(row.width, width), height, row.anchor)

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draw everything, and the lines from the process to its children."""
        self.row.draw(sheet, x, y)
        start, top = y + ROW / 2 + _PILL_HEIGHT / 2, y + ROW
        if self.columns:
            bus = top + _BUS_HEIGHT / 2 - 2
            last = x + _total_width(self.columns[:-1]) + (_COLUMN_GAP if len(self.columns) > 1 else 0)
            sheet.path(f"M{x + _TRUNK:g} {bus:g}H{last + _TRUNK:g}")
            left = x
            for column in self.columns:
                _hang(sheet, column, left, start if left == x else bus, top + _BUS_HEIGHT)
                left += _column_width(column) + _COLUMN_GAP
            top += _BUS_HEIGHT + max(map(_column_height, self.columns))
        _hang(sheet, self.stack, x, start, top)


def _hang(sheet: Sheet, blocks: Sequence[Block], x: float, start: float, top: float) -> None:
    """Draw blocks under each other, with a line to each from `start` on the trunk at the left."""
    trunk = x + _TRUNK
    for block in blocks:
        block.draw(sheet, x + INDENT, top)
        end, middle = x + INDENT + block.anchor[0], top + block.anchor[1]
        sheet.path(
            f"M{trunk:g} {start:g}V{middle - _RADIUS:g}Q{trunk:g} {middle:g} {trunk + _RADIUS:g} {middle:g}H{end:g}"
        )
        top += block.height


def _column_width(column: Sequence[Block]) -> float:
    return INDENT + max(block.width for block in column)


def _column_height(column: Sequence[Block]) -> float:
    return sum(block.height for block in column)


def _total_width(columns: Sequence[Sequence[Block]]) -> float:
    return sum(map(_column_width, columns)) + _COLUMN_GAP * (len(columns) - 1)


def columns_of(blocks: Sequence[Block], width: float) -> list[list[Block]]:
    """Split a list of blocks into as many columns as fit, in their order and of about the same height."""
    best = [list(blocks)]
    for number in range(2, len(blocks) + 1):
        tried = _split(blocks, number)
        if _total_width(tried) > width:
            break
        if max(map(_column_height, tried)) < max(map(_column_height, best)):
            best = tried
    return best


def _split(blocks: Sequence[Block], number: int) -> list[list[Block]]:
    """Split blocks into this number of columns, such that the highest is as low as possible."""
    best = [list(blocks)]
    low, high = max(block.height for block in blocks) - 1, _column_height(blocks)
    while high - low > 1:
        middle = (low + high) / 2
        columns: list[list[Block]] = [[]]
        room = middle
        for block in blocks:
            if columns[-1] and block.height > room:
                columns.append([])
                room = middle
            columns[-1].append(block)
            room -= block.height
        if len(columns) <= number:
            best, high = columns, middle
        else:
            low = middle
    return best


class Frame(Block):
    """The box of one or several namespaces, the outermost first; `stacked` if it stands for several boxes alike."""

    __slots__ = ("_edge", "_lines", "inside", "kinds", "stacked")

    def __init__(self, inside: Block, kinds: Sequence[str], chips: Sequence[Label], *, stacked: bool = False) -> None:
        """Put a box with one or several outlines around a block, with chips that name the namespaces."""
        self.inside, self.kinds, self.stacked = inside, kinds, stacked
        self._edge = _OUTLINE * (len(kinds) - 1) + _PAD
        lines: list[list[Label]] = [[]]
        for chip in chips:
            if lines[-1] and _chips_width([*lines[-1], chip]) > max(inside.width, _MAX_CHIPS_WIDTH):
                lines.append([])
            lines[-1].append(chip)
        self._lines = lines
        head = 3 + self._edge - 2 + (_CHIP_HEIGHT + 3) * len(lines)
        width = max(inside.width, *map(_chips_width, lines)) + 2 * self._edge + 4 * stacked
        x, y = inside.anchor
        super().__init__(width, head + inside.height + self._edge + 4 * stacked, (x + self._edge, y + head))

    @staticmethod
    def edges(kinds: Sequence[str]) -> float:
        """Return by how many pixels a frame is wider than the block in it."""
        return 2 * (_OUTLINE * (len(kinds) - 1) + _PAD)

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draw the outlines, the chips and the block inside."""
        y += 3
        width, height = self.width - 4 * self.stacked, self.height - 6 - 4 * self.stacked
        if self.stacked:
            colour = KIND_STYLES[self.kinds[0]].colour
            sheet.rect(x + 4, y + 4, width, height, radius=9, fill=PAPER, stroke=colour)
        for number, kind in enumerate(self.kinds):
            inset = 1 + _OUTLINE * number
            sheet.rect(
                x + inset, y + inset, width - 2 * inset, height - 2 * inset, radius=max(10 - 2 * number, 3),
                fill="none" if number else PAPER, stroke=KIND_STYLES[kind].colour, stroke_width=2,
            )  # fmt: skip
        inset = _OUTLINE * len(self.kinds)
        colour = KIND_STYLES[self.kinds[-1]].colour
        sheet.rect(x + inset, y + inset, width - 2 * inset, height - 2 * inset, radius=4, fill=colour, opacity=0.07)
        top = y + self._edge - 2
        for chips in self._lines:
            left = x + self._edge
            for chip in chips:
                chip.draw(sheet, left, top + _CHIP_HEIGHT / 2, _CHIP_HEIGHT)
                left += chip.width + 5
            top += _CHIP_HEIGHT + 3
        self.inside.draw(sheet, x + self._edge, top)


def _chips_width(labels: Sequence[Label]) -> float:
    return sum(label.width + 5 for label in labels) - 5
