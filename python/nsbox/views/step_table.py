"""The table of the steps that were carried out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nsbox.views import grid
from nsbox.views import html as _html
from nsbox.views.palette import GREEN, RED

if TYPE_CHECKING:
    from nsbox.box import StepResult

__all__ = ["html"]

_COLUMNS = (
    grid.Column("RESULT"), grid.Column("WHO"), grid.Column("STEP"), grid.Column("SYSTEM CALL"),
    grid.Column("TIME", right=True), grid.Column("WHY"),
)  # fmt: skip
_DONE = "done"


def html(steps: Sequence[StepResult]) -> str:
    """Return an HTML table."""
    results = [_DONE if step.errno == 0 else os.strerror(step.errno) for step in steps]
    colours = {result: GREEN if result == _DONE else RED for result in results}
    rows = [
        grid.Row([
            result, step.actor, step.name, step.call, _time(step.microseconds), f"{step.why}: {step.manual}",
        ])
        for result, step in zip(results, steps, strict=True)
    ]  # fmt: skip
    return _html.table(_COLUMNS, rows, colours={"RESULT": colours})


def _time(microseconds: float | None) -> str:
    return "" if microseconds is None else f"{microseconds:.0f} us"
