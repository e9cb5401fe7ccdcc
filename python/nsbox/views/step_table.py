"""Tables of steps: those that were carried out, and those that are explained."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence

from nsbox.records.steps import ExplainedStep, StepResult
from nsbox.views import grid
from nsbox.views import html as _html
from nsbox.views.palette import GREEN, RED

__all__ = ["done", "explained"]

_DONE = (
    grid.Column("RESULT"), grid.Column("WHO"), grid.Column("STEP"), grid.Column("SYSTEM CALL"),
    grid.Column("TIME", right=True), grid.Column("WHY"),
)  # fmt: skip
_EXPLAINED = (
    grid.Column("", right=True), grid.Column("WHO"), grid.Column("STEP"), grid.Column("SYSTEM CALL"),
    grid.Column("BY HAND"), grid.Column("RESULT"), grid.Column("WHY"),
)  # fmt: skip


def done(steps: Sequence[StepResult]) -> str:
    """Return an HTML table of steps that were carried out."""
    results = ["done" if step.errno == 0 else os.strerror(step.errno) for step in steps]
    rows = [
        grid.Row([result, step.actor, step.name, step.call, _time(step.microseconds), _why(step)])
        for result, step in zip(results, steps, strict=True)
    ]
    return _html.table(_DONE, rows, colours={"RESULT": {one: GREEN if one == "done" else RED for one in results}})


def explained(title: str, steps: Iterable[ExplainedStep], closest: Mapping[str, str], notes: Iterable[str]) -> str:
    """Return an HTML table of steps, each with the command that does the same by hand.

    Args:
        title: The command or call that is explained.
        steps: The steps.
        closest: The closest command and the closest call of nsbox, by a label; each may be empty.
        notes: Further notes.
    """
    cells = [
        [str(step.index), step.actor, step.name, step.call, step.command, step.result, _why(step)] for step in steps
    ]
    # Empty columns are left out: steps that were not carried out have no results, and some have no command.
    filled = [any(texts) for texts in zip(*cells, strict=True)]
    columns = list(itertools.compress(_EXPLAINED, filled))
    rows = [grid.Row(list(itertools.compress(texts, filled))) for texts in cells]
    labelled = [f"{label}: {text}" for label, text in closest.items() if text]
    below = [f"<p>{_html.cell(note)}</p>" for note in [*labelled, *notes]]
    return "\n".join([f"<p><b>{_html.cell(title)}</b></p>", _html.table(columns, rows), *below])


def _why(step: StepResult | ExplainedStep) -> str:
    return f"{step.why}: {step.manual}"


def _time(microseconds: float | None) -> str:
    return "" if microseconds is None else f"{microseconds:.0f} us"
