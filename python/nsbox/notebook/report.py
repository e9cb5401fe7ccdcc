"""Errors of nsbox in a notebook: a panel with the step, the reason and the remedy, and no traceback through nsbox.

IPython asks an exception for `_render_traceback_`, which all of nsbox's have: so an error is short wherever IPython
shows it. With the extension loaded there is a panel above it.
"""

from __future__ import annotations

import linecache
from types import TracebackType

from nsbox.errors import SpawnError
from nsbox.views.panel import Panel

__all__ = ["PANEL_IS_SHOWN", "lines_of", "panel_of"]

PANEL_IS_SHOWN = "_panel_is_shown"
"""The attribute of an error that has a panel already, and needs only a line."""

_RED, _PLAIN = "\x1b[31m", "\x1b[0m"
_LABELS = ("why", "next", "expected", "seen", "likely")


def panel_of(error: BaseException) -> Panel:
    """Return what is to be known about an error."""
    name = type(error).__name__
    if isinstance(error, SpawnError):
        rows = [("call", f"{error.call} = {error.strerror} (errno {error.errno})"), ("who", error.actor)]
        rows += [("why", error.evidence)] if error.evidence else []
        rows += [("next", error.hint)] if error.hint else []
        rows += [("cause", error.cause)] if error.cause else []
        return Panel("problem", f"{name}: step {error.step!r} failed", tuple(rows))
    first, *rest = str(error).split("\n")
    return Panel("problem", f"{name}: {first}" if first else name, tuple(map(_row, rest)))


def _row(line: str) -> tuple[str, str]:
    label, colon, text = line.strip().partition(":")
    return (label, text.strip()) if colon and label in _LABELS else ("", line.strip())


def lines_of(error: BaseException) -> list[str]:
    """Return what IPython prints: what happened, and in which line of the reader's own code."""
    where = _place(error.__traceback__)
    panel = panel_of(error)
    text = panel.title if getattr(error, PANEL_IS_SHOWN, False) else str(panel)
    name, rest = text[: len(type(error).__name__)], text[len(type(error).__name__) :]
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    return [f"{_RED}{name}{_PLAIN}{rest}", *notes, *([where] if where else [])]


def _place(trace: TracebackType | None) -> str:
    """Return the last line of the notebook's own code that was being executed; magics have none worth showing."""
    found = ""
    while trace is not None:
        frame, number = trace.tb_frame, trace.tb_lineno
        if frame.f_globals.get("__name__") == "__main__":
            line = linecache.getline(frame.f_code.co_filename, number).strip()
            found = "" if line.startswith("get_ipython()") else f"in line {number}: {line}" if line else ""
        trace = trace.tb_next
    return found
