"""The legend of a picture, which explains its signs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, TypeAlias

from nsbox.views.layout import Label
from nsbox.views.palette import AMBER, EDGE, GREEN, GREY, INK, KIND_STYLES, RED, SLATE
from nsbox.views.svg import Sheet

__all__ = ["MARKS", "TIMES", "Legend", "Mark", "Sign"]

Mark: TypeAlias = Literal["came", "went", "changed"]
"""What happened to a process between two snapshots."""


class Sign(NamedTuple):
    """The sign of a change."""

    sign: str
    colour: str


TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"

MARKS: dict[Mark, Sign] = {
    "came": Sign("+ new", GREEN),
    "went": Sign(f"{MINUS} gone", RED),
    "changed": Sign("~ changed", AMBER),
}

_PID = KIND_STYLES["pid"].colour


class _Sign(NamedTuple):
    """A sign, its meaning, and its meaning in a few words for small pictures."""

    label: Label
    meaning: str
    short: str


_SIGNS = {
    "pid": _Sign(Label("7128", 11, SLATE, bold=True, pill="full"), "process, with its PID", "process"),
    "inner": _Sign(
        Label("20", 11, _PID, bold=True, pill="full"),
        "process in an inner PID namespace, with its PID in there",
        "PID inside",
    ),
    "outside": _Sign(
        Label("outside"), "… and the PIDs by which it is known outside, from the inside out", "PIDs outside"
    ),
    "init": _Sign(
        Label("init", 11, _PID, bold=True), "PID 1: when it ends, everything in its PID namespace ends", "PID 1"
    ),
    "zombie": _Sign(
        Label("34", 11, GREY, bold=True, pill="hollow"),
        "zombie: it has ended, but its parent has not reaped it",
        "ended, not reaped",
    ),
    "count": _Sign(
        Label(f"3{TIMES}", 11, SLATE, bold=True, pill="full"),
        "count of equal processes, and the first PIDs",
        "equal processes",
    ),
    "joined": _Sign(
        Label("ipc", 10, GREY, bold=True, pill="hollow"), "a namespace that is elsewhere in the picture, too", "joined"
    ),
    "begins": _Sign(
        Label("ipc ?", 10, GREY, bold=True, pill="hollow"),
        "a namespace that begins here or at a process below: those here are unknown",
        "begins here or below",
    ),
    "unknown": _Sign(
        Label("?", 12, RED, bold=True),
        "its namespaces are unknown: it may be in others than its parent",
        "namespaces unknown",
    ),
    "came": _Sign(Label("+", 12, GREEN, bold=True), "was not there before", "new"),
    "went": _Sign(Label(MINUS, 12, RED, bold=True), "is not there any more", "gone"),
    "changed": _Sign(Label("~", 12, AMBER, bold=True), "was different before", "changed"),
}

_LINE = 20
_SAMPLE = 46
_SIZE = 11
_GAP = 16
_ABOVE = 8
"""Pixels between the line above the legend and its first row."""


class Legend:
    """The signs that occur in a picture, with their meanings, in columns.

    It has at most half the height of the picture. In a small picture the meanings have fewer words, and the legend has
    at most three quarters of the height; in a tiny one there is none.

    Attributes:
        height: Its height in pixels; 0 if there is none.
    """

    def __init__(self, kinds: Collection[str], seen: Collection[str], width: float, height: float) -> None:
        """Select what is explained, and lay it out.

        Args:
            kinds: The kinds of namespaces in the picture.
            seen: The other signs in the picture.
            width: The width of the picture in pixels.
            height: The height of the picture in pixels.
        """
        self._width = width
        self.height = 0.0
        for short, share in ((False, 0.5), (True, 0.75)):
            items = [_kind(kind, short=short) for kind in reversed(KIND_STYLES) if kind in kinds]
            items += [_sign(sign, short=short) for name, sign in _SIGNS.items() if name in seen]
            self._columns = _columns(items, width)
            own = _ABOVE + _LINE * max(map(len, self._columns), default=0)
            if items and own <= share * height and _total(self._columns) <= width:
                self.height = own
                return

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draw it, with its top left corner at this point."""
        if not self.height:
            return
        sheet.path(f"M{x:g} {y:g}H{x + self._width:g}", stroke=EDGE, stroke_width=1)
        for column in self._columns:
            for row, item in enumerate(column):
                item.draw(sheet, x, y + _ABOVE + _LINE * (row + 0.5))
            x += max(item.width for item in column) + _GAP


class _Item(NamedTuple):
    """What is explained: a sign, or the outline of a kind of namespace; and the texts."""

    sign: Label | str
    texts: tuple[Label, ...]

    @property
    def width(self) -> float:
        return self._sign_width + sum(8 + text.width for text in self.texts)

    @property
    def _sign_width(self) -> float:
        return _SAMPLE if isinstance(self.sign, str) else max(self.sign.width, _SAMPLE)

    def draw(self, sheet: Sheet, x: float, middle: float) -> None:
        if isinstance(self.sign, str):
            sheet.rect(x + 1, middle - 7, 32, 14, radius=4, fill=self.sign, opacity=0.07, stroke=self.sign,
                       stroke_width=2)  # fmt: skip
        else:
            self.sign.draw(sheet, x, middle, 16)
        x += self._sign_width
        for text in self.texts:
            text.draw(sheet, x + 8, middle)
            x += 8 + text.width


def _kind(kind: str, *, short: bool) -> _Item:
    colour, gives = KIND_STYLES[kind]
    name = Label(f"{kind} namespace", _SIZE, colour, bold=True)
    return _Item(colour, (name,) if short else (name, Label(gives, _SIZE, INK)))


def _sign(sign: _Sign, *, short: bool) -> _Item:
    return _Item(sign.label, (Label(sign.short if short else sign.meaning, _SIZE, INK),))


def _columns(items: Sequence[_Item], width: float) -> list[list[_Item]]:
    """Split items into as many columns as fit, of about the same height."""
    best = [list(items)] if items else []
    for number in range(2, len(items) + 1):
        rows = -(-len(items) // number)
        tried = [list(items[start : start + rows]) for start in range(0, len(items), rows)]
        if _total(tried) <= width:
            best = tried
    return best


def _total(columns: Sequence[Sequence[_Item]]) -> float:
    return sum(max(item.width for item in column) + _GAP for column in columns) - _GAP
