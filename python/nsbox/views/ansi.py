"""Colours of terminals (ECMA-48, SGR): the sixteen that every terminal has, in the shades that its user has chosen."""

from __future__ import annotations

from typing import Literal

__all__ = ["Style", "paint"]

Style = Literal["bold", "green", "red", "yellow", "cyan"]
_CODES: dict[Style, str] = {"bold": "1", "green": "32", "red": "1;31", "yellow": "33", "cyan": "36"}


def paint(text: str, style: Style, *, colour: bool) -> str:
    """Return a text in a style; as it is without `colour`."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if colour and text else text
