"""Grades in the formats of other programs, field by field."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ET

import pytest
from nsbox.grading import formats
from nsbox.grading.grades import Check, Grade
from nsbox.grading.text import plain

pytestmark = pytest.mark.pure

ATTEMPT = {"verdict": "TIMEOUT", "seconds": 5.0}
RIGHT = Grade(
    submission="ann",
    seconds=2.4,
    checks=(
        Check(name="test_lab.py::test_a", of=3.0, points=3.0, outcome="passed", attempts=({"verdict": "OK"},)),
        Check(
            name="test_lab.py::test_b", of=2.0, points=0.5, outcome="failed", visibility="hidden", message="secret 42",
            evidence="a tree", attempts=(ATTEMPT,),
        ),
        Check(name="test_lab.py::test_c", of=1.0, outcome="blocked", message="not run"),
    ),
)  # fmt: skip
WRONG = Grade(submission='=cmd|"/c calc"', checks=(), problem="pytest was killed")


def test_csv() -> None:
    """A name that a spreadsheet would execute is text; points of tests that did not run are empty."""
    header, first, second = csv.reader(formats.as_csv([RIGHT, WRONG]).splitlines())
    assert header[:5] == ["submission", "points", "of", "verdicts", "problem"]
    assert first == ["ann", "3.5", "6", "TIMEOUT", "", "3", "0.5", "0"]
    assert second == ["'" + WRONG.submission, "0", "6", "", "pytest was killed", "", "", ""]


def test_junit() -> None:
    """The points are properties of each test case, and names are unique, as GitLab needs it."""
    root = ET.fromstring(formats.as_junit([RIGHT, WRONG]).encode())
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["ann", WRONG.submission]
    assert {name: suites[0].get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "1", "errors": "0", "skipped": "1",
    }  # fmt: skip
    cases = suites[0].findall("testcase")
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == 3
    found = {one.get("name"): one.get("value") for one in cases[1].iterfind("properties/property")}
    assert found == {"points": "0.5", "of": "2", "verdicts": "TIMEOUT"}
    assert cases[1].findtext("failure") == "secret 42"
    assert cases[1].findtext("system-out") == "a tree"
    # Of a submission that could not be graded, GitLab would show nothing.
    assert (suites[1].get("tests"), suites[1].get("errors")) == ("1", "1")
    assert suites[1].findtext("testcase/error") == "pytest was killed"


def test_gradescope() -> None:
    """results.json: a score for each test, and Gradescope hides what is hidden."""
    found = json.loads(formats.as_gradescope(RIGHT))
    assert (found["score"], found["execution_time"], found["stdout_visibility"]) == (3.5, 2, "hidden")
    assert [(one["score"], one["max_score"], one["status"], one["visibility"]) for one in found["tests"]] == [
        (3.0, 3.0, "passed", "visible"),
        (0.5, 2.0, "failed", "hidden"),
        (0.0, 1.0, "failed", "visible"),
    ]
    assert found["tests"][1]["extra_data"] == {"attempts": [ATTEMPT]}
    assert "pytest was killed" in json.loads(formats.as_gradescope(WRONG))["output"]


def test_classroom() -> None:
    """The reporter adds the scores. Students see everything, so a hidden test has neither name nor message."""
    found = json.loads(formats.as_classroom(RIGHT))
    assert (found["status"], found["max_score"]) == ("fail", 6)
    assert [(one["name"], one["status"], one["score"], one["message"]) for one in found["tests"]] == [
        ("test_lab.py::test_a", "pass", 3, None),
        ("hidden test 2", "fail", 0.5, None),
        ("test_lab.py::test_c", "fail", 0, "not run"),
    ]
    assert json.loads(formats.as_classroom(WRONG))["status"] == "error"


def test_autolab() -> None:
    """The last line of the output has the scores, and the line before it the tests."""
    table, result = map(json.loads, formats.as_autolab(RIGHT, "Lab 2").splitlines())
    assert result == {"scores": {"Lab 2": 3.5}}
    assert table["_presentation"] == "semantic"
    assert table["stages"] == ["Tests"]
    assert table["Tests"]["hidden test 2"] == {"passed": False}
    assert table["Tests"]["test_lab.py::test_c"] == {"passed": False, "hint": "not run"}


@pytest.mark.parametrize("problem", ["Lab 2: sum", 'a"b', "x:y:z", "schön", "\\"])
def test_autolab_problem(problem: str) -> None:
    """Autolab puts quotes around each word before a colon, as it accepts results that are no JSON."""
    line = formats.as_autolab(RIGHT, problem).splitlines()[-1]
    # autolab/Autolab, app/helpers/assessment_autograde_core.rb, parseAutoresult
    assert json.loads(re.sub(r"([a-zA-Z0-9]+):", r'"\1":', line)) == {"scores": {problem: 3.5}}


HOSTILE = "a\n::add-mask::3\n  ::stop-commands::x\r\n\u2028::error::x\nb ::c ##[add-mask]x [[ATTACHMENT|/etc/passwd]]"


def test_commands_in_messages() -> None:
    """What a program has written is no command for GitHub Actions, and no link to a file for GitLab."""
    check = Check(name="test_lab.py::test_a", of=1.0, outcome="failed", message=HOSTILE, evidence=HOSTILE)
    grade = Grade(submission="eve", checks=(check,), problem=HOSTILE)
    found = json.loads(formats.as_classroom(grade))
    for text in (found["message"], found["tests"][0]["message"]):
        assert "##[" not in text
        # The runner trims a line before it looks for a command.
        assert not [line for line in text.splitlines() if line.strip().startswith("::")]
        assert "b ::c" in text
    evidence = ET.fromstring(formats.as_junit([grade]).encode()).findtext(".//system-out") or ""
    # gitlab-org/gitlab, lib/gitlab/ci/parsers/test/junit.rb, ATTACHMENT_TAG_REGEX
    assert not re.search(r"\[\[ATTACHMENT\|(?P<path>.+?)\]\]", evidence)
    assert "ATTACHMENT|/etc/passwd" in evidence


def test_nbgrader() -> None:
    """The columns are those of nbgrader export."""
    rows = list(csv.DictReader(formats.as_nbgrader([RIGHT], "lab2").splitlines()))
    assert [row["assignment"] for row in rows] == ["lab2"]
    assert {rows[0][name] for name in ("raw_score", "score")} == {"3.5"}
    assert (rows[0]["student_id"], rows[0]["max_score"], rows[0]["late_submission_penalty"]) == ("ann", "6", "0")


def test_json() -> None:
    """Everything that is known, with the sums."""
    found = json.loads(formats.as_json([RIGHT]))[0]
    assert (found["points"], found["of"], found["checks"][1]["attempts"]) == (3.5, 6.0, [ATTEMPT])


def test_plain_text_is_xml() -> None:
    """Every character that a program can write can be in XML after it was made visible."""
    text = plain("".join(map(chr, [*range(0x300), 0xD800, 0xFFFE, 0x202E, 0x10FFFF])))
    ET.fromstring(f"<a>{text.replace('&', '').replace('<', '')}</a>".encode())
