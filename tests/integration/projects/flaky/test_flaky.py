"""Tests that pass when they are run again."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.unshare("pid")
HERE = Path(__file__).parent


def times(name: str) -> int:
    """Count the runs in a file, as nothing else outlives the process of a test."""
    path = HERE / f"{name}.count"
    count = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(count))
    return count


def test_third_time() -> None:
    assert times("third") == 3


@pytest.mark.flaky(reruns=1)
def test_second_time() -> None:
    assert times("second") == 2


def test_never() -> None:
    assert times("never") < 0


def test_always() -> None:
    pass


@pytest.fixture
def unreliable() -> int:
    return times("fixture")


def test_fixture(unreliable: int) -> None:
    assert unreliable == 2
