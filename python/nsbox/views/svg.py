"""Drawing on a sheet of SVG.

The sanitizers of GitHub, nbconvert and JupyterLab remove classes, ids and scripts from a picture, and some of them
remove styles. So it consists of basic shapes with presentation attributes (SVG 2, section 6.6), in the light colours on
a sheet of paper. One style has the colours for dark pages; without it, the picture is a light one.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from html import escape
from typing import Literal, TypeAlias

from nsbox.errors import SpecError
from nsbox.views.palette import DARK, EDGE, INK, LINE, PAPER

__all__ = ["MONO", "SANS", "Document", "Sheet", "Theme", "measure", "sentences"]

Theme: TypeAlias = Literal["auto", "light", "dark"]
"""The colours of a picture. "auto" is dark where the page is (prefers-color-scheme, Media Queries 5, section 11.5)."""

_MAX_SENTENCES = 20

MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
SANS = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"

# The width of a character in the widest of the fonts, so that no text is longer than measured.
_EM = {MONO: 0.605, SANS: 0.6}
_BOLD_SANS = 1.15


def measure(text: str, size: float, family: str = MONO, *, bold: bool = False) -> float:
    """Return the maximum width of a text, in pixels. The exact width depends on the fonts of the reader."""
    wide = 0 if text.isascii() else sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return (len(text) + wide) * size * _EM[family] * (_BOLD_SANS if bold and family == SANS else 1)


def sentences(parts: list[str]) -> str:
    """Return the description of a picture: at most twenty sentences, and how many more there are."""
    more = [f"And {len(parts) - _MAX_SENTENCES} more."] if len(parts) > _MAX_SENTENCES else []
    return " ".join([*parts[:_MAX_SENTENCES], *more])


@dataclass(frozen=True, slots=True)
class Document:
    """A whole picture.

    Attributes:
        width: Its width in pixels; on a narrower page it is scaled down.
        height: Its height in pixels.
        title: What it shows.
        description: What is in it.
        shapes: The elements, in the light colours.
    """

    width: float
    height: float
    title: str
    description: str
    shapes: str

    def svg(self, theme: Theme = "auto") -> str:
        """Return it as an SVG document.

        Raises:
            SpecError: for an unknown theme.
        """
        if theme not in ("auto", "light", "dark"):
            raise SpecError(f"theme: expected 'auto', 'light' or 'dark', got {theme!r}")
        width, height, title = _number(self.width), _number(self.height), escape(self.title)
        size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">',
            f"<title>{title}</title>",
        ]
        lines += [f"<desc>{escape(self.description)}</desc>"] if self.description else []
        lines += [_style(self.shapes)] if theme == "auto" else []
        shapes = _COLOUR.sub(_dark, self.shapes) if theme == "dark" else self.shapes
        return "\n".join([*lines, shapes, "</svg>\n"])


_COLOUR = re.compile('(?<= )(fill|stroke)="(#[0-9a-f]{6})"')
"""A colour among the attributes. In texts, quotation marks are escaped."""


def _dark(match: re.Match[str]) -> str:
    return f'{match[1]}="{DARK[match[2]]}"'


def _style(shapes: str) -> str:
    """Return the colours for dark pages, of those that occur. The rules of a style are stronger than attributes."""
    used = sorted({(match[1], match[2]) for match in _COLOUR.finditer(shapes)})
    rules = "".join(f'svg>[{name}="{colour}"]{{{name}:{DARK[colour]}}}' for name, colour in used)
    return f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"


class Sheet:
    """Shapes, in the order in which they are drawn. All text is escaped here."""

    def __init__(self) -> None:
        """Start with an empty sheet."""
        self._parts: list[str] = []

    def rect(
        self, x: float, y: float, width: float, height: float, *, radius: float = 0, fill: str = "none",
        opacity: float = 1, stroke: str = "none", stroke_width: float = 1, dashes: str = "none",
    ) -> None:  # fmt: skip
        """Draw a rectangle. The opacity is that of its fill."""
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
        """Write a text, with its middle at the height `y`."""
        if "  " in text or text != text.strip():
            text = text.replace(" ", "\N{NO-BREAK SPACE}")  # ordinary ones would be collapsed
        self._add(
            "text", text, x=x, y=y + size * 0.35, font_family=family, font_size=size, fill=fill,
            font_weight="bold" if bold else "normal", text_anchor=anchor,
            text_decoration="line-through" if struck else "none",
        )  # fmt: skip

    def document(self, width: float, height: float, title: str, description: str) -> Document:
        """Return the whole picture, on paper.

        Args:
            width: Its width in pixels.
            height: Its height in pixels.
            title: What it shows, in a few words; screen readers read it.
            description: What is in it, in sentences; screen readers read it.
        """
        paper = _element(
            "rect",
            {"x": 0.5, "y": 0.5, "width": width - 1, "height": height - 1, "rx": 8, "fill": PAPER, "stroke": EDGE},
        )
        return Document(width, height, title, description, "\n".join([paper, *self._parts]))

    def _add(self, name: str, content: str | None = None, **attributes: str | float) -> None:
        self._parts.append(_element(name, {key.replace("_", "-"): value for key, value in attributes.items()}, content))


_DEFAULTS = {
    "rx": 0, "fill-opacity": 1, "stroke": "none", "stroke-dasharray": "none", "font-weight": "normal",
    "text-anchor": "start", "text-decoration": "none",
}  # fmt: skip
"""The defaults of attributes, which are left out."""


def _element(name: str, attributes: dict[str, str | float], content: str | None = None) -> str:
    if attributes.get("stroke", "none") == "none":
        attributes = {key: value for key, value in attributes.items() if key != "stroke-width"}
    shown = "".join(
        f' {key}="{escape(value) if isinstance(value, str) else _number(value)}"'
        for key, value in attributes.items()
        if _DEFAULTS.get(key) != value
    )
    return f"<{name}{shown}/>" if content is None else f"<{name}{shown}>{escape(content)}</{name}>"


def _number(value: float) -> str:
    """Return a number with at most two digits after the point."""
    return f"{round(value, 2):g}" if abs(value) < 100_000 else str(round(value))
