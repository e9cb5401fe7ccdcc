"""Tables of a diagnosis: the questions with their answers, and what can be had."""

from __future__ import annotations

import textwrap
from html import escape
from typing import TYPE_CHECKING

from nsbox._place import PLACES
from nsbox.views import grid
from nsbox.views import html as _html
from nsbox.views.palette import AMBER, GREEN, RED

if TYPE_CHECKING:
    from nsbox._questions import Answer
    from nsbox._trial import Trial
    from nsbox.diagnosis import Diagnosis

__all__ = ["page"]

_WIDTH = 100
_VERDICTS = {"fine": "ok", "note": "note", "problem": "NO"}
_COLOURS = {"ok": GREEN, "note": AMBER, "NO": RED}
_QUESTIONS = (
    grid.Column("", right=True), grid.Column("VERDICT"), grid.Column("QUESTION"), grid.Column("ANSWER", wrap=True),
)  # fmt: skip
_KINDS = (grid.Column("KIND"), grid.Column("AS IT IS"), grid.Column("IN A USER NAMESPACE"))


def page(diagnosis: Diagnosis) -> str:
    """Return the verdict and two tables as HTML."""
    where = ", ".join(PLACES[place] for place in diagnosis.places)
    questions = [
        grid.Row([str(one.number), _VERDICTS[one.verdict], one.question, "\n".join(_answer(one))])
        for one in diagnosis.answers
    ]
    kinds = [
        grid.Row([name, _had(allowed.root), _had(allowed.rootless)])
        for name, allowed in {**diagnosis.kinds, "all": diagnosis.everything}.items()
    ]
    colours = {text: GREEN if text == "yes" else RED for row in kinds for text in row.cells[1:] if text}
    return "\n".join(
        [
            f"<p><b>{escape(grid.safe(diagnosis.verdict))}</b></p>",
            *([f"<p>{escape(where)}</p>"] if where else []),
            _html.table(_KINDS, kinds, colours={column.name: colours for column in _KINDS[1:]}),
            _html.table(_QUESTIONS, questions, colours={"VERDICT": _COLOURS}),
        ]
    )


def _answer(answer: Answer) -> list[str]:
    """Break a text, of which nothing may be cut, into lines."""
    texts = [answer.answer, f"next: {answer.remedy}"] if answer.remedy else [answer.answer]
    return [
        line for text in texts for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    ]


def _had(trial: Trial) -> str:
    return "yes" if trial.works else f"no: {trial.step or 'not in this kernel'}"
