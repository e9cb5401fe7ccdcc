"""A small class with hostile submissions: right points, and nothing is left. ``make grade-class`` grades 200."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.grading.whole_class import graded_as
from tests.support.forked import Who, in_child


@pytest.mark.limit(300)
def test_twenty_submissions(who: Who, place: Path) -> None:
    """Five of them are hostile. Each gets its points, and nothing is there that was not there before."""
    outcome = in_child(lambda: graded_as(who, place, 20, 5))
    print("\n".join(outcome.figures))
    assert outcome.complaints == []
