"""What --fail-on-leak takes for a process that a test has left behind, and how a long list of them is shown."""

from __future__ import annotations

import os
import signal

import nsbox

from tests.support.census import descendants, reaped_all, wait_until
from tests.support.inner_pytest import Inner

MACHINERY = """
    import multiprocessing, os
    from multiprocessing.shared_memory import SharedMemory

    import nsbox, nsbox.assertions, pytest

    def use_tracker():
        memory = SharedMemory(create=True, size=10)
        memory.close()
        memory.unlink()

    def use_forkserver():
        process = multiprocessing.get_context("forkserver").Process(target=os.getpid)
        process.start()
        process.join()
        assert process.exitcode == 0

    USES = pytest.mark.parametrize("use", [os.getpid, use_tracker, use_forkserver])

    @USES
    def test_outside(use):
        use()

    @USES
    @pytest.mark.parametrize("kinds", [pytest.param(one, marks=pytest.mark.unshare(one)) for one in ("pid", "uts")])
    def test_inside(kinds, use):
        use()

    @USES
    def test_called(box, use):
        box.call(use)
        box.call(use, fresh=True)

    @pytest.mark.unshare("pid")
    def test_called_in_a_box_inside():
        with nsbox.Box("pid") as box:
            box.call(use_tracker)

    @pytest.fixture(scope="module")
    def wide():
        with nsbox.Box("pid") as box:
            yield box

    @USES
    def test_called_in_a_box_of_the_module(wide, use):
        wide.call(use)
        nsbox.assertions.assert_no_leftovers(wide)

    def test_called_in_a_trusted_box_of_the_module():
        with nsbox.Box("uts", trust=True) as box:
            box.call(use_forkserver)
            nsbox.assertions.assert_no_leftovers(box)

    def test_executor():
        with nsbox.Executor(2, "pid") as executor:
            assert all(executor.map(int, "12"))
"""


def test_machinery_is_no_leak(inner: Inner) -> None:
    """The worker of `box.call`, and what multiprocessing keeps for a process, is not left behind by a test."""
    inner.write(test_it=MACHINERY)
    result = inner.run("--fail-on-leak")
    assert wait_until(reaped_all)
    result.assert_outcomes(passed=18)
    result.stdout.no_fnmatch_line("*left behind*")


HOSTILE = """
    import multiprocessing, subprocess, sys
    import nsbox, pytest

    PROGRAM = '''
    from multiprocessing.{name} import main
    import time
    time.sleep(4741)
    '''

    def leave(name):
        subprocess.Popen([sys.executable, "-c", PROGRAM.replace("    ", "").format(name=name)])

    def test_outside():
        leave("resource_tracker")

    @pytest.mark.unshare("pid")
    def test_inside():
        leave("forkserver")

    def test_called(box):
        box.call(leave, "resource_tracker")

    @pytest.fixture(scope="module")
    def wide():
        with nsbox.Box("pid") as box:
            yield box

    def test_called_in_a_box_of_the_module(wide):
        wide.call(leave, "resource_tracker")

    def test_below_a_worker(box):
        box.call(subprocess.run, ["sh", "-c", "sleep 4742 &"])

    @pytest.mark.unshare("pid")
    def test_child_of_a_forkserver():
        multiprocessing.get_context("forkserver").Process(target=print, daemon=True).start()
        subprocess.Popen(["sleep", "4743"])
"""


def test_hostile_names(inner: Inner) -> None:
    """A program is not taken for the machinery because of its arguments."""
    inner.write(test_it=HOSTILE)
    result = inner.run("--fail-on-leak")
    # Those that were started outside of all boxes are not ended.
    for process in nsbox.ps(pids=descendants()):
        if any(b"sleep(4741)" in argument for argument in process.cmdline):
            os.kill(process.pid, signal.SIGKILL)
    assert wait_until(reaped_all)
    result.assert_outcomes(passed=4, failed=2, errors=4)
    result.stdout.fnmatch_lines(["*    sleep 4742 (process *", "*    sleep 4743 (process *"])


MANY = """
    import subprocess
    import nsbox
    import pytest

    LOOP = "for i in $(seq {count}); do sleep {what} & done"

    def wait_until_all_sleep(count, what):
        # Until its exec, each has the name of the shell.
        while sum(one.cmdline[:1] == (b"sleep",) and one.cmdline[1].startswith(what) for one in nsbox.ps()) < count:
            pass

    @pytest.mark.unshare("pid")
    def test_same():
        subprocess.run(["sh", "-c", LOOP.format(count=300, what=4744)])
        wait_until_all_sleep(300, b"4744")

    def test_others(box):
        box.run(["sh", "-c", LOOP.format(count=30, what="4745.$i")])
        wait_until_all_sleep(30, b"4745.")

    def test_long(box):
        box.Popen(["sh", "-c", "sleep 4746; true", "x" * 100000])
"""


def test_many(inner: Inner) -> None:
    """A long list is grouped by command, and has an end; so have the report, and a command."""
    inner.write(test_it=MANY)
    result = inner.run("--fail-on-leak", "--junitxml=junit.xml")
    result.assert_outcomes(passed=2, failed=1, errors=2)
    for line in ("the test left 300 processes behind*", "the test left 30 processes behind*"):
        result.stdout.fnmatch_lines_random([f"*{line}"])
    result.stdout.fnmatch_lines_random([
        "    sleep 4744 (process *, * inside) and 299 more",
        "*    sleep 4745.1 (process *", "*    and 20 more, of 20 other commands",
    ])  # fmt: skip
    assert len(result.outlines) < 120
    assert max(map(len, result.outlines)) < 300
    assert len((inner.path / "junit.xml").read_text()) < 20_000


FORGED = """
    import pytest

    @pytest.mark.unshare
    def test_it(record_property):
        for number in range(1000):
            record_property("nsbox_leaked", f"\\x1b[2J{number}")
"""


def test_forged_report(inner: Inner) -> None:
    """What the process of a test reports itself can fill no screen, and control no terminal."""
    inner.write(test_it=FORGED)
    result = inner.run()
    result.assert_outcomes(passed=1)
    assert "\x1b" not in result.stdout.str()
    result.stdout.fnmatch_lines([r"    \x1b*2J10", "    and 989 more lines"])
    assert len(result.outlines) < 40
