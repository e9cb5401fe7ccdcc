"""A class: submissions of a lab of examples/lab, as many as are wanted, and the points that each deserves."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.far import become
from tests.support.forked import Who

__all__ = ["HOSTILE", "LABS", "copy_lab", "expected", "nsbox_grade", "scores", "write_class"]

LABS = Path(__file__).parents[2] / "examples" / "lab"

HOSTILE = (
    "fork-bomb", "endless-output", "forges-the-report", "poses-as-pytest", "kills-the-grader", "fills-the-disk",
    "sleeps-for-ever", "growing-memory", "links", "reads-the-answer", "reads-the-others", "traces", "detaches-mounts",
    "escapes", "fills-the-inodes", "huge-memory", "race-on-the-evidence", "fakes-proc", "burns-cpu", "daemon",
    "deletes-everything", "reads-devices", "signals-everything", "changes-limits", "poses-as-init",
)  # fmt: skip
"""The hostile submissions of the lab `hostile`. The first five are in the small class."""


def expected(lab: str) -> dict[str, float]:
    """Return the points that each submission of a lab deserves."""
    with (LABS / lab / "expected.csv").open(newline="") as file:
        return {row["submission"]: float(row["points"]) for row in csv.DictReader(file)}


def copy_lab(lab: str, place: Path) -> Path:
    """Copy a lab without its submissions, readable for every user."""
    target = place / lab
    shutil.copytree(LABS / lab, target, ignore=shutil.ignore_patterns("__pycache__", "submissions"))
    return target


def write_class(lab: str, directory: Path, names: list[str]) -> dict[str, float]:
    """Copy these submissions of a lab into a directory, each under a name of its own; return what they deserve."""
    points = expected(lab)
    directory.mkdir()
    deserved = {}
    for index, name in enumerate(names):
        source = LABS / lab / "submissions" / name
        target = directory / f"{index:03}-{name}"
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy(source, target)
        deserved[target.name] = points[name]
    return deserved


def scores(table: Path) -> dict[str, float]:
    """Return the points in a table that `nsbox grade --csv` has written."""
    with table.open(newline="") as file:
        return {row["submission"]: float(row["points"]) for row in csv.DictReader(file)}


def nsbox_grade(who: Who, place: Path, *arguments: str, limit: float = 500) -> subprocess.CompletedProcess[str]:
    """Run `nsbox grade` as this user in a directory. Its temporary files are in ``tmp`` there, and must be gone."""
    temporary = place / "tmp"
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o777)
    place.chmod(0o777)
    change = become(who, place)

    def change_user() -> None:
        if change is not None:
            change()
            os.chdir(place)

    environment = {**os.environ, "TMPDIR": str(temporary), "COLUMNS": "100"}
    output = place / "output"
    # Files: a process that is left behind and holds a pipe open would block this test.
    with output.open("w") as out, (place / "errors").open("w") as errors:
        done = subprocess.run(
            [sys.executable, "-m", "nsbox", "grade", *arguments], cwd=place, env=environment,
            stdin=subprocess.DEVNULL, stdout=out, stderr=errors, timeout=limit, check=False,
            preexec_fn=change_user,
        )  # fmt: skip
    found = subprocess.CompletedProcess(arguments, done.returncode, output.read_text(), (place / "errors").read_text())
    print(found.stdout, found.stderr)  # shown when a test fails
    assert os.listdir(temporary) == []
    return found
