"""Drawing on a sheet of SVG.

A picture goes through sanitizers on its way: GitHub, nbconvert and JupyterLab remove styles, classes, ids and scripts.
So all there is are basic shapes with presentation attributes (SVG 2, section 6.6), and a white sheet below them, on
which they can be read in a dark theme too.
"""

from __future__ import annotations

import unicodedata
from html import escape

from nsbox.views.palette import INK, LINE, PAPER

__all__ = ["MONO", "SANS", "Sheet", "measure"]

MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
SANS = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"

# The advance of the widest of the fonts, so that no text is longer than measured.
_EM = {MONO: 0.605, SANS: 0.6}
_BOLD_SANS = 1.15


def measure(text: str, size: float, family: str = MONO, *, bold: bool = False) -> float:
    """Return how wide a text can become. Nobody can know better without the reader's fonts."""
    wide = 0 if text.isascii() else sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return (len(text) + wide) * size * _EM[family] * (_BOLD_SANS if bold and family == SANS else 1)


class Sheet:
    """Shapes, in the order in which they cover each other. All text that comes in is escaped here."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._parts: list[str] = []

    def rect(
        self, x: float, y: float, width: float, height: float, *, radius: float = 0, fill: str = "none",
        opacity: float = 1, stroke: str = "none", stroke_width: float = 1, dashes: str = "none",
    ) -> None:  # fmt: skip
        """Draw a rectangle. The opacity is that of the inside."""
        self._add(
            "rect", x=x, y=y, width=width, height=height, rx=radius, fill=fill, fill_opacity=opacity, stroke=stroke,
            stroke_width=stroke_width, stroke_dasharray=dashes,
        )  # fmt: skip

    def path(self, data: str, *, stroke: str = LINE, stroke_width: float = 1.5, dashes: str = "none") -> None:
        """Draw a line (SVG 2, section 9.3)."""
        self._add(
            "path", d=data, fill="none", stroke=stroke, stroke_width=stroke_width, stroke_dasharray=dashes,
            stroke_linecap="round",
        )  # fmt: skip

    def text(
        self, x: float, y: float, text: str, *, size: float = 13, fill: str = INK, family: str = MONO,
        bold: bool = False, anchor: str = "start", struck: bool = False,
    ) -> None:  # fmt: skip
        """Write a text; `y` is where its middle is."""
        if "  " in text or text != text.strip():
            text = text.replace(" ", "\N{NO-BREAK SPACE}")  # others are collapsed
        self._add(
            "text", text, x=x, y=y + size * 0.35, font_family=family, font_size=size, fill=fill,
            font_weight="bold" if bold else "normal", text_anchor=anchor,
            text_decoration="line-through" if struck else "none",
        )  # fmt: skip

    def document(self, width: float, height: float, title: str) -> str:
        """Return the whole document, on a white sheet.

        Args:
            width: In pixels; a page that is narrower makes it smaller.
            height: In pixels.
            title: What is said to those who do not see it.
        """
        size = f'width="{_number(width)}" height="{_number(height)}" viewBox="0 0 {_number(width)} {_number(height)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<title>{escape(title)}</title>\n'
        paper = _element(
            "rect",
            {"x": 0.5, "y": 0.5, "width": width - 1, "height": height - 1, "rx": 8, "fill": PAPER, "stroke": "#d5dae1"},
        )
        return head + "\n".join([paper, *self._parts]) + "\n</svg>\n"

    def _add(self, name: str, content: str | None = None, **attributes: str | float) -> None:
        self._parts.append(_element(name, {key.replace("_", "-"): value for key, value in attributes.items()}, content))


_DEFAULTS = {
    "rx": 0, "fill-opacity": 1, "stroke": "none", "stroke-dasharray": "none", "font-weight": "normal",
    "text-anchor": "start", "text-decoration": "none",
}  # fmt: skip
"""What need not be said."""


def _element(name: str, attributes: dict[str, str | float], content: str | None = None) -> str:
    if attributes.get("stroke", "none") == "none":
        attributes = {key: value for key, value in attributes.items() if key != "stroke-width"}
    said = "".join(
        f' {key}="{escape(value) if isinstance(value, str) else _number(value)}"'
        for key, value in attributes.items()
        if _DEFAULTS.get(key) != value
    )
    return f"<{name}{said}/>" if content is None else f"<{name}{said}>{escape(content)}</{name}>"


def _number(value: float) -> str:
    """Half pixels matter, hundredths do not."""
    return f"{round(value, 2):g}" if abs(value) < 100_000 else str(round(value))
