"""The legend of a picture, which explains its signs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple, TypeAlias

from nsbox.views.layout import Label
from nsbox.views.palette import AMBER, GREEN, GREY, KIND_STYLES, RED, SLATE
from nsbox.views.svg import SANS, Sheet, measure

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
_SIGNS: dict[str, tuple[Label, str]] = {
    "pid": (Label("7128", 11, SLATE, bold=True, pill="full"), "process, with its PID"),
    "inner": (
        Label("20", 11, _PID, bold=True, pill="full"),
        "process in an inner PID namespace, with its PID in there",
    ),
    "outside": (Label("outside"), "… and the PIDs by which it is known outside, from the inside out"),
    "init": (Label("init", 11, _PID, bold=True), "PID 1: when it ends, everything in its PID namespace ends"),
    "zombie": (
        Label("34", 11, GREY, bold=True, pill="hollow"),
        "zombie: it has ended, but its parent has not reaped it",
    ),
    "count": (Label(f"3{TIMES}", 11, SLATE, bold=True, pill="full"), "count of equal processes, and the first PIDs"),
    "joined": (Label("ipc", 10, GREY, bold=True, pill="hollow"), "a namespace that is elsewhere in the picture, too"),
    "begins": (
        Label("ipc ?", 10, GREY, bold=True, pill="hollow"),
        "a namespace that begins here or at a process below: those here are unknown",
    ),
    "unknown": (Label("?", 12, RED, bold=True), "its namespaces are unknown: it may be in others than its parent"),
    "came": (Label("+", 12, GREEN, bold=True), "was not there before"),
    "went": (Label(MINUS, 12, RED, bold=True), "is not there any more"),
    "changed": (Label("~", 12, AMBER, bold=True), "was different before"),
}

_LINE = 21
_SIGN = 52
_SIZE = 11.5
_GAP = 30


class Legend:
    """The signs that occur in a picture, with their meanings."""

    def __init__(self, kinds: Collection[str], seen: Collection[str]) -> None:
        """Select the kinds of namespaces and the other signs to be explained."""
        self._kinds = [kind for kind in reversed(KIND_STYLES) if kind in kinds]
        self._signs = [sign for sign in _SIGNS if sign in seen]
        self._left = max((_SIGN + _kind_width(kind) for kind in self._kinds), default=0)
        self._right = max((_SIGN + measure(_SIGNS[sign][1], _SIZE, SANS) for sign in self._signs), default=0)

    def width(self, available: float) -> float:
        """Return its width in pixels: that of both columns if there is room for them, else of one."""
        both = self._left + _GAP + self._right
        return both if self._kinds and both <= available and self._tall else max(self._left, self._right)

    @property
    def _tall(self) -> bool:
        return len(self._kinds) + len(self._signs) > 7

    def draw(self, sheet: Sheet, x: float, y: float, width: float) -> float:
        """Draw it, with its top left corner at this point; return its height in pixels."""
        sheet.path(f"M{x:g} {y:g}H{x + width:g}", stroke="#d5dae1", stroke_width=1)
        y += 8
        for row, kind in enumerate(self._kinds):
            _explain_kind(sheet, x, y + _LINE * (row + 0.5), kind)
        beside = self._kinds and self._left + _GAP + self._right <= width
        left, first = (x + self._left + _GAP, 0) if beside else (x, len(self._kinds))
        for row, sign in enumerate(self._signs, first):
            label, meaning = _SIGNS[sign]
            middle = y + _LINE * (row + 0.5)
            label.draw(sheet, left, middle, 16)
            sheet.text(left + _SIGN, middle, meaning, size=_SIZE, family=SANS)
        rows = max(len(self._kinds), first + len(self._signs))
        return 8 + rows * _LINE


def _kind_width(kind: str) -> float:
    return measure(f"{kind} namespace", _SIZE, SANS, bold=True) + 8 + measure(KIND_STYLES[kind].gives, _SIZE, SANS)


def _explain_kind(sheet: Sheet, x: float, middle: float, kind: str) -> None:
    colour, gives = KIND_STYLES[kind]
    sheet.rect(x + 1, middle - 7, 34, 14, radius=4, fill=colour, opacity=0.07, stroke=colour, stroke_width=2)
    label = f"{kind} namespace"
    sheet.text(x + _SIGN, middle, label, size=_SIZE, fill=colour, family=SANS, bold=True)
    after = x + _SIGN + measure(label, _SIZE, SANS, bold=True) + 8
    sheet.text(after, middle, gives, size=_SIZE, family=SANS)
