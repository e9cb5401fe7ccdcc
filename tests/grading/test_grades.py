"""Points as data: what is believed of the lines that a run of pytest reports."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from nsbox.grading.grades import Check, Grade, Report, check_line, number

pytestmark = pytest.mark.pure

FOUND = Check(name="t::a", of=3.0)


def _report(*lines: bytes) -> Report:
    report = Report()
    for line in lines:
        report.add(line.rstrip(b"\n"))
    return report


def test_points_of_a_test() -> None:
    """A test is found first, and has its points later."""
    report = _report(check_line(FOUND))
    assert report.pending == ["t::a"]
    report.add(check_line(replace(FOUND, points=2.0, outcome="failed", message="why")))
    assert report.pending == []
    assert Grade(submission="s", checks=report.checks).points == 2.0
    assert report.problems == []


def test_reported_twice() -> None:
    """The first report counts, as for a program that would report for a test that has failed."""
    report = _report(
        check_line(FOUND),
        check_line(replace(FOUND, outcome="failed")),
        check_line(replace(FOUND, outcome="passed", points=3.0)),
    )
    assert report.checks[0].points == 0


def test_more_points_than_there_are() -> None:
    """What a test can give was said when it was found."""
    report = _report(check_line(FOUND), check_line(replace(FOUND, of=100.0, points=100.0, outcome="passed")))
    assert (report.checks[0].points, report.checks[0].of) == (3.0, 3.0)


@pytest.mark.parametrize(
    "change",
    [
        {"points": -1.0}, {"points": 4.0}, {"points": float("nan")}, {"points": float("inf")}, {"points": True},
        {"points": "3"}, {"of": None}, {"outcome": "great"}, {"visibility": "no"}, {"name": 1}, {"message": None},
        {"attempts": "x"}, {"attempts": [1]}, {"attempts": [{}]}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_damaged_lines(change: dict[str, object]) -> None:
    """A line in any other form changes no points, and is a problem for a person to look at."""
    report = _report(json.dumps(asdict(FOUND) | change).encode())
    assert report.checks == ()
    assert report.problems


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"1"])
def test_no_json(line: bytes) -> None:
    """No data of any kind raises."""
    assert _report(line).problems


def test_control_characters() -> None:
    """What a program has written is visible, and does nothing to a terminal."""
    line = check_line(replace(FOUND, message="\x1b]0;owned\x07\u202e", outcome="failed"))
    assert json.loads(line)["message"] == "\\x1b]0;owned\\x07\\u202e"


def test_long_text() -> None:
    """A message is shortened in its middle, and a line has a limit whatever it carries."""
    line = check_line(replace(FOUND, message="a" * 10**6, evidence="b" * 10**6, attempts=({"verdict": "x" * 10**7},)))
    assert len(line) < 1 << 20
    assert _report(check_line(FOUND), line).problems == []


def test_the_grader_has_to_look() -> None:
    """A test that was skipped, or could not be set up, is no fault of the submission."""
    for outcome in ("skipped", "error"):
        report = _report(check_line(FOUND), check_line(replace(FOUND, outcome=outcome, message="no namespaces\nmore")))
        assert report.problems == [f"t::a: {outcome}: no namespaces more"]


def test_numbers() -> None:
    """Points have a fraction only where there is one."""
    assert [number(one) for one in (3.0, 2.5, 0.0, 10.0, 1 / 3)] == ["3", "2.5", "0", "10", "0.33"]
