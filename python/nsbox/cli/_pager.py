"""Long output on a terminal: it is shown by a pager, from its first line."""

from __future__ import annotations

import argparse
import os

from nsbox.cli import _output

__all__ = ["add_option", "show"]

_DEFAULT, _OPTIONS = "less", "FRX"
"""less(1), which prints a text that fits (-F), passes colours on (-R), and leaves the text on the screen (-X)."""
_NOT_STARTED = (126, 127)
"""The exit statuses of a shell that cannot start a program."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that turns the pager off."""
    parser.add_argument("--no-pager", action="store_true", help="do not show long output on a terminal by $PAGER")


def show(text: str, *, pager: bool = True) -> None:
    """Print a text; on a terminal with fewer lines by the pager.

    The pager is the value of $NSBOX_PAGER or $PAGER, a command for the shell, else less(1). If it is empty, or ``cat``,
    or cannot be started, or if the terminal is dumb, the text is printed as it is.

    Args:
        text: The text.
        pager: Whether a pager may be used.
    """
    command = os.environ.get("NSBOX_PAGER", os.environ.get("PAGER", _DEFAULT)).strip()
    if not pager or command in ("", "cat") or _fits(text) or not _by_pager(command, text):
        _output.write(text)


def _fits(text: str) -> bool:
    """Return whether a text needs no pager: it fits on the screen, or the output is no terminal."""
    if not _output.is_terminal() or os.environ.get("TERM", "") in ("", "dumb"):
        return True
    try:
        columns, lines = os.get_terminal_size(1)
    except OSError:
        return True
    width = max(columns, 1)
    return sum(max(1, -(-len(line) // width)) for line in text.splitlines()) < lines


def _by_pager(command: str, text: str) -> bool:
    """Show a text by a pager; return whether it could be started."""
    import signal  # noqa: PLC0415 - only for long output
    import subprocess  # noqa: PLC0415

    # Ctrl-C is for the pager, which ends a search with it. An exec resets a handler, but would keep SIG_IGN.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        environment = {"LESS": _OPTIONS, "LV": "-c", **os.environ}
        with subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, env=environment) as process:
            process.communicate(f"{text}\n".encode(errors="replace"))
    finally:
        signal.signal(signal.SIGINT, before)
    return process.returncode not in _NOT_STARTED
