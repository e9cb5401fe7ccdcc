"""A panel: labelled lines below a title, such as an error with its reason and its remedy."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

from nsbox.views import html, mime
from nsbox.views.palette import AMBER, GREEN, RED

__all__ = ["Panel", "Tone"]

Tone = Literal["fine", "note", "problem"]

_COLOURS = {"fine": GREEN, "note": AMBER, "problem": RED}
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Panel(mime.Table):
    """Labelled lines below a title.

    Attributes:
        tone: ``"fine"``, ``"note"`` for useful information, or ``"problem"``; the colour depends on it.
        title: The title, one line.
        rows: Pairs of a label, which may be empty, and a text.
    """

    tone: Tone
    title: str
    rows: tuple[tuple[str, str], ...] = ()

    def html(self) -> str:
        """Return a table as HTML, without classes, ids or scripts."""
        square = f'<font color="{_COLOURS[self.tone]}">\N{BLACK SQUARE}</font>\N{NO-BREAK SPACE}'
        head = html.aligned("th", "left", f"{square}{html.text(self.title)}", span=2)
        cells = [(f"<b>{html.text(label)}</b>", html.text(text)) for label, text in self.rows]
        rows = [f"<tr>{''.join(html.aligned('td', 'left', one) for one in pair)}</tr>" for pair in cells]
        return "\n".join([f"<table><thead><tr>{head}</tr></thead><tbody>", *rows, "</tbody></table>"])

    def __str__(self) -> str:
        """Return the title and the rows, in lines of at most 100 characters if possible."""
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
        """Return the tone and the title."""
        return f"<{self.tone}: {self.title}>"
