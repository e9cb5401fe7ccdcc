"""Grades in the formats of other programs. Each function returns text; none of them decides anything.

| function | for | described at |
| --- | --- | --- |
| `as_csv` | spreadsheets | RFC 4180 |
| `as_junit` | GitLab and other continuous integration | docs.gitlab.com/ci/testing/unit_test_reports |
| `as_gradescope` | results.json of Gradescope | gradescope-autograders.readthedocs.io/en/latest/specs |
| `as_classroom` | the reporter of GitHub Classroom, as base64 | classroom-resources/autograding-grading-reporter |
| `as_autolab` | the last lines of output of an autograder of Autolab | docs.autolabproject.com/lab |
| `as_nbgrader` | the columns of ``nbgrader export`` | nbgrader, CsvExportPlugin |
"""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

from nsbox.grading.grades import Check, Grade, number, total

__all__ = ["as_autolab", "as_classroom", "as_csv", "as_gradescope", "as_json", "as_junit", "as_nbgrader"]

_FORMULA = ("=", "+", "-", "@", "\t")
"""A cell that begins with one of these is a formula for a spreadsheet."""
_CLASSROOM_VERSION = 3
_NBGRADER_COLUMNS = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
    "late_submission_penalty", "score", "max_score",
)  # fmt: skip


def as_json(grades: Sequence[Grade]) -> str:
    """Return everything that is known, as JSON."""
    return json.dumps([grade.to_dict() for grade in grades], indent=1) + "\n"


def as_csv(grades: Sequence[Grade]) -> str:
    """Return a line for each submission: its points, and those of each test."""
    tests = list(dict.fromkeys(check.name for grade in grades for check in grade.checks))
    of = total(grades)
    rows = [["submission", "points", "of", "verdicts", "problem", *tests]]
    for grade in grades:
        points = {check.name: number(check.points) for check in grade.checks}
        rows.append([
            _cell(grade.submission), number(grade.points), number(of), " ".join(grade.verdicts), _cell(grade.problem),
            *[points.get(test, "") for test in tests],
        ])  # fmt: skip
    return _table(rows)


def as_nbgrader(grades: Sequence[Grade], assignment: str) -> str:
    """Return the same columns as ``nbgrader export``; what only the gradebook knows is empty."""
    of = number(total(grades))
    rows = [list(_NBGRADER_COLUMNS)]
    for grade in grades:
        points = number(grade.points)
        known = {
            "assignment": assignment, "student_id": _cell(grade.submission), "raw_score": points,
            "late_submission_penalty": "0", "score": points, "max_score": of,
        }  # fmt: skip
        rows.append([known.get(column, "") for column in _NBGRADER_COLUMNS])
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_junit(grades: Sequence[Grade]) -> str:
    """Return JUnit's XML: a suite for each submission, and the points as properties of each test case."""
    root = ET.Element("testsuites", name="nsbox grade")
    for grade in grades:
        outcomes = [_junit_outcome(check) for check in grade.checks]
        problems = int(bool(grade.problem))
        suite = ET.SubElement(
            root, "testsuite", name=grade.submission, tests=str(len(outcomes) + problems),
            failures=str(outcomes.count("failure")), errors=str(outcomes.count("error") + problems),
            skipped=str(outcomes.count("skipped")), time=f"{grade.seconds:.3f}",
        )  # fmt: skip
        _properties(suite, points=number(grade.points), of=number(grade.of), problem=grade.problem)
        for check, outcome in zip(grade.checks, outcomes, strict=True):
            # GitLab drops all but the first of the test cases of one name.
            case = ET.SubElement(
                suite, "testcase", classname=grade.submission, name=f"{check.name} [{grade.submission}]",
                file=check.name.partition("::")[0], time=f"{check.seconds:.3f}",
            )  # fmt: skip
            verdicts = " ".join(str(attempt["verdict"]) for attempt in check.attempts)
            _properties(case, points=number(check.points), of=number(check.of), verdicts=verdicts)
            if outcome:
                found = ET.SubElement(case, outcome, message=check.message.partition("\n")[0])
                found.text = check.message
            if check.evidence:
                # GitLab links the file that such a mark names, and programs have written parts of the evidence.
                ET.SubElement(case, "system-out").text = check.evidence.replace("[[ATTACHMENT|", r"[\[ATTACHMENT|")
        if grade.problem:
            # A suite without a failed test case counts as passed, and GitLab shows no properties.
            case = ET.SubElement(
                suite, "testcase", classname=grade.submission, name=f"grading [{grade.submission}]", time="0.000"
            )
            ET.SubElement(case, "error", message=grade.problem.partition("\n")[0]).text = grade.problem
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _properties(parent: ET.Element, **values: str) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in values.items():
        if value:
            ET.SubElement(properties, "property", name=name, value=value)


def _junit_outcome(check: Check) -> str:
    return {"passed": "", "failed": "failure", "blocked": "skipped", "skipped": "skipped"}.get(check.outcome, "error")


def as_gradescope(grade: Grade) -> str:
    """Return results.json. Gradescope itself shows or hides each test by its visibility."""
    tests = [
        {
            "score": check.points,
            "max_score": check.of,
            "name": check.name,
            "status": "passed" if check.outcome == "passed" else "failed",
            "output": "\n\n".join(filter(None, (check.message, check.evidence))),
            "visibility": check.visibility,
            "extra_data": {"attempts": list(check.attempts)},
        }
        for check in grade.checks
    ]
    output = f"A person has to look at this: {grade.problem}" if grade.problem else ""
    data = {
        "score": grade.points, "execution_time": round(grade.seconds), "output": output,
        "visibility": "visible", "stdout_visibility": "hidden", "tests": tests,
    }  # fmt: skip
    return json.dumps(data, indent=1) + "\n"


def as_classroom(grade: Grade) -> str:
    """Return the result that a runner of GitHub Classroom passes to the reporter. Students see all of it."""
    tests = [
        {
            "name": name,
            "status": "pass" if check.outcome == "passed" else "error" if check.outcome == "error" else "fail",
            "score": _plain_number(check.points),
            "message": _without_commands(message) or None,
        }
        for name, message, check in _for_students(grade)
    ]
    is_right = all(check.outcome == "passed" for check in grade.checks)
    status = "error" if grade.problem else "pass" if is_right else "fail"
    data: dict[str, Any] = {"version": _CLASSROOM_VERSION, "status": status, "max_score": _plain_number(grade.of)}
    return json.dumps({**data, "message": _without_commands(grade.problem) or None, "tests": tests}) + "\n"


def _without_commands(text: str) -> str:
    """Return a text in which GitHub Actions finds no command: the reporter prints it into the log of the workflow.

    A command is a line that begins with ``::``, or has ``##[`` anywhere (actions/runner, ActionCommand).
    """
    lines = ("\\" * line.lstrip().startswith("::") + line for line in text.splitlines(keepends=True))
    return "".join(lines).replace("##[", r"##\[")


def as_autolab(grade: Grade, problem: str) -> str:
    """Return the last two lines of an autograder's output: a table of the tests, and the points. Students see both.

    Args:
        grade: The grade.
        problem: The name of the problem, as Autolab has it.
    """
    tests = {
        name: {"passed": check.outcome == "passed", **({"hint": message} if message else {})}
        for name, message, check in _for_students(grade)
    }
    table = {"_presentation": "semantic", "stages": ["Tests"], "Tests": tests}
    # Autolab puts quotes around what is before a colon (parseAutoresult), also in the name of a problem.
    name = json.dumps(problem).replace(":", r"\u003a")
    return f'{json.dumps(table)}\n{{"scores": {{{name}: {_plain_number(grade.points)}}}}}\n'


def _for_students(grade: Grade) -> list[tuple[str, str, Check]]:
    """Return each test with the name and the message that students may see."""
    seen = []
    for index, check in enumerate(grade.checks, 1):
        is_visible = check.visibility == "visible"
        seen.append((check.name if is_visible else f"hidden test {index}", check.message * is_visible, check))
    return seen


def _plain_number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else round(value, 2)
