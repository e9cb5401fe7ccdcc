"""Grade a program that adds numbers, in a sandbox that holds what tries to get out.

The lab is small on purpose: what it shows is that a hostile submission earns nothing by being hostile.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nsbox.grading import Submission

ANSWER = Path(__file__).parent / "answers" / "total.py"
pytestmark = pytest.mark.limits(seconds=10, cpu=2, memory="512M", output="64K", file="8M", processes=40)


def total_of(submission: Submission, text: str) -> str:
    """Run the submission, and return what it prints."""
    return submission.run(["sh", "total.sh"], input=text).stdout


@pytest.mark.points(2)
def test_two_numbers(submission: Submission) -> None:
    """The example of the task."""
    assert total_of(submission, "1 2\n") == "3\n"


@pytest.mark.points(3)
@pytest.mark.requires("test_two_numbers")
@pytest.mark.visibility("hidden")
def test_other_numbers(submission: Submission, seed: int, credit: Callable[[float], None]) -> None:
    """Numbers that are others for each student, and the same each time: a point for each right answer."""
    chosen = random.Random(seed)
    right = 0
    for count in (3, 10, 100):
        numbers = [chosen.randrange(-1000, 1000) for _ in range(count)]
        right += total_of(submission, "\n".join(map(str, numbers))) == f"{sum(numbers)}\n"
        credit(right)
    assert right == 3, f"{right} of 3 answers are right"


@pytest.mark.points(3)
@pytest.mark.requires("test_two_numbers")
def test_large_numbers(submission: Submission) -> None:
    """Numbers that no 64 bits hold."""
    numbers = f"{10**30} {10**30}\n"
    # What the model answer prints is computed here, outside of the sandbox: it is the grader's own program.
    model = subprocess.run([sys.executable, ANSWER], input=numbers, capture_output=True, text=True, check=True)
    assert total_of(submission, numbers) == model.stdout


@pytest.mark.points(1)
@pytest.mark.requires("test_other_numbers")
def test_leaves_no_process(submission: Submission) -> None:
    """When the program has ended, nothing of it runs any more."""
    done = submission.run(["sh", "total.sh"], input="1 2\n")
    assert done.left == 0, f"{done.left} processes are left"


@pytest.mark.points(1)
@pytest.mark.requires("test_other_numbers")
def test_is_not_wasteful(submission: Submission) -> None:
    """Time and memory, as the kernel counts them."""
    done = submission.run(["sh", "total.sh"], input="1 2\n" * 1000)
    assert done.ok, done
    assert done.cpu_seconds is not None
    assert done.cpu_seconds < 1
    assert done.peak_bytes is not None
    assert done.peak_bytes < 64 << 20
