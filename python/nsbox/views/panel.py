"""A panel: a few labelled lines under a title, such as an error with its reason and its remedy."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from html import escape
from typing import Literal

from nsbox.views import display, grid
from nsbox.views.palette import AMBER, GREEN, RED

__all__ = ["Panel", "Tone"]

Tone = Literal["fine", "note", "problem"]

_COLOURS = {"fine": GREEN, "note": AMBER, "problem": RED}
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Panel(display.Table):
    """A few labelled lines under a title.

    Attributes:
        tone: Whether it is good news, worth knowing, or a problem; decides about the colour.
        title: What it is about, in a line.
        rows: Labels, which may be empty, and texts.
    """

    tone: Tone
    title: str
    rows: tuple[tuple[str, str], ...] = ()

    def html(self) -> str:
        """Return a table as HTML, with attributes only: no styles, classes, ids or scripts."""
        square = f'<font color="{_COLOURS[self.tone]}">\N{BLACK SQUARE}</font>\N{NO-BREAK SPACE}'
        lines = [f'<table><thead><tr><th colspan="2" align="left">{square}{_text(self.title)}</th></tr></thead>']
        lines += [
            f'<tr><td align="left"><b>{_text(label)}</b></td><td align="left">{_text(text)}</td></tr>'
            for label, text in self.rows
        ]
        return "\n".join(["<tbody>".join([lines[0], ""]), *lines[1:], "</tbody></table>"])

    def __str__(self) -> str:
        """Return lines that are not too long."""
        wide = max((len(label) for label, _ in self.rows), default=0)
        lines = textwrap.wrap(self.title, _WIDTH, subsequent_indent="  ")
        for label, text in self.rows:
            head = f"  {label:<{wide}}  " if wide else "  "
            for number, line in enumerate(text.split("\n")):
                first = head if number == 0 else " " * len(head)
                lines += textwrap.wrap(line, _WIDTH, initial_indent=first, subsequent_indent=" " * len(head),
                                       break_long_words=False, break_on_hyphens=False)  # fmt: skip
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Say it in a line."""
        return f"<{self.tone}: {self.title}>"


def _text(text: str) -> str:
    """Return a text as the contents of a cell, uncut."""
    return "<br/>".join(escape(grid.safe(line)) for line in text.split("\n"))
