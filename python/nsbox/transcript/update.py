"""A transcript with what comes out now in the place of what was written: `updated`."""

from __future__ import annotations

import re

from nsbox.transcript.match import ELLIPSES, line_matches, written_as
from nsbox.transcript.session import Checked, StepResult

__all__ = ["updated"]

_MISTAKABLE = re.compile(
    r"^(?:\S*[$#](?: |$)|> |```|~~~|\.{4,}$|-{4,}$|\[\d+\]$|\s*(?:<!--|//|#)\s*nsbox:|.* \((?:re|glob|esc|no-eol)\)$)"
)


def updated(checked: Checked) -> str:
    """Return the text of the file with the outputs of the steps that were not as written.

    Of such an output the lines that were as written stay, masked or with ellipses as they may be. Steps that passed
    stay as they are, and so do those that came to no end and those of which no output is written.
    """
    lines = checked.transcript.text.splitlines(keepends=True)
    for result in reversed(checked.results):
        step = result.step
        if result.outcome != "failed" or result.status is None or step.place is None or step.expected is None:
            continue
        now = [*_recorded(result), *([f"[{result.status}]"] if result.status else [])]
        begin, end = step.place
        # The line with the status, if there is one, is behind the output.
        end += end < len(lines) and re.fullmatch(rf"{step.indent}\[\d+\]\n?", lines[end]) is not None
        lines[begin:end] = [f"{step.indent}{line}\n" for line in now]
    return "".join(lines)


def _recorded(result: StepResult) -> list[str]:
    expected, masks = result.step.expected or (), result.step.masks
    kept = written_as(expected, result.output, masks)
    # A line that would be read as something else is written as a pattern.
    return [line if line in expected else _plain(line) for line in kept]


def _plain(line: str) -> str:
    mistakable = _MISTAKABLE.match(line) or line.strip() in ELLIPSES or not line_matches(line, line)
    return f"{re.escape(line)} (re)" if mistakable else line
