"""The steps of a box as a table."""

from __future__ import annotations

from typing import Any

from nsbox.records.steps import StepResult
from nsbox.views import mime
from nsbox.views import step_table as _view

__all__ = ["Steps"]


class Steps(mime.Table, list[StepResult]):
    """Steps in their order; `str()` shows a line for each."""

    __slots__ = ()

    def html(self) -> str:
        """Return a table as HTML, without classes, ids or scripts."""
        return _view.done(self)

    def __str__(self) -> str:
        """Return a line for each step."""
        return "\n".join(map(str, self))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the table in IPython, which would otherwise show each record in full, as for a list."""
        del cycle
        printer.text(str(self))
