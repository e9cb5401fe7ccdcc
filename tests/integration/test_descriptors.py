"""A long run of failing tests stays below the usual limit of descriptors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.suites import Suite
from tests.support.forked import Who


@pytest.mark.limit(3100)
def test_rerunfailures(place: Path, who: Who) -> None:
    """600 tests fail twice each at ``ulimit -n 1024``, with tracebacks that keep their boxes."""
    suite = Suite(place, who, "pytest9", "descriptors")
    suite.limit_descriptors(1024)
    outcomes = suite.run("--reruns", "1", "--tb=line", limit=3000)
    assert "600 failed, 1 passed, 600 rerun" in suite.text
    assert outcomes["test_descriptors.test_few_are_open"].word == "passed"
    assert not any("Too many open files" in outcome.message for outcome in outcomes.values())
