"""The time limit of tests: a test that hangs fails alone, and the run continues."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HANGING = """
    import subprocess, threading, time
    import pytest

    pytestmark = pytest.mark.limit(1)

    def test_sleeps():
        with pytest.raises(OSError):
            time.sleep(1000)

    def test_waits_for_a_lock():
        threading.Event().wait()

    def test_waits_for_a_program():
        with subprocess.Popen(["sleep", "1000"]) as program:
            program.wait()

    def test_waits_for_a_program_again():
        for _ in range(2):
            try:
                subprocess.run(["sleep", "1000"])
            except BaseException:
                pass
        raise LookupError

    @pytest.fixture
    def before():
        subprocess.run(["sleep", "1000"])

    def test_after_set_up(before):
        pass

    @pytest.fixture
    def after():
        yield
        assert subprocess.run(["sleep", "1000"]).returncode == -9

    def test_before_tear_down(after):
        pass

    def test_the_last():
        pass
"""


def test_a_test_that_hangs_fails_alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging test gets an exception. For a hanging fixture, only the processes that it waits for are killed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(HANGING)
    result = pytester.runpytest_subprocess("-p", "tests.support.watchdog", "-p", "no:xdist", "--tb=line")
    result.assert_outcomes(passed=3, failed=4)
    result.stdout.fnmatch_lines(["*Failed: the test hangs: not done after 1 s"] * 3)
