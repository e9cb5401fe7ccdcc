"""Checks that a page passes a sanitizer, and the positions of things in a picture."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from typing import NamedTuple

from nsbox.views.palette import DARK
from nsbox.views.svg import MONO, SANS, measure

__all__ = ["Rect", "drawing", "extent", "frames", "image", "page", "texts"]

SVG = "{http://www.w3.org/2000/svg}"

_SHAPES = {"svg", "title", "desc", "rect", "path", "text"}
_ATTRIBUTES = {
    "width", "height", "viewBox", "role", "aria-label", "x", "y", "rx", "d", "fill", "fill-opacity", "stroke",
    "stroke-width", "stroke-dasharray", "stroke-linecap", "font-family", "font-size", "font-weight", "text-anchor",
    "text-decoration",
}  # fmt: skip
_TAGS = {"div", "table", "thead", "tbody", "tr", "th", "td", "br", "font", "p", "b", "wbr"}


class Rect(NamedTuple):
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: Rect) -> bool:
        """Whether another rectangle is inside this one."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def misses(self, other: Rect) -> bool:
        """Whether another rectangle does not overlap this one."""
        return (
            self.right <= other.left or self.left >= other.right or self.bottom <= other.top or self.top >= other.bottom
        )


def drawing(document: str) -> ET.Element:
    """Parse an SVG document, and return it without its style.

    It must have nothing else that a sanitizer removes, nothing outside of the sheet, and a text for screen readers.
    """
    root = ET.fromstring(document)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert root.attrib["viewBox"] == f"0 0 {root.attrib['width']} {root.attrib['height']}"
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext(SVG + "title")
    for style in root.findall(SVG + "style"):
        _check_style(style.text or "", root)
        root.remove(style)
    # Numbers are rounded.
    sheet = Rect(-0.01, -0.01, width + 0.01, height + 0.01)
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in _SHAPES, element.tag
        assert element.attrib.keys() <= _ATTRIBUTES, element.attrib
        if element.tag == SVG + "rect":
            assert sheet.holds(_rect(element)), element.attrib
        if element.tag == SVG + "text":
            assert sheet.holds(extent(element)), (element.attrib, element.text)
    return root


def _check_style(style: str, root: ET.Element) -> None:
    """Check that a style has a dark colour for each colour in the picture, and nothing else."""
    inside = re.fullmatch(r"@media \(prefers-color-scheme:dark\)\{(.*)\}", style)
    assert inside is not None, style
    rules = set(re.findall(r'svg>\[(fill|stroke)="(#\w{6})"\]\{(\w+):(#\w{6})\}', inside[1]))
    again = [f'svg>[{name}="{light}"]{{{same}:{dark}}}' for name, light, same, dark in sorted(rules)]
    assert "".join(again) == inside[1]
    found = {(name, element.attrib[name]) for element in root for name in ("fill", "stroke") if name in element.attrib}
    found -= {("fill", "none")}
    assert rules == {(name, light, name, DARK[light]) for name, light in found}


def extent(text: ET.Element) -> Rect:
    """Return the rectangle of a text, as long as it is in the widest font."""
    size, bold = float(text.attrib["font-size"]), text.get("font-weight") == "bold"
    family = {MONO: MONO, SANS: SANS}[text.attrib["font-family"]]
    width = measure(text.text or "", size, family, bold=bold)
    left = float(text.attrib["x"]) - (width / 2 if text.get("text-anchor") == "middle" else 0)
    base = float(text.attrib["y"])
    return Rect(left, base - 0.8 * size, left + width, base + 0.25 * size)


def image(part: str) -> ET.Element:
    """Check an image in an HTML page; return the SVG document in it, checked as well."""
    root = ET.fromstring(f"<div>{part}</div>")
    style, img = root
    assert (style.tag, img.tag) == ("style", "img")
    assert img.attrib.keys() == {"class", "alt", "style", "src"}
    assert re.fullmatch(r"width:[\d.]+em;max-width:100%;height:auto", img.attrib["style"])
    kind, _, data = img.attrib["src"].partition(";base64,")
    assert kind == "data:image/svg+xml"
    document = drawing(base64.b64decode(data, validate=True).decode())
    assert img.attrib["alt"].startswith(document.findtext(SVG + "title") or "?")
    return document


def page(part: str) -> ET.Element:
    """Parse a part of an HTML page, with the same conditions."""
    root = ET.fromstring(f"<div>{part}</div>")
    for element in root.iter():
        assert element.tag in _TAGS, element.tag
        # A page may remove the style: the table is as good, and wider.
        style = element.attrib.pop("style", None) if element.tag == "table" else None
        assert style in (None, "font-size:min(.93em,1.45vw)")
        assert element.attrib.keys() <= {"align", "colspan", "color"}, element.attrib
    return root


def texts(root: ET.Element) -> list[str]:
    """Return all texts in a picture, in the order in which they were drawn."""
    return [element.text or "" for element in root.iter(SVG + "text")]


def frames(root: ET.Element) -> list[Rect]:
    """Return the outlines of all boxes of namespaces; the samples in the legend are smaller."""
    return [
        _rect(element)
        for element in root.iter(SVG + "rect")
        if element.get("stroke-width") == "2" and float(element.attrib["height"]) > 20
    ]


def _rect(element: ET.Element) -> Rect:
    x, y = float(element.attrib["x"]), float(element.attrib["y"])
    return Rect(x, y, x + float(element.attrib["width"]), y + float(element.attrib["height"]))
