"""The labs in examples/lab: every model answer and every wrong answer gets the points that it deserves."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest

from tests.support.census import reaped_all, wait_until
from tests.support.forked import Who
from tests.support.lab_class import LABS, copy_lab, expected, nsbox_grade, scores, write_class
from tests.support.needs import needs

WAS_HERE = [Path(place, "nsbox-lab-was-here") for place in ("/tmp", "/dev/shm", "/")]
SENTENCES = {
    "no-fork.sh": "a PID namespace was unshared without a fork, for the children only: unshare needs --fork (-f)",
    "no-proc.sh": "no proc was mounted after the PID namespace was made: mount -t proc proc /proc",
    "no-mount-namespace.sh": "unshare without --mount (-m)",
}
TOOLS = {"runtime": ("cc", "ldd"), "firewall": ("ip",)}


@pytest.mark.limit(600)
def test_twenty_submissions(place: Path) -> None:
    """Two processes grade: each submission gets its points, whatever the others do, and nothing is left of any."""
    copy_lab("exercise", place)
    names = list(itertools.islice(itertools.cycle(expected("exercise")), 20))
    deserved = write_class("exercise", place / "class", names)
    submissions = [f"class/{name}" for name in deserved]
    done = nsbox_grade(Who("root"), place, "exercise", *submissions, "-n", "2", "--csv", "points.csv")
    assert done.returncode == 0
    assert scores(place / "points.csv") == deserved
    assert not [path for path in WAS_HERE if path.exists()]
    assert sorted(path.name for path in (place / "class").iterdir()) == sorted(deserved)
    assert wait_until(reaped_all)


@pytest.mark.limit(600)
@pytest.mark.parametrize("lab", ["runtime", "firewall", "hostile"])
def test_each_lab(who: Who, place: Path, lab: str) -> None:
    """As root and as an ordinary user, the points are those of the table of the lab, and an empty one has none."""
    for tool in TOOLS.get(lab, ()):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not there")
    if lab == "firewall":
        pytest.importorskip("pyroute2")
    _graded(who, place, lab)


@pytest.mark.limit(600)
def test_as_a_user(place: Path) -> None:
    """An ordinary user gives the same points for the exercise as root in the test above."""
    user = Who("user")
    needs(user, "mip")
    _graded(user, place, "exercise")


def _graded(who: Who, place: Path, lab: str) -> None:
    """Grade what comes with a lab, and compare the points with its table."""
    directory = copy_lab(lab, place)
    shutil.copytree(LABS / lab / "submissions", directory / "submissions", symlinks=True)
    done = nsbox_grade(who, place, lab, "-n", "2", "--expect", f"{lab}/expected.csv", "--csv", "points.csv", limit=580)
    assert done.returncode == 0, done.stderr
    assert scores(place / "points.csv") == expected(lab)
    assert not [path for path in WAS_HERE if path.exists()]
    assert wait_until(reaped_all)


def test_nothing_earns_nothing(place: Path) -> None:
    """In each lab, the submission that does nothing has no points, and neither has an empty directory."""
    (place / "empty").mkdir()
    for lab in TOOLS.keys() | {"exercise", "hostile"}:
        name = "nothing.sh" if lab == "exercise" else "nothing"
        assert expected(lab)[name] == 0
        copy_lab(lab, place)
    nsbox_grade(
        Who("root"), place, "exercise", "empty", str(LABS / "exercise/submissions/nothing.sh"), "--csv", "a.csv"
    )
    assert scores(place / "a.csv") == {"empty": 0, "nothing.sh": 0}


def test_messages(who: Who, place: Path) -> None:
    """A failed check has the sentence that names the missing step, and what there was to see."""
    copy_lab("exercise", place)
    for name in SENTENCES:
        shutil.copy(LABS / "exercise" / "submissions" / name, place / name)
    nsbox_grade(who, place, "exercise", *SENTENCES, "-n", "2", "--json", "grades.json")
    for grade in json.loads((place / "grades.json").read_text()):
        failed = [check for check in grade["checks"] if check["outcome"] == "failed"]
        assert any(SENTENCES[grade["submission"]] in check["message"] for check in failed), failed
        assert all("bash" in check["evidence"] for check in failed)
