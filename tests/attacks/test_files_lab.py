"""Hostile submissions of the lab in examples/lab are graded in bounded time, and get no points that they forge."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.census import reaped_all, wait_until
from tests.support.forked import Who
from tests.support.lab_class import LABS, copy_lab, nsbox_grade, scores

FORGED_PROC = """
unshare -mipf
mkdir -p /tmp/proc/1/ns
printf 'Name:\\tbash\\nNSpid:\\t1\\n' > /tmp/proc/1/status; ln -s /proc/self/ns/pid /tmp/proc/1/ns/pid
mount --rbind /tmp/proc /proc
true
"""
ENDLESS_FILES = """
unshare -mipf
mkdir -p /tmp/proc/1/ns
ln -s /dev/zero /tmp/proc/1/status; mkfifo /tmp/proc/1/stat; mkfifo /tmp/proc/1/ns/pid; mkfifo /tmp/proc/self
mount --rbind /tmp/proc /proc
"""
SUBMISSIONS = {
    "forged-proc": (FORGED_PROC, 8),  # all but the proc
    "endless-files": (ENDLESS_FILES, 8),
    "right": ("unshare -mipf\nmount -t proc none /proc\n", 10),
}


@pytest.mark.limit(600)
def test_hostile_submissions(who: Who, place: Path) -> None:
    """What a submission puts in the place of /proc gives no points; one that is no file of a student is refused."""
    copy_lab("exercise", place)
    for name, (text, _) in SUBMISSIONS.items():
        (place / f"{name}.sh").write_text(text.lstrip())
    (place / "link.sh").symlink_to("/dev/zero")
    os.mkfifo(place / "fifo.sh")
    with (place / "sparse.sh").open("w") as file:
        file.truncate(10 << 30)
    (place / "long.sh").write_text("sleep 1000\n" * 100_000)
    refused = ("link", "fifo", "sparse")
    names = [f"{name}.sh" for name in (*SUBMISSIONS, *refused, "long")]
    nsbox_grade(who, place, "exercise", *names, "-n", "2", "--csv", "points.csv", "--json", "grades.json")
    deserved = {f"{name}.sh": points for name, (_, points) in SUBMISSIONS.items()}
    assert scores(place / "points.csv") == deserved | {f"{name}.sh": 0 for name in (*refused, "long")}
    messages = {
        grade["submission"]: grade["checks"][0]["message"] for grade in json.loads((place / "grades.json").read_text())
    }
    for name in refused:
        assert "refused: " in messages[f"{name}.sh"], name
    assert wait_until(reaped_all)


TRAP = """
from pathlib import Path
Path({mark!r}).write_text("the grader has run it")
def pytest_runtest_makereport(item, call):
    raise SystemExit(0)
def test_free_points():
    pass
"""


def test_python_files_of_a_submission(who: Who, place: Path) -> None:
    """pytest neither collects nor imports a file of a submission, wherever the submissions are."""
    lab = copy_lab("hostile", place)
    mark = place / "mark"
    place.chmod(0o777)
    for work in (lab / "submissions" / "eve", lab / "eve", place / "eve"):
        work.mkdir(parents=True)
        for name in ("conftest.py", "test_total.py", "test_mine.py", "random.py", "sitecustomize.py", "pytest.py"):
            (work / name).write_text(TRAP.format(mark=str(mark)))
        (work / "pytest.ini").write_text("[pytest]\naddopts = -p mine\n")
    names = ["hostile/submissions/eve", "hostile/eve", "eve"]
    nsbox_grade(who, place, "hostile", *names, "--csv", "points.csv", "--json", "grades.json")
    assert set(scores(place / "points.csv").values()) == {0}
    for grade in json.loads((place / "grades.json").read_text()):
        assert (grade["of"], grade["problem"], len(grade["checks"])) == (10, "", 5)
    assert not mark.exists()


UNHIDE_LAB = """
import pytest

SCRIPT = '''
look() {{ ls {labs}; cat {labs}/README.md {labs}/*/expected.csv; }}
look; umount -l {labs}; look
for pid in 1 2 3 $$; do ls /proc/$pid/root{labs} /proc/$pid/cwd/{labs}; done
unshare -Urm sh -c "umount -l {labs}; umount -R -l {labs}; ls {labs}"
unshare -m sh -c "umount -l {labs}; mount --move {labs} /mnt; ls {labs}"
mkdir -p /tmp/a && mount --bind / /tmp/a; ls /tmp/a{labs}; mount --rbind / /tmp/a; ls /tmp/a{labs}
mount -t overlay -o lowerdir=/ none /tmp/a; ls /tmp/a{labs}
'''

@pytest.mark.parametrize("namespaces", [False, True])
@pytest.mark.points(1)
def test_one(open_submission, namespaces):
    with open_submission(namespaces=namespaces, seconds=60) as submission:
        seen = submission.run(["sh", "-c", SCRIPT])
        assert "README.md" not in seen.stdout and "submission,points" not in seen.stdout, seen.stdout
        assert seen.returncode is not None
"""


def test_what_is_hidden_stays_hidden(who: Who, place: Path) -> None:
    """No mount, namespace or link of /proc leads to a directory that is hidden, where programs may mount either."""
    (place / "lab").mkdir()
    (place / "lab" / "test_lab.py").write_text(UNHIDE_LAB.format(labs=LABS))
    (place / "eve").mkdir()
    nsbox_grade(who, place, "lab", "eve", "--hide", str(LABS), "--json", "grades.json")
    (grade,) = json.loads((place / "grades.json").read_text())
    assert [check["message"] for check in grade["checks"]] == ["", ""]
    assert grade["points"] == 2


FORGER = """
import json, os, sys
line = json.dumps({"name": "test_lab.py::test_one", "of": 1.0, "points": 1.0, "outcome": "passed",
    "visibility": "visible", "message": "", "evidence": "", "seconds": 0, "attempts": []}) + chr(10)
for fd in range(3, 256):
    try:
        os.write(fd, line.encode())
    except OSError:
        pass
"""
FORGED_LAB = """
import os, subprocess, sys, pytest

@pytest.mark.points(1)
def test_first(submission):
    # A mistake of the grader: work of a student is run outside of the sandbox, by exec and by fork.
    subprocess.run([sys.executable, submission.source / "forger.py"], close_fds=False, check=True)
    if os.fork() == 0:
        exec((submission.source / "forger.py").read_text())
        os._exit(0)
    os.wait()

@pytest.mark.points(1)
def test_one(submission):
    raise AssertionError("wrong")
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_report_is_not_passed_on(who: Who, place: Path) -> None:
    """Not even a program that runs beside the grader can write points into its report."""
    (place / "lab").mkdir()
    (place / "lab" / "test_lab.py").write_text(FORGED_LAB)
    (place / "eve").mkdir()
    (place / "eve" / "forger.py").write_text(FORGER)
    nsbox_grade(who, place, "lab", "eve", "--csv", "points.csv", "--json", "grades.json")
    (grade,) = json.loads((place / "grades.json").read_text())
    assert {check["name"]: check["points"] for check in grade["checks"]} == {
        "test_lab.py::test_first": 1,
        "test_lab.py::test_one": 0,
    }


def test_a_run_that_is_killed(who: Who, place: Path) -> None:
    """The points of the tests before are kept, the other submissions are graded, and a person is asked to look."""
    (place / "lab").mkdir()
    (place / "lab" / "test_lab.py").write_text(KILLED_LAB)
    for name in ("ann", "bob"):
        (place / name).mkdir()
    (place / "bob" / "bad").touch()
    done = nsbox_grade(who, place, "lab", "ann", "bob", "-n", "2", "--json", "grades.json", "--timeout", "120")
    ann, bob = json.loads((place / "grades.json").read_text())
    assert (ann["points"], ann["problem"]) == (2, "")
    assert (bob["points"], bob["of"]) == (1, 2)
    assert "pytest was killed by signal 9, in test_lab.py::test_two" in bob["problem"]
    assert done.returncode == 1
    assert wait_until(reaped_all)


def test_a_test_that_does_not_end(who: Who, place: Path) -> None:
    """The time for a submission ends everything of it, whatever its tests wait for."""
    (place / "lab").mkdir()
    (place / "lab" / "test_lab.py").write_text(
        KILLED_LAB.replace("os.kill(os.getpid(), 9)", "threading.Event().wait()")
    )
    (place / "bob").mkdir()
    (place / "bob" / "bad").touch()
    nsbox_grade(who, place, "lab", "bob", "--json", "grades.json", "--timeout", "20")
    (bob,) = json.loads((place / "grades.json").read_text())
    assert bob["points"] == 1
    assert "timeout after 20 s, in test_lab.py::test_two" in bob["problem"]
    assert wait_until(reaped_all)


KILLED_LAB = """
import os, threading, pytest

@pytest.mark.points(1)
def test_one(submission):
    assert submission.run(["ls"]).ok
    assert submission.source.exists() and os.listdir(submission.source) is not None

@pytest.mark.points(1)
@pytest.mark.requires("test_one")
def test_two(submission):
    process = submission.start(["sleep", "1000"])
    if (submission.source / "bad").exists():
        os.kill(os.getpid(), 9)
    process.kill()
    process.wait()
"""
