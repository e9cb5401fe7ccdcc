"""A class that is interrupted, a grader that dies, and one submission with pytest's own command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nsbox.errors import SpecError
from nsbox.grading.runner import Lab, grade, names_of, test_files

from tests.support.census import descendants, reaped_all, wait_until
from tests.support.far import become
from tests.support.forked import Who
from tests.support.lab_class import copy_lab

test_files.__test__ = False  # type: ignore[attr-defined]

SLOW_LAB = """
import pytest

@pytest.mark.points(1)
@pytest.mark.limits(seconds=1000)
def test_one(submission):
    assert submission.run(["sh", "main.sh"]).ok
"""
HANGING_LAB = """
import threading

def test_one(submission):
    process = submission.start(["sleep", "86422"])
    threading.Event().wait()
"""


def _class(place: Path, lab: str, **submissions: str) -> list[str]:
    (place / "lab").mkdir()
    (place / "lab" / "test_lab.py").write_text(lab)
    for name, text in submissions.items():
        (place / name).mkdir()
        (place / name / "main.sh").write_text(text)
    return [sys.executable, "-m", "nsbox", "grade", "lab", *submissions]


def _has(text: str) -> Callable[[], bool]:
    """Return a condition: a descendant of this process has this in its command line."""

    def found() -> bool:
        for pid in descendants():
            try:
                if text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "):
                    return True
            except OSError:
                continue
        return False

    return found


def test_interrupted(place: Path) -> None:
    """After Ctrl-C, what was graded so far is written, and nothing runs any more."""
    command = _class(place, SLOW_LAB, ann="true", bob="exec sleep 86423")
    with subprocess.Popen([*command, "--csv", "points.csv"], cwd=place) as process:
        assert wait_until(_has("sleep 86423"))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert (place / "points.csv").read_text().splitlines()[1:] == ["ann,1,1,,,1"]
    assert wait_until(reaped_all)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_grader_dies(place: Path, number: int) -> None:
    """Its runs of pytest end with it, even those that wait for ever, and their sandboxes."""
    command = _class(place, HANGING_LAB, ann="", bob="")
    environment = {**os.environ, "TMPDIR": str(place)}
    with subprocess.Popen([*command, "-n", "2"], cwd=place, env=environment) as process:
        assert wait_until(_has("sleep 86422"))
        process.send_signal(number)
        process.wait(60)
    assert wait_until(reaped_all)


def test_plain_pytest(place: Path) -> None:
    """One submission can be graded with pytest's own output, from any directory."""
    copy_lab("hostile", place)
    (place / "ann").mkdir()
    (place / "ann" / "total.sh").write_text("echo 3\n")
    command = [sys.executable, "-m", "pytest", "-p", "nsbox.grading.lab", "hostile", "--submission", "ann", "-rA"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "PASSED hostile/test_total.py::test_two_numbers" in done.stdout
    assert "what there was to see" in done.stdout
    assert "sh total.sh: OK" in done.stdout


def test_without_namespaces(who: Who, place: Path) -> None:
    """Where no sandbox can be made, no student gets 0 points for it: the grader is told why, and no test is run."""
    command = _class(place, SLOW_LAB, ann="true")
    # A limit of zero user namespaces holds in a new user namespace alone (namespaces(7)).
    limit = 'cd "$0" && echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    wrapped = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", limit, str(place), *command]
    wrapped += ["--json", "grades.json"]
    done = subprocess.run(wrapped, capture_output=True, text=True, check=False, preexec_fn=become(who, place))
    assert done.returncode == 1
    assert done.stderr.startswith("nsbox grade: ")
    # Root of a user namespace fails earlier: it has no ranges of ids to give.
    assert ("private_ids: no 65536 ids" if who.is_root else "max_user_namespaces") in done.stderr
    assert "graded" not in done.stderr
    assert not (place / "grades.json").exists()


def test_names() -> None:
    """A submission has the name of its file, and the path where two have the same."""
    found = names_of([Path("a/x"), Path("b/x"), Path("b/y")])
    assert found == {"a/x": Path("a/x"), "b/x": Path("b/x"), "y": Path("b/y")}
    with pytest.raises(SpecError, match="given twice"):
        names_of([Path("a"), Path("a")])
    # What is shown of two names can be the same; one student's name does not stop the class.
    assert list(names_of([Path("a\nb"), Path(r"a\nb"), Path("a\tb")])) == [r"a\nb", r"a\nb (2)", r"a\tb"]


def test_a_name_for_a_terminal(place: Path) -> None:
    """A student can choose the name of a file: it is text on the terminal and in XML, and no control sequence."""
    command = _class(place, SLOW_LAB, **{"\x1b]0;owned\x07": "true", "=cmd": "true", "eve\nbob 9 of": "true"})
    done = subprocess.run(
        [*command, "--csv", "points.csv", "--junit", "points.xml", "--gradescope", "each"],
        cwd=place, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = [(place / name).read_bytes() for name in ("points.csv", "points.xml")]
    assert not any(byte in text for text in (done.stdout, done.stderr, *written) for byte in (b"\x1b", b"\x07"))
    assert b"'=cmd,1,1" in written[0]
    # A name is one line, and no line of the table that looks like that of another student.
    assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(b"bob")]
    assert sorted(os.listdir(place / "each")) == ["=cmd.json", "\\x1b]0;owned\\x07.json", "eve\\nbob 9 of.json"]


CONFTEST = """
import pytest

@pytest.fixture
def word():
    return "of the lab"
"""
OWN_FILES = """
import pytest

@pytest.mark.points(1)
def test_one(submission, word, pytestconfig):
    assert word == "of the lab"
    assert pytestconfig.getini("xfail_strict") is True
    assert not pytestconfig.pluginmanager.has_plugin("xdist")
    assert submission.run(["cat", "main.sh"]).ok
"""


def test_files_of_a_lab(place: Path) -> None:
    """A lab can have a conftest.py and a pytest.ini. Configuration above it, and other plugins, take no part."""
    command = _class(place, OWN_FILES, ann="")
    (place / "lab" / "conftest.py").write_text(CONFTEST)
    (place / "lab" / "pytest.ini").write_text("[pytest]\nxfail_strict = true\n")
    (place / "conftest.py").write_text("raise SystemExit('above the lab')\n")
    (place / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--no-such-option"\n')
    subprocess.run([*command, "--csv", "points.csv"], cwd=place, check=True)
    assert (place / "points.csv").read_text().splitlines()[1] == "ann,1,1,,,1"


def test_expected_points(place: Path) -> None:
    """A grade that is not as expected is named, and so is a submission that is missing: so a lab tests itself."""
    command = _class(place, SLOW_LAB, ann="true", bob="false")
    for name in ("ann", "bob"):
        (place / "lab" / "submissions").mkdir(exist_ok=True)
        (place / name).rename(place / "lab" / "submissions" / name)
    (place / "expected.csv").write_text("submission,points\nann,1\nbob,0.5\neve,0\n")
    command = [*command[:-2], "-n", "2", "--expect", "expected.csv"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nsbox grade: bob: 0 points, but expected.csv expects 0.5" in done.stderr
    assert "nsbox grade: eve: no points, but expected.csv expects 0" in done.stderr
    assert "nsbox grade: ann" not in done.stderr


def test_no_tests(tmp_path: Path) -> None:
    """A directory without a test file is no lab."""
    with pytest.raises(SpecError, match=r"has no test file: expected test_\*\.py"):
        test_files(tmp_path)


def test_a_lab_that_cannot_be_imported(tmp_path: Path) -> None:
    """The fault of the lab is the problem of the grade, with the end of pytest's output."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "test_lab.py").write_text("import no_such_module\n")
    (tmp_path / "work").mkdir()
    found = grade(Lab(directory=tmp_path / "lab"), "work", tmp_path / "work")
    assert "no_such_module" in found.problem
    assert json.dumps(found.to_dict())
