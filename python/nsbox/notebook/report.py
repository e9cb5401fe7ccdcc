"""Errors of nsbox in a notebook: a panel with the step, the reason and the remedy, and no traceback through nsbox.

IPython calls `_render_traceback_` of an exception, if it has one. Those of nsbox do, so that their traceback is short.
When the extension is loaded, a panel is shown above it.
"""

from __future__ import annotations

from nsbox.errors import SpawnError
from nsbox.views.panel import Panel

__all__ = ["panel_of"]

_LABELS = ("why", "next", "expected", "seen", "likely")


def panel_of(error: BaseException) -> Panel:
    """Return the panel for an error."""
    name = type(error).__name__
    if isinstance(error, SpawnError):
        rows = [("call", f"{error.call} = {error.strerror} (errno {error.errno})"), ("who", error.actor)]
        rows += [("why", error.evidence)] if error.evidence else []
        rows += [("next", error.hint)] if error.hint else []
        rows += [("cause", error.cause)] if error.cause else []
        return Panel("problem", f"{name}: {error._headline()}", tuple(rows))
    first, *rest = str(error).split("\n")
    return Panel("problem", f"{name}: {first}" if first else name, tuple(map(_row, rest)))


def _row(line: str) -> tuple[str, str]:
    label, colon, text = line.strip().partition(":")
    return (label, text.strip()) if colon and label in _LABELS else ("", line.strip())
