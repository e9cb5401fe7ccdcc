"""The tables of a diagnosis: the questions with their answers, and what the machine allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from nsbox.records.diagnosis import Allowed, Answer, Trial
from nsbox.views import grid
from nsbox.views import html as _html
from nsbox.views.palette import AMBER, GREEN, RED

__all__ = ["page"]

_VERDICTS = {"fine": ("ok", GREEN), "note": ("note", AMBER), "problem": ("NO", RED)}
_QUESTIONS = {"": "right", "VERDICT": "left", "QUESTION": "left", "ANSWER": "left"}
_KINDS = (grid.Column("KIND"), grid.Column("AS IT IS"), grid.Column("IN A USER NAMESPACE"))


def page(verdict: str, where: str, answers: Iterable[Answer], allowed: Mapping[str, Allowed]) -> str:
    """Return the verdict and two tables as HTML.

    Args:
        verdict: The result in one sentence.
        where: The surroundings, such as a container; may be empty.
        answers: The questions and answers.
        allowed: Whether each kind of namespace can be made, by its name.
    """
    head = "".join(_html.aligned("th", side, name) for name, side in _QUESTIONS.items())
    kinds = [grid.Row([name, _allowed(one.root), _allowed(one.rootless)]) for name, one in allowed.items()]
    colours = {text: GREEN if text == "yes" else RED for row in kinds for text in row.cells[1:] if text}
    lines = [f"<p><b>{_html.text(verdict)}</b></p>"]
    lines += [f"<p>{_html.text(where)}</p>"] if where else []
    lines += [_html.table(_KINDS, kinds, colours={column.name: colours for column in _KINDS[1:]})]
    lines += [f"<table><thead><tr>{head}</tr></thead><tbody>"]
    # Not made by `nsbox.views.html.table`, which cuts long texts.
    lines += [f"<tr>{''.join(_question(answer))}</tr>" for answer in answers]
    return "\n".join([*lines, "</tbody></table>"])


def _question(answer: Answer) -> Iterator[str]:
    verdict, colour = _VERDICTS[answer.verdict]
    text = answer.answer + (f"\nnext: {answer.remedy}" if answer.remedy else "")
    yield _html.aligned("td", "right", str(answer.number))
    yield _html.aligned("td", "left", f'<font color="{colour}">\N{BLACK SQUARE}</font>\N{NO-BREAK SPACE}{verdict}')
    yield _html.aligned("td", "left", _html.text(answer.question))
    yield _html.aligned("td", "left", _html.text(text))


def _allowed(trial: Trial) -> str:
    return "yes" if trial.works else f"no: {trial.step or 'not in this kernel'}"
