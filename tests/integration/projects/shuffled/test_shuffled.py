"""Random numbers and the order of tests are those of the seed."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest


@pytest.mark.unshare("pid")
@pytest.mark.parametrize("number", range(6))
def test_number(number: int, record_property: Callable[[str, object], None]) -> None:
    record_property("random", random.random())


class TestOthers:
    @pytest.mark.unshare("uts")
    @pytest.mark.parametrize("number", range(6))
    def test_number(self, number: int, record_property: Callable[[str, object], None]) -> None:
        record_property("random", random.random())
