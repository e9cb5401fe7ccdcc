"""Each test runs another function."""

from __future__ import annotations

import calculator
import pytest


def test_unmarked() -> None:
    assert calculator.by_unmarked(1) == 2


@pytest.mark.unshare("pid")
def test_marked() -> None:
    assert calculator.by_marked(2) == 4


@pytest.mark.unshare("pid mount net", mount_proc=True)
def test_failing() -> None:
    assert calculator.by_failing(2) == 6
