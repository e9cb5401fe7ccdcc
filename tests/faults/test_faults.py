"""A sample of `make faults`: system calls of nsbox-init and of its caller fail, each once and in one process.

Each case ends in time, with a result or with an error of a known type, and nothing is left.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.cases import faults
from tests.faults.scenarios import ONLY_ROOT, SCENARIOS
from tests.support.faults import Report, attempt
from tests.support.needs import needs_root

CASES = 4
"""For each scenario and user."""


@needs_root
@pytest.mark.parametrize(
    ("scenario", "user"),
    [(name, user) for name in SCENARIOS for user in ("root", "user") if not (user == "user" and name in ONLY_ROOT)],
)
def test_one_call_fails(scenario: str, user: str, place: Path) -> None:
    """The sample is the same in each run of the same version, and another one for each scenario."""
    workplace = place if user == "user" else None
    without = attempt(SCENARIOS[scenario], None, workplace)
    assert not without.problems
    assert "Error" not in str(without.result), without.result
    every = list(faults(scenario, without))
    assert len(every) > 10
    sample = random.Random(f"{scenario} {user}").sample(every, CASES)
    wrong: dict[str, Report] = {}
    for fault in sample:
        report = attempt(SCENARIOS[scenario], fault, workplace)
        if report.problems:
            wrong[str(fault)] = report
    assert not wrong
