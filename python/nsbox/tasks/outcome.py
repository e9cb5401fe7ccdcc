"""How tasks have ended: `Outcome`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nsbox.start.verdict import Verdict

__all__ = ["Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a task. It pickles if the value does.

    Attributes:
        verdict: How the task has ended.
        value: What the function returned; None unless the verdict is OK.
        error: What ``result()`` raises; None if the verdict is OK.
        seconds: How long it took, including the creation of its namespaces; 0 if it was cancelled before.
        stdout: Its output, if that was captured.
        stderr: Its output to standard error, if that was captured.
        truncated: Whether a part of its output is missing, as there was more than `max_output`.
    """

    verdict: Verdict
    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    stdout: str | None = None
    stderr: str | None = None
    truncated: bool = False
