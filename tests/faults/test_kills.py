"""Processes are killed, and signals arrive whose handlers raise, at moments that are drawn at random from a seed.

Whatever the moment: the caller gets a result, or an error of a known type, in time, and nothing is left.
"""

from __future__ import annotations

import random
import re
import time
from typing import get_args

import pytest

from tests.faults.scenarios import SCENARIOS
from tests.support.faults import Report, Victim, disturb
from tests.support.needs import needs_root

MOMENTS = 4
"""For each scenario and victim."""
MOMENTS_OF_SIGNALS = 10
_OF_CPYTHON = re.compile(r"left: descriptor \d+ pipe:\[")
"""In some microseconds a handler that raises makes CPython's subprocess and asyncio lose an end of a pipe (about one
moment in a thousand). Nothing else may be left: processes, pidfds, sockets, namespaces and mounts are nsbox's."""


_RUNS_ON = {"popen"}
"""A handler that raises between the start of a `Popen` and its `with` leaves the program running, as in `subprocess`.
That is one of the moments at most."""


@needs_root
@pytest.mark.parametrize("victim", get_args(Victim))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_at_any_moment(scenario: str, victim: Victim) -> None:
    """The moments are in the time that the same thing takes undisturbed."""
    before = time.monotonic()
    without = disturb(SCENARIOS[scenario], "signal", 1000)
    longest = time.monotonic() - before
    assert not without.problems
    draw = random.Random(f"{scenario} {victim}")
    wrong: dict[float, Report] = {}
    for _ in range(MOMENTS_OF_SIGNALS if victim == "signal" else MOMENTS):
        seconds = draw.uniform(0, longest)
        report = disturb(SCENARIOS[scenario], victim, seconds)
        if not all(victim == "signal" and _OF_CPYTHON.match(problem) for problem in report.problems):
            wrong[seconds] = report
    assert len(wrong) <= (victim == "signal" and scenario in _RUNS_ON), wrong
