"""The markers and fixtures of a lab, each in a lab of a few lines that is graded by `nsbox grade`."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.forked import Who
from tests.support.lab_class import nsbox_grade


def _grade(who: Who, place: Path, lab: str, **files: str) -> dict[str, Any]:
    """Grade one submission with these files by a lab, and return what is known of it."""
    directory = place / "lab"
    directory.mkdir()
    (directory / "test_lab.py").write_text(f"import pytest\n{textwrap.dedent(lab)}")
    work = place / "class" / "ann"
    work.mkdir(parents=True)
    for name, text in files.items():
        (work / name).write_text(textwrap.dedent(text))
    done = nsbox_grade(who, place, "lab", "class/ann", "--json", "grades.json")
    (found,) = json.loads((place / "grades.json").read_text())
    found["tests"] = {check["name"].partition("::")[2]: check for check in found["checks"]}
    found["errors"] = done.stderr
    found["status"] = done.returncode
    return dict(found)


POINTS = """
    from nsbox.grading.lab import PartialCredit

    @pytest.mark.points(3)
    def test_passes(submission):
        assert submission.run(["cat", "data"]).stdout == "1"

    @pytest.mark.points(3)
    def test_fails(submission):
        assert submission.run(["cat", "data"]).stdout == "2"

    @pytest.mark.points(4)
    def test_credit(submission, credit):
        assert submission.run(["cat", "data"]).ok
        credit(1.5)
        assert submission.run(["cat", "other"]).ok, "there is no other file"

    @pytest.mark.points(2)
    def test_credit_decides(submission, credit):
        credit(0.5 * submission.run(["cat", "data"]).ok)

    @pytest.mark.points(2)
    def test_too_much_credit(submission, credit):
        credit(100 * submission.run(["cat", "data"]).ok)

    @pytest.mark.points(4)
    def test_exception(submission):
        raise PartialCredit(1 * submission.run(["cat", "data"]).ok, "a step is missing")

    @pytest.mark.points(1)
    @pytest.mark.requires("test_fails")
    def test_blocked(submission):
        pass

    @pytest.mark.points(1)
    @pytest.mark.requires("test_passes")
    @pytest.mark.visibility("after_due_date")
    def test_not_blocked(submission):
        pass

    def test_without_points(submission):
        pass
"""


def test_points(who: Who, place: Path) -> None:
    """Points from markers, and partial credit from a fixture and from an exception."""
    found = _grade(who, place, POINTS, data="1")
    points = {name: (check["points"], check["of"], check["outcome"]) for name, check in found["tests"].items()}
    assert points == {
        "test_passes": (3, 3, "passed"),
        "test_fails": (0, 3, "failed"),
        "test_credit": (1.5, 4, "failed"),
        "test_credit_decides": (0.5, 2, "passed"),
        "test_too_much_credit": (2, 2, "passed"),
        "test_exception": (1, 4, "failed"),
        "test_blocked": (0, 1, "blocked"),
        "test_not_blocked": (1, 1, "passed"),
        "test_without_points": (0, 0, "passed"),
    }
    assert (found["points"], found["of"]) == (9, 20)
    assert found["tests"]["test_not_blocked"]["visibility"] == "after_due_date"
    assert "there is no other file" in found["tests"]["test_credit"]["message"]
    assert "a step is missing" in found["tests"]["test_exception"]["message"]
    assert "cat other: ERROR" in found["tests"]["test_credit"]["evidence"]
    assert (found["problem"], found["status"], found["errors"].count("nsbox grade:")) == ("", 0, 0)


FALSE_PASSES = """
    import unittest

    @pytest.mark.points(1)
    def test_subtests(submission, subtests):
        with subtests.test("one"):
            assert submission.run(["false"]).ok
        with subtests.test("two"):
            pass

    class TestOld(unittest.TestCase):
        @pytest.mark.points(1)
        def test_sub(self):
            with self.subTest("one"):
                self.assertTrue(False)
            with self.subTest("two"):
                pass

    @pytest.mark.points(1)
    @pytest.mark.xfail
    def test_xfail():
        assert False

    @pytest.mark.points(1)
    @pytest.mark.xfail(strict=True)
    def test_xpass():
        pass

    @pytest.mark.points(2)
    @pytest.mark.unshare("pid", mount_proc=True)
    def test_credit_inside(credit):
        credit(0.5)

    @pytest.mark.points(1)
    @pytest.mark.unshare("pid", mount_proc=True)
    def test_inside():
        assert False

    @pytest.mark.points(1)
    def test_finalizer(request):
        request.addfinalizer(lambda: 1 / 0)

    @pytest.mark.points(1)
    def test_later(submission):
        assert submission.run(["true"]).ok
"""


def test_what_failed_never_passes(place: Path) -> None:
    """A test that fails in an unusual way has no points, and a credit given in other namespaces counts."""
    found = _grade(Who("root"), place, FALSE_PASSES)
    points = {name: check["points"] for name, check in found["tests"].items()}
    assert points == {
        "test_subtests": 0, "TestOld::test_sub": 0, "test_xfail": 0, "test_xpass": 0, "test_credit_inside": 0.5,
        "test_inside": 0, "test_finalizer": 1, "test_later": 1,
    }  # fmt: skip
    # A fault in a teardown is the grader's to look at.
    assert "test_finalizer: error: in the teardown: ZeroDivisionError" in found["problem"]
    assert found["status"] == 1


VERDICTS = """
    pytestmark = pytest.mark.limits(seconds=60, memory="256M", output="10K", cpu=1, processes=20)

    def test_cpu(submission):
        submission.run(["sh", "-c", "while :; do :; done"])

    @pytest.mark.limits(seconds=1)
    def test_time(submission):
        submission.run(["sleep", "100"])

    def test_output(submission):
        done = submission.run(["sh", "-c", "yes; true"])
        assert 0 < len(done.stdout) <= 10 << 10

    def test_memory(submission):
        submission.run(["python3", "-c", "bytearray(1 << 35)"])

    def test_processes(submission):
        submission.run(["sh", "-c", "for i in $(seq 40); do sleep 60 & done > /dev/null 2>&1"])

    def test_killed(submission):
        submission.run(["sh", "-c", "kill -9 $$"])

    def test_missing(submission):
        submission.run(["./no-such-program"])

    def test_fine(submission):
        done = submission.run(["sh", "-c", "cat; echo $A"], input="in ", env={"A": "a"})
        assert (done.stdout, done.left, done.ok) == ("in a\\n", 0, True)
        assert done.cpu_seconds < 1
        assert done.peak_bytes < 64 << 20
"""


def test_verdicts(who: Who, place: Path) -> None:
    """Time, memory, output, CPU and processes: a limit is a verdict in the report, and ends no test by itself."""
    found = _grade(who, place, VERDICTS)
    verdicts = {name: [one["verdict"] for one in check["attempts"]] for name, check in found["tests"].items()}
    assert verdicts == {
        "test_cpu": ["CPU"], "test_time": ["TIMEOUT"], "test_output": ["OUTPUT"], "test_memory": ["OOM"],
        "test_processes": ["PIDS"], "test_killed": ["KILLED"], "test_missing": ["ERROR"], "test_fine": ["OK"],
    }  # fmt: skip
    assert {check["outcome"] for check in found["tests"].values()} == {"passed"}


SAME = """
    import json

    LOOK = "import json, os, time, socket, random; print(json.dumps([os.getpid(), socket.gethostname(), hash('a'), " \\
        "os.environ['SEED'], sorted(os.environ), int(time.clock_gettime(time.CLOCK_BOOTTIME)) // 100, os.getcwd(), " \\
        "open('/proc/sys/kernel/pid_max').read()]))"

    @pytest.mark.points(1)
    @pytest.mark.parametrize("time", [1, 2])
    def test_same(submission, seed, time):
        done = submission.run(["python3", "-c", LOOK])
        found = json.loads(done.stdout)
        assert found[3] == str(seed)
        assert found[1] == "lab"
        assert found[5] == 10
        raise AssertionError("found: " + done.stdout)

    @pytest.mark.points(1)
    @pytest.mark.sandbox(hostname="exam", boottime=0)
    def test_other_options(submission):
        assert submission.run(["uname", "-n"]).stdout == "exam\\n"
"""


def test_deterministic(who: Who, place: Path) -> None:
    """Host name, PIDs, the begin of clocks, hashes, the seed and the environment are the same each time."""
    found = _grade(who, place, SAME)
    first, second = (found["tests"][f"test_same[{time}]"]["message"] for time in (1, 2))
    assert "found: " in first
    assert first == second
    assert found["tests"]["test_other_options"]["outcome"] == "passed"


HIDDEN = """
    from pathlib import Path

    @pytest.mark.points(1)
    def test_sees_nothing(submission):
        places = [Path(__file__).parent, Path(__file__).parents[1] / "class", Path(__file__).parents[1] / "other"]
        assert all(place.exists() for place in places)
        done = submission.run(["ls", *map(str, places)])
        assert "test_lab.py" not in done.stdout
        assert "ann" not in done.stdout
        assert submission.run(["ls", "/tmp"]).stdout.split()[-1] == "work"
        assert submission.run(["cat", "mine"]).stdout == "mine"
        # It may change its copy; the next sandbox has another one.
        assert submission.run(["sh", "-c", "rm mine; echo new > file"]).ok
        assert submission.read("file") == "new\\n"

    @pytest.mark.points(1)
    def test_again(submission):
        assert submission.run(["cat", "mine"]).stdout == "mine"
"""


def test_hidden_files(who: Who, place: Path) -> None:
    """A submission sees neither the lab, nor the others, nor the directory of the results."""
    found = _grade(who, place, HIDDEN.replace('"other"', '"tmp"'), mine="mine")
    assert found["points"] == 2, found


EMPTY = """
    @pytest.mark.points(1)
    def test_leaves_nothing(submission):
        assert not submission.processes()
"""


def test_an_empty_submission_earns_points(who: Who, place: Path) -> None:
    """The grader is told of a test that passes for a submission that does nothing."""
    found = _grade(who, place, EMPTY)
    assert found["status"] == 1
    assert "(nothing handed in): earns 1 of 1 points, in test_lab.py::test_leaves_nothing" in found["errors"]


BROKEN = """
    @pytest.fixture
    def broken():
        raise OSError("the grader's own disk is full")

    @pytest.mark.points(1)
    def test_broken(submission, broken):
        pass

    @pytest.mark.points(1)
    def test_skipped(submission):
        pytest.skip("this machine lacks something")

    @pytest.mark.points(1)
    def test_fine(submission):
        assert submission.run(["cat", "mine"]).ok
"""


def test_what_the_grader_has_to_look_at(who: Who, place: Path) -> None:
    """A fault of the lab or of the machine is no fault of a student, and is not silent."""
    found = _grade(who, place, BROKEN, mine="")
    assert found["points"] == 1
    assert "test_broken: error: OSError: the grader's own disk is full" in found["problem"]
    assert "test_skipped: skipped: this machine lacks something" in found["problem"]
    assert found["status"] == 1


NAMESPACES = """
    from nsbox.grading import State, assert_state

    @pytest.mark.points(1)
    @pytest.mark.sandbox(namespaces=True)
    def test_state(submission):
        assert submission.run(["sh", "-c", "umount -l /home || umount -l /root"]).returncode
        with submission.start(["unshare", "-mipf", "sleep", "86421"]) as process:
            model = State(namespaces={"pid", "mount", "ipc", "uts"}, pid=1, comm="sleep", proc=True)
            try:
                assert_state(submission.find("sleep", "86421").pid, model, since=submission.box)
            finally:
                process.kill()
"""


def test_missing_steps(who: Who, place: Path) -> None:
    """The report has the sentence that names the missing step, and the tree of processes."""
    found = _grade(who, place, NAMESPACES)["tests"]["test_state"]
    assert "there is no new uts namespace: unshare without --uts (-u)" in found["message"]
    assert "no proc was mounted after the PID namespace was made: mount -t proc proc /proc" in found["message"]
    assert "there is no new pid" not in found["message"]
    # The kinds of namespaces in the tree are only shown to root, who may read those of the inits (ptrace(2)).
    assert ("sleep(ipc,mnt,pid)" if who.is_root else "sleep") in found["evidence"]


def test_refused(who: Who, place: Path) -> None:
    """A submission that is no file earns nothing, and says why."""
    (place / "lab").mkdir()
    (place / "lab" / "test_lab.py").write_text(f"import pytest\n{textwrap.dedent(EMPTY)}")
    (place / "link").symlink_to("/etc/passwd")
    nsbox_grade(who, place, "lab", "link", "--json", "grades.json")
    (found,) = json.loads((place / "grades.json").read_text())
    assert (found["points"], found["of"], found["problem"]) == (0, 1, "")
    assert "refused: link is a link" in found["checks"][0]["message"]


@pytest.mark.parametrize("marker", ["points('3')", "points(-1)", "points(True)", "visibility('never')"])
def test_wrong_markers(place: Path, marker: str) -> None:
    """A wrong marker is an error that names the test, before any submission is graded."""
    (place / "lab").mkdir()
    lab = f"import pytest\n@pytest.mark.{marker}\ndef test_one(submission): pass\n"
    (place / "lab" / "test_lab.py").write_text(lab)
    (place / "ann").mkdir()
    done = nsbox_grade(Who("root"), place, "lab", "ann", "--json", "grades.json")
    assert done.returncode == 1
    assert f"test_lab.py::test_one: {marker.partition('(')[0]}: expected" in done.stderr
    assert not (place / "grades.json").exists()
