r"""Grading the submissions of a class: a lab is a directory with a test file, and each submission is run held.

    # test_sum.py, in a directory of its own
    @pytest.mark.points(3)
    def test_adds(submission):
        assert submission.run(["python3", "sum.py"], input="1 2\n").stdout == "3\n"

``nsbox grade LAB SUBMISSIONS... -n 2 --csv points.csv`` runs the tests once for each submission. The fixtures and
markers are in `lab.py`, which pytest loads with ``-p nsbox.grading.lab``.
"""

from __future__ import annotations

from nsbox.grading.attempt import Attempt
from nsbox.grading.grades import Check, Grade
from nsbox.grading.intake import RefusedError
from nsbox.grading.sandbox import SandboxLimits
from nsbox.grading.state import State, assert_state, differences, state_of
from nsbox.grading.submission import Submission

__all__ = [
    "Attempt",
    "Check",
    "Grade",
    "RefusedError",
    "SandboxLimits",
    "State",
    "Submission",
    "assert_state",
    "differences",
    "state_of",
]
