"""``nsbox grade``: run the tests of a lab for each submission of a class, held, and write the points."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nsbox.cli import _output
from nsbox.errors import SpecError
from nsbox.grading import formats
from nsbox.grading.grades import Grade, number
from nsbox.grading.runner import EMPTY, Lab, grade_all, names_of, test_files
from nsbox.grading.sandbox import SandboxLimits, open_sandbox
from nsbox.grading.text import one_line

__all__ = ["configure", "execute"]

_INTERRUPTED = 128 + 2
_FOR_CLASS: dict[str, Callable[[Sequence[Grade]], str]] = {
    "csv": formats.as_csv,
    "junit": formats.as_junit,
    "json": formats.as_json,
}
_FOR_ONE: dict[str, Callable[[Grade], str]] = {
    "gradescope": formats.as_gradescope,
    "classroom": formats.as_classroom,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("lab", type=Path, metavar="LAB", help="the directory with the test file of the lab")
    parser.add_argument(
        "submissions", type=Path, nargs="*", metavar="SUBMISSION",
        help="a file or directory for each student; by default all in LAB/submissions",
    )  # fmt: skip
    parser.add_argument("-n", "--workers", type=int, default=1, metavar="N", help="how many at a time; default: 1")
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="SECONDS", help="the time for each submission; default: 120"
    )
    parser.add_argument("--seed", type=int, default=0, help="on which the seed of each submission depends; default: 0")
    parser.add_argument(
        "--hide", type=Path, action="append", default=[], metavar="DIR", help="a directory that no submission sees"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table with the points of each test")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML, for GitLab and others")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, with verdicts and evidence")
    parser.add_argument("--nbgrader", type=Path, metavar="FILE", help="write the columns of nbgrader export")
    parser.add_argument(
        "--gradescope", type=Path, metavar="FILE", help="write results.json; for several submissions into a directory"
    )
    parser.add_argument(
        "--classroom", type=Path, metavar="FILE", help="write the result for GitHub Classroom; the same for several"
    )
    parser.add_argument(
        "--autolab", metavar="PROBLEM", help="print the last lines of an autograder of Autolab, for one submission"
    )
    parser.add_argument(
        "--expect", type=Path, metavar="FILE",
        help="a table with the columns submission and points: fail if a submission has other points",
    )  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Grade; return 1 if a person has to look at a grade, or if one is not as expected."""
    if importlib.util.find_spec("pytest") is None:
        print("nsbox grade: pytest is not installed. To install it: pip install 'nsbox[pytest]'", file=sys.stderr)
        return 1
    test_files(options.lab)
    if options.workers < 1:
        raise SpecError(f"-n: expected a number from 1, got {options.workers}")
    submissions = names_of(options.submissions or sorted((options.lab / "submissions").glob("*")))
    if not submissions:
        raise SpecError(f"no submission is given, and there is none in {options.lab}/submissions")
    if options.autolab is not None and len(submissions) > 1:
        raise SpecError("--autolab: is for one submission")
    outputs = [getattr(options, name) for name in ("csv", "junit", "json", "nbgrader", "gradescope", "classroom")]
    lab = Lab(
        directory=options.lab, seconds=options.timeout, seed=options.seed,
        hidden=[*options.hide, *[path.absolute().parent for path in outputs if path is not None]],
    )  # fmt: skip
    progress = _Progress(len(submissions))
    status = 0
    try:
        empty = _grade_empty(lab)
        if not empty.checks:
            print(f"nsbox grade: {options.lab}: {empty.problem}", file=sys.stderr)
            return 1
        grades = grade_all(lab, submissions, options.workers, progress.show)
    except KeyboardInterrupt:
        grades = sorted(progress.grades, key=lambda grade: grade.submission)
        empty = None
        status = _INTERRUPTED
    progress.end()
    if options.autolab is None:
        _output.write(_table(grades))
    _write(options, grades)
    if options.autolab is not None and grades:
        _output.write(formats.as_autolab(grades[0], options.autolab).rstrip("\n"))
    complaints = [f"{grade.submission}: {grade.problem}" for grade in grades if grade.problem]
    if empty is not None and empty.points > 0:
        tests = ", ".join(check.name for check in empty.checks if check.points)
        complaints.append(
            f"{EMPTY}: earns {number(empty.points)} of {number(empty.of)} points, in {tests}. Add "
            "@pytest.mark.requires(...) to these tests, with a test that needs work of the student"
        )
    complaints += _unexpected(options.expect, grades) if options.expect else []
    for complaint in complaints:
        print(f"nsbox grade: {complaint}", file=sys.stderr)
    return status or bool(complaints)


def _grade_empty(lab: Lab) -> Grade:
    """Grade a submission without any file.

    Raises:
        NsboxError: where no sandbox can be made: that is no fault of any submission.
    """
    with tempfile.TemporaryDirectory(prefix="nsbox-empty-") as directory:
        with open_sandbox(Path(directory), [], SandboxLimits(), namespaces=False, options={}):
            pass
        return grade_all(lab, {EMPTY: Path(directory)})[0]


def _write(options: argparse.Namespace, grades: Sequence[Grade]) -> None:
    for name, for_class in _FOR_CLASS.items():
        if (path := getattr(options, name)) is not None:
            path.write_text(for_class(grades), encoding="utf-8")
    if options.nbgrader is not None:
        options.nbgrader.write_text(formats.as_nbgrader(grades, options.lab.resolve().name), encoding="utf-8")
    for name, for_one in _FOR_ONE.items():
        path = getattr(options, name)
        if path is None:
            continue
        if len(grades) == 1:
            path.write_text(for_one(grades[0]), encoding="utf-8")
            continue
        path.mkdir(exist_ok=True)
        for grade in grades:
            (path / f"{grade.submission.replace('/', '_')}.json").write_text(for_one(grade), encoding="utf-8")


def _table(grades: Sequence[Grade]) -> str:
    width = max((len(grade.submission) for grade in grades), default=0)
    return "\n".join(
        f"{grade.submission:{width}}  {number(grade.points):>5} of {number(grade.of):>5}  "
        f"{' '.join(grade.verdicts)}{'  (look at it)' if grade.problem else ''}".rstrip()
        for grade in grades
    )


def _unexpected(path: Path, grades: Sequence[Grade]) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        expected = {row["submission"]: float(row["points"]) for row in csv.DictReader(file)}
    found = {grade.submission: grade.points for grade in grades}
    return [
        f"{name}: {number(found[name]) if name in found else 'no'} points, but {path.name} expects "
        f"{number(expected[name]) if name in expected else 'no such submission'}"
        for name in sorted(expected.keys() | found.keys())
        if name not in found or name not in expected or abs(found[name] - expected[name]) > 0.005
    ]


class _Progress:
    """A line that shows how far the class is: rewritten on a terminal, and printed now and then elsewhere."""

    _PARTS = 10

    def __init__(self, count: int) -> None:
        self.grades: list[Grade] = []
        self._count = count
        self._begin = time.monotonic()
        self._is_terminal = sys.stderr.isatty()

    def show(self, grade: Grade) -> None:
        self.grades.append(grade)
        done = len(self.grades)
        left = (time.monotonic() - self._begin) / done * (self._count - done)
        text = f"{done} of {self._count} graded, about {left:.0f} s left; {one_line(grade.submission)}: "
        text += f"{number(grade.points)} of {number(grade.of)}"
        if self._is_terminal:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # some terminals have no size
            print(f"\r\x1b[K{text[: columns - 1]}", end="", file=sys.stderr, flush=True)
        elif done * self._PARTS // self._count != (done - 1) * self._PARTS // self._count:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_terminal and self.grades:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
