"""What `run` returns besides the result of `subprocess.run`: resources, time and a verdict."""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import nsbox
import pytest
from nsbox import Verdict
from nsbox.start.verdict import judge

from tests.support.forked import Who

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
BUSY = [sys.executable, "-c", "while True: pass"]


@pytest.fixture(params=["run", "captured", "box", "captured in a box", "enter"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return every way to run a program and wait for it."""
    captured = {"capture_output": True} if "captured" in request.param else {}
    with nsbox.Box("mip") as box:
        if "box" in request.param:
            yield lambda *args, **keywords: box.run(*args, **captured, **keywords)
        elif request.param == "enter":
            yield lambda *args, **keywords: nsbox.enter(box, "ipc", *args, **keywords)
        else:
            yield lambda *args, **keywords: nsbox.run(*args, **captured, **keywords)


def test_resources_and_time(run: Callable[..., Any]) -> None:
    """The CPU time, the wall time and the other counts of the program are those of getrusage(2)."""
    result = run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"])
    assert isinstance(result.rusage, resource.struct_rusage)
    assert result.rusage.ru_utime + result.rusage.ru_stime >= 0.2
    assert result.rusage.ru_maxrss > 1000
    assert result.seconds >= 0.2
    assert (result.verdict, result.why, result.truncated) == (Verdict.OK, "exit status 0", False)


def test_is_that_of_subprocess() -> None:
    """Type, text, attributes and pickle are those of subprocess.CompletedProcess."""
    mine, theirs = (module.run(["sh", "-c", "echo 1; exit 3"], capture_output=True) for module in (nsbox, subprocess))
    assert repr(mine) == repr(theirs)
    assert isinstance(mine, subprocess.CompletedProcess)
    assert isinstance(mine, nsbox.Completed)
    again = pickle.loads(pickle.dumps(mine))
    assert repr(again) == repr(mine)
    assert (again.verdict, again.rusage, again.seconds) == (Verdict.ERROR, mine.rusage, mine.seconds)
    with pytest.raises(subprocess.CalledProcessError):
        mine.check_returncode()


def test_verdicts(run: Callable[..., Any]) -> None:
    """An exit status is an error, a signal a kill."""
    assert run(["sh", "-c", "exit 3"]).verdict is Verdict.ERROR
    killed = run(["sh", "-c", "kill -9 $$"])
    assert (killed.verdict, killed.why) == (Verdict.KILLED, "signal 9")


def test_cpu_time(who: Who) -> None:
    """The end by the limit of CPU time is told from another one by the time that was used."""

    def use() -> list[tuple[Verdict, int, str]]:
        results = []
        for limits, busy in (((1, 5), "while :; do :; done"), ((1, 2), "trap '' XCPU; while :; do :; done")):
            result = nsbox.run(["sh", "-c", busy], rlimits={"cpu": limits})
            results.append((result.verdict, result.returncode, result.why.partition(" after")[0]))
        other = nsbox.run(["sh", "-c", "kill -XCPU $$"], rlimits={"cpu": (1, 5)})
        results.append((other.verdict, other.returncode, other.why))
        return results

    assert who(use) == [
        (Verdict.CPU, -24, "SIGXCPU"),
        (Verdict.CPU, -9, "SIGKILL"),
        (Verdict.KILLED, -24, "signal 24"),
    ]


def test_cpu_time_of_a_task() -> None:
    """The same verdict for a task of an executor."""
    with nsbox.Executor(1, rlimits={"cpu": 1}) as executor:
        future = executor.submit(exec, "while True: pass")
        assert future.outcome().verdict is Verdict.CPU


@pytest.mark.pure
@pytest.mark.parametrize(
    ("returncode", "used", "limits", "verdict", "guess"),
    [
        (0, 5.0, (1, 1), Verdict.OK, False),
        (-24, 1.0, (1, 2), Verdict.CPU, False),
        (-24, 0.1, (1, 2), Verdict.KILLED, False),
        (-24, 1.0, UNLIMITED, Verdict.KILLED, False),
        (-9, 2.0, (1, 2), Verdict.CPU, True),
        (-9, 0.9, (1, 2), Verdict.KILLED, False),
        (-9, None, (1, 2), Verdict.KILLED, False),
        (152, 1.0, (1, 2), Verdict.CPU, True),
        (137, 2.0, (1, 2), Verdict.CPU, True),
        (137, 2.0, UNLIMITED, Verdict.ERROR, False),
        (3, 2.0, (1, 2), Verdict.ERROR, False),
        (-15, 2.0, (1, 2), Verdict.KILLED, False),
    ],
)
def test_conclusion(
    returncode: int, used: float | None, limits: tuple[int, int], verdict: Verdict, guess: bool
) -> None:
    """The verdict follows from the status, the time and the limits; a guess is called one."""
    found, why = judge(returncode, used, limits)
    assert found is verdict
    assert ("most likely" in why) == guess
