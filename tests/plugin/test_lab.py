"""The lab in examples/lab: a class is graded in one run, including hostile submissions."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.support.census import reaped_all, wait_until
from tests.support.forked import Who
from tests.support.inner_pytest import Inner

LAB = Path(__file__).parents[2] / "examples" / "lab"
SCORES = {
    "right": 10,
    "right-in-one-line": 10,
    "no-fork": 5,  # neither the PID namespace, nor number 1, nor what /proc shows
    "no-mount-namespace": 8,  # the new proc covers that of the first shell
    "no-ipc-namespace": 9,
    "no-proc": 8,
    "proc-too-early": 8,
    "not-bash": 8,
    "hangs": 9,
    "cannot-be-interrupted": 1,
    "fork-bomb": 0,
    "daemon": 9,
    "ends-pid-1": 3,
    "kills-everything": 3,
    "kills-pid-1": 10,  # from inside, the kernel ignores it (pid_namespaces(7))
    "attacks": 1,
    "nothing": 3,
}
WAS_HERE = [Path(place, "nsbox-lab-was-here") for place in ("/tmp", "/dev/shm", "/")]


@pytest.mark.limit(600)
def test_forty_submissions(place: Path) -> None:
    """Two processes grade: each submission gets its points, whatever the others do, and nothing is left of any."""
    pytest.importorskip("xdist")
    _class(place, 40)
    before = time.monotonic()
    result = Inner(place, Who("root")).run("-n", "2", "--dist", "loadgroup", "--tb=line", "lab", limit=500)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert _scores(result) == _expected(40), f"after {time.monotonic() - before:.0f} s"
    assert not [path for path in WAS_HERE if path.exists()]
    assert sorted(os.listdir(place / "lab" / "class")) == sorted(f"{name}.txt" for name in _expected(40))
    assert wait_until(reaped_all)


@pytest.mark.limit(600)
def test_as_a_user(place: Path) -> None:
    """A grader without privileges gives the same points, and they are in JUnit's report."""
    _class(place, len(SCORES))
    inner = Inner(place, Who("user"))
    result = inner.run("--tb=line", "--junitxml=tmp.xml", "-o", "junit_family=xunit1", "lab", limit=500)
    assert _scores(result) == _expected(len(SCORES))
    assert not [path for path in WAS_HERE if path.exists()]
    points = re.findall(r'<property name="points" value="(\d+)"', (place / "tmp.xml").read_text())
    assert sum(map(int, points)) == sum(SCORES.values())
    assert wait_until(reaped_all)


def test_messages(place: Path) -> None:
    """A failed check has the message of the lesson."""
    _class(place, len(SCORES))
    result = Inner(place, Who("root")).run("lab", "-k", "no-fork or no-proc or no-mount-namespace")
    result.stdout.fnmatch_lines_random([
        "*likely:   a PID namespace was unshared without a fork, for the children only: unshare needs --fork (-f)",
        "*likely:   no proc was mounted after the PID namespace was made: mount -t proc proc /proc",
        "*likely:   unshare without --mount (-m)",
    ])  # fmt: skip


def _expected(count: int) -> dict[str, int]:
    names = list(SCORES)
    return {f"{names[index % len(names)]}-{index}": SCORES[names[index % len(names)]] for index in range(count)}


def _class(place: Path, count: int) -> None:
    """Copy the lab, with this many submissions."""
    assert {path.stem for path in (LAB / "submissions").glob("*.txt")} == SCORES.keys()
    shutil.copytree(LAB, place / "lab", ignore=shutil.ignore_patterns("__pycache__", "submissions"))
    (place / "lab" / "class").mkdir()
    for name in _expected(count):
        shutil.copy(LAB / "submissions" / f"{name.rpartition('-')[0]}.txt", place / "lab" / "class" / f"{name}.txt")
    ini = place / "lab" / "pytest.ini"
    ini.write_text(ini.read_text().replace("addopts =", f"addopts = --submissions={place}/lab/class"))
    # pytest.ini is found from the arguments, and the user must be able to write JUnit's report.
    os.chmod(place, 0o777)


def _scores(result: pytest.RunResult) -> dict[str, int]:
    found = re.findall(r"^(\S+) +(\d+) of 10$", result.stdout.str(), re.MULTILINE)
    return {name: int(points) for name, points in found}
