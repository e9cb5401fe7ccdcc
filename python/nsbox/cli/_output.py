"""The output: its width, the characters that it takes, and messages about wrong usage."""

from __future__ import annotations

import errno
import os
import sys

__all__ = [
    "is_terminal",
    "is_utf8",
    "takes_box_drawing",
    "takes_colours",
    "terminal_width",
    "usage_error",
    "width",
    "write",
]


def width() -> int | None:
    """Return the column at which lines are cut: $COLUMNS, else the width of the terminal, else None."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (AttributeError, OSError, ValueError):  # AttributeError: the output is closed
        return None


def terminal_width() -> int | None:
    """Return the width of the terminal that is written to; None for files and pipes."""
    return width() if is_terminal() else None


def is_terminal() -> bool:
    """Return whether the output is a terminal; it can be closed as well."""
    return sys.stdout is not None and sys.stdout.isatty()


def is_utf8() -> bool:
    """Return whether the output takes all characters. In the locale C, Python itself writes UTF-8 (PEP 538, 540)."""
    if (os.environ.get("LC_ALL") or os.environ.get("LANG")) in ("C", "POSIX"):
        return False
    return (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "") == "utf8"


def takes_colours() -> bool:
    """Return whether text is written in colours.

    They are for terminals that are not dumb. A variable decides, the first of these that is set: NO_COLOR (any text:
    none), FORCE_COLOR and CLICOLOR_FORCE (0: not forced; else: also into files), CLICOLOR (0: none).
    """
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_terminal() and os.environ.get("TERM", "") not in ("", "dumb") and os.environ.get("CLICOLOR") != "0"


def takes_box_drawing() -> bool:
    """Return whether the output is a terminal that shows box drawing characters; files and pipes get ASCII."""
    return is_terminal() and is_utf8()


def write(text: str) -> None:
    """Print text; characters that the encoding of the output does not have become question marks.

    Raises:
        OSError: when the output is closed, or does not take the text.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, f"write error: {os.strerror(errno.EBADF)}")
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding, "replace"))


def usage_error(command: str, error: Exception) -> int:
    """Print that the arguments of a command are wrong, and return the exit status."""
    print(f"nsbox {command}: {error}\nTry 'nsbox {command} --help' for more information.", file=sys.stderr)
    return 1
