"""Checks that a page passes a sanitizer, and the positions of things in a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import NamedTuple

__all__ = ["Rect", "drawing", "frames", "page", "texts"]

SVG = "{http://www.w3.org/2000/svg}"

_SHAPES = {"svg", "title", "rect", "path", "text"}
_ATTRIBUTES = {
    "width", "height", "viewBox", "role", "x", "y", "rx", "d", "fill", "fill-opacity", "stroke", "stroke-width",
    "stroke-dasharray", "stroke-linecap", "font-family", "font-size", "font-weight", "text-anchor", "text-decoration",
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
    """Parse an SVG document; it must have nothing that a sanitizer removes, and nothing outside of the sheet."""
    root = ET.fromstring(document)
    sheet = Rect(0, 0, float(root.attrib["width"]), float(root.attrib["height"]))
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in _SHAPES, element.tag
        assert element.attrib.keys() <= _ATTRIBUTES, element.attrib
        if element.tag == SVG + "rect":
            assert sheet.holds(_rect(element)), element.attrib
        if element.tag == SVG + "text":
            x, y = float(element.attrib["x"]), float(element.attrib["y"])
            assert sheet.holds(Rect(x, y, x, y)), element.attrib
    return root


def page(part: str) -> ET.Element:
    """Parse a part of an HTML page, with the same conditions."""
    root = ET.fromstring(f"<div>{part}</div>")
    for element in root.iter():
        assert element.tag in _TAGS, element.tag
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
