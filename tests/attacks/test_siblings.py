"""A process in a box makes children of its parent, which is outside (clone(2), CLONE_PARENT): the box ends.

The parent has not made them. As long as it does not reap them, the PID namespace of the box does not end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox.start import ending
from nsbox.tasks.executor import Executor
from nsbox.tasks.within import Within

from tests.support import callees
from tests.support.callers import survivors
from tests.support.far import run_as
from tests.support.forked import Who

MADE = [True] * 6


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not end fails the test after a shorter time."""
    monkeypatch.setattr(ending, "END_SECONDS", 5.0)


@pytest.mark.parametrize("options", [{"unshare": "mip"}, {"harden": True}], ids=["plain", "hardened"])
def test_of_an_executor(who: Who, place: Path, options: dict[str, Any]) -> None:
    """The fork server reaps them."""

    def use() -> tuple[list[bool], int]:
        with Executor(1, **options, timeout=30) as executor:
            return executor.submit(callees.siblings, len(MADE)).result(), executor.submit(abs, -7128).result()

    assert run_as(who, place, use) == (MADE, 7128)
    assert survivors(12) == []


def test_of_a_test(who: Who) -> None:
    """The caller reaps them, as it does the test process."""

    def inside() -> None:
        os._exit(7 if callees.siblings(len(MADE)) == MADE else 8)

    def use() -> int:
        with nsbox.Box("mip") as box, Within(box, inside) as within:
            return within.wait()

    assert who(use) == 7
    assert survivors(12) == []
