"""Where the text goes: how wide that is, and which characters it takes."""

from __future__ import annotations

import os
import sys

__all__ = ["is_utf8", "takes_box_drawing", "terminal_width", "width", "write"]


def width() -> int | None:
    """Return where lines are to be cut: $COLUMNS, else the width of the terminal, else nowhere."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def terminal_width() -> int | None:
    """Return the width of the terminal that is written to; nothing for files and pipes."""
    return width() if sys.stdout.isatty() else None


def is_utf8() -> bool:
    """Tell whether the output takes all characters."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def takes_box_drawing() -> bool:
    """Tell whether the output is a terminal that shows box drawing characters; files and pipes get ASCII."""
    return sys.stdout.isatty() and is_utf8()


def write(text: str) -> None:
    """Print text; characters that the output does not know become question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding, "replace"))
