"""The points of a submission: `Grade`, made of the `Check` of each test. And the lines in which pytest reports them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nsbox.grading.text import one_line, plain, shortened

__all__ = ["MAX_LINE_BYTES", "OUTCOMES", "VISIBILITIES", "Check", "Grade", "Report", "check_line", "number", "total"]

OUTCOMES = ("passed", "failed", "blocked", "skipped", "error", "pending")
"""Blocked: a test that it requires has failed. Skipped, error: the grader has to look. Pending: not reported yet."""
VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")
"""When students see a test: the words of Gradescope."""
MAX_LINE_BYTES = 1 << 20
_MAX_CHECKS = 10_000
_MAX_TEXT_CHARACTERS = 16_000
_MAX_ATTEMPTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one test says about a submission.

    Attributes:
        name: Its name in the test file.
        of: The points that it can give.
        points: The points that it has given.
        outcome: One of `OUTCOMES`.
        visibility: When students see it.
        message: Why it has not given all points.
        evidence: What there was to see when it failed.
        seconds: How long it took.
        attempts: The programs of the submission that it ran, as `Attempt.to_dict` returns them.
    """

    name: str
    of: float = 0.0
    points: float = 0.0
    outcome: str = "pending"
    visibility: str = "visible"
    message: str = ""
    evidence: str = ""
    seconds: float = 0.0
    attempts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """The points of a submission.

    Attributes:
        submission: Its name.
        checks: What each test says.
        problem: Why a person has to look at it: the grader's own machinery failed, and not the submission. Else empty.
        seconds: How long it took.
    """

    submission: str
    checks: tuple[Check, ...] = ()
    problem: str = ""
    seconds: float = 0.0

    @property
    def points(self) -> float:
        """The points that it has earned."""
        return sum((check.points for check in self.checks), 0.0)

    @property
    def of(self) -> float:
        """The points that it could earn."""
        return sum((check.of for check in self.checks), 0.0)

    @property
    def verdicts(self) -> list[str]:
        """The verdicts other than OK and ERROR of its programs, each once."""
        found = (str(attempt["verdict"]) for check in self.checks for attempt in check.attempts)
        return list(dict.fromkeys(verdict for verdict in found if verdict not in ("OK", "ERROR")))

    def to_dict(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        return {**asdict(self), "points": self.points, "of": self.of}


def number(value: float) -> str:
    """Return points as text, without a fraction where there is none."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


# The lines. pytest runs the grader's tests, and these may run a submission in their own process by mistake. So what
# arrives is checked, and one test cannot report for another one that has reported before.


def check_line(check: Check) -> bytes:
    """Return the line for a test: when it was found, and again when its points are known."""
    text = {name: shortened(plain(getattr(check, name)), _MAX_TEXT_CHARACTERS) for name in ("message", "evidence")}
    cut = replace(check, **text, attempts=check.attempts[:_MAX_ATTEMPTS])  # type: ignore[arg-type]
    line = json.dumps(asdict(cut)).encode()
    if len(line) >= MAX_LINE_BYTES:
        line = json.dumps(asdict(replace(cut, attempts=(), evidence=""))).encode()
    return line + b"\n"


class Report:
    """The checks that a run of pytest has reported so far.

    Attributes:
        problems: What a person has to look at.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._checks: dict[str, Check] = {}
        self.problems: list[str] = []

    def add(self, line: bytes) -> None:
        """Add a line. One that has another form is a problem, and changes no points."""
        try:
            check = _checked(json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            self.problems.append(f"a damaged line in the report of the tests: {plain(str(error))[:200]}")
            return
        before = self._checks.get(check.name)
        if before is None and len(self._checks) < _MAX_CHECKS:
            self._checks[check.name] = check
        elif before is not None and before.outcome == "pending":
            self._checks[check.name] = replace(check, of=before.of, points=min(check.points, before.of))
        if check.outcome in ("skipped", "error"):
            self.problems.append(f"{check.name}: {check.outcome}: {' '.join(check.message.split())[:600]}")

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks, in the order in which the tests were found."""
        return tuple(self._checks.values())

    @property
    def pending(self) -> list[str]:
        """The tests that were found and have not reported their points."""
        return [check.name for check in self.checks if check.outcome == "pending"]


def _checked(data: Any) -> Check:
    """Return a check of data that was received.

    Raises:
        ValueError: for anything that is no check.
    """
    if not isinstance(data, dict) or data.keys() != {field.name for field in fields(Check)}:
        raise ValueError("expected the fields of a check")
    for name in ("name", "outcome", "visibility", "message", "evidence"):
        if not isinstance(data[name], str):
            raise ValueError(f"{name}: expected text")
    for name in ("of", "points", "seconds"):
        value = data[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{name}: expected a number from 0")
    if data["points"] > data["of"] or data["outcome"] not in OUTCOMES or data["visibility"] not in VISIBILITIES:
        raise ValueError("expected points up to the limit, a known outcome and a known visibility")
    attempts = _attempts(data["attempts"])
    return Check(**{**data, "attempts": attempts, "name": one_line(data["name"])})


def _attempts(data: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(data, list) or len(data) > _MAX_ATTEMPTS or not all(isinstance(one, dict) for one in data):
        raise ValueError("attempts: expected a list of dictionaries")
    for one in data:
        if not isinstance(one.get("verdict"), str):
            raise ValueError("attempts: expected a verdict")
    return tuple(data)


def total(grades: Iterable[Grade]) -> float:
    """Return the points that a submission of the class could earn: not each run has got far enough to know."""
    return max((grade.of for grade in grades), default=0.0)
