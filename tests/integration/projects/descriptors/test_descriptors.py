"""600 tests that fail, twice each, with boxes that their tracebacks keep."""

from __future__ import annotations

import gc
import os
from typing import Any

import nsbox
import pytest

gc.disable()  # a cycle that is never collected


@pytest.mark.unshare("uts")
@pytest.mark.parametrize("number", range(150))
def test_inside(number: int) -> None:
    assert number < 0


@pytest.mark.box("uts")
@pytest.mark.parametrize("number", range(300))
def test_box(box: nsbox.Box, number: int) -> None:
    assert box.hostname == number


@pytest.mark.parametrize("number", range(150))
def test_with(number: int) -> None:
    with nsbox.Box("uts") as box:
        kept: Any = box
        raise KeyError(kept)


def test_few_are_open() -> None:
    assert len(os.listdir("/proc/self/fd")) < 60
