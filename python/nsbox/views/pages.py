"""Files for a browser: a page of HTML, and a picture of lines of text."""

from __future__ import annotations

from html import escape

from nsbox.records.names import safe
from nsbox.views.svg import Sheet, measure

__all__ = ["listing", "page"]

_STYLE = (
    ":root{color-scheme:light dark}body{font:14px/1.45 ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "margin:1.5em}table{border-collapse:collapse}td,th{padding:.1em .6em;white-space:pre;vertical-align:top}"
    "tr:nth-child(even){background:rgba(128,128,128,.12)}svg{max-width:100%;height:auto}"
)
_MARGIN, _LINE, _SIZE = 16, 19.0, 13.0


def page(title: str, body: str) -> str:
    """Return a page that has everything in itself, for light and dark displays.

    Args:
        title: Its title, as text.
        body: HTML, or SVG.
    """
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    style = f"<style>{_STYLE}</style>"
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}{style}</head>\n<body>\n{body}\n</body>\n</html>\n'


def listing(title: str, text: str) -> str:
    """Return lines of text as an SVG document, the first of them in bold: a table with its headings.

    Args:
        title: What the lines are, for screen readers.
        text: The lines.
    """
    sheet, lines = Sheet(), [safe(line) for line in text.splitlines()] or [""]
    for number, line in enumerate(lines):
        sheet.text(_MARGIN, _MARGIN + (number + 0.5) * _LINE, line, size=_SIZE, bold=number == 0)
    width = max(measure(line, _SIZE) for line in lines) + 2 * _MARGIN
    return sheet.document(width, len(lines) * _LINE + 2 * _MARGIN, title, "").svg()
