"""Write the new output into the text of a transcript: `updated`."""

from __future__ import annotations

import re

from nsbox.transcript.match import ELLIPSES, as_expected, line_matches
from nsbox.transcript.session import Checked, CheckedStep

__all__ = ["updated"]

_AMBIGUOUS = re.compile(
    r"^(?:\S*[$#](?: |$)|> |```|~~~|\.{4,}$|-{4,}$|\[\d+\]$|\s*(?:<!--|//|#)\s*nsbox:|.* \((?:re|glob|esc|no-eol)\)$)"
)


def updated(checked: Checked) -> str:
    """Return the text of the file with the new output of the steps that failed.

    In such an output, lines that match the expected ones are kept, with their masks and ellipses. Steps that passed
    are not changed, nor are those that reached their timeout and those whose output is not compared.
    """
    lines = checked.transcript.text.splitlines(keepends=True)
    for result in reversed(checked.results):
        step = result.step
        if result.outcome != "failed" or result.status is None or step.place is None or step.expected is None:
            continue
        output = [*_new_lines(result), *([f"[{result.status}]"] if result.status else [])]
        begin, end = step.place
        # The line with the status, if the file has one, follows the output.
        end += end < len(lines) and re.fullmatch(rf"{step.indent}\[\d+\]\n?", lines[end]) is not None
        lines[begin:end] = [f"{step.indent}{line}\n" for line in output]
    return "".join(lines)


def _new_lines(result: CheckedStep) -> list[str]:
    expected, masks = result.step.expected or (), result.step.masks
    kept = as_expected(expected, result.output, masks)
    # A line that `read` would take for a command or a directive is written as a pattern.
    return [line if line in expected else _escaped(line) for line in kept]


def _escaped(line: str) -> str:
    ambiguous = _AMBIGUOUS.match(line) or line.strip() in ELLIPSES or not line_matches(line, line)
    return f"{re.escape(line)} (re)" if ambiguous else line
