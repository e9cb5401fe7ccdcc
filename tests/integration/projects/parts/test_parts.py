"""Subtests."""

from __future__ import annotations

import unittest
from typing import Any

import pytest

pytestmark = pytest.mark.unshare("pid")


def test_all_pass(subtests: Any) -> None:
    for number in range(3):
        with subtests.test(msg="part", number=number):
            assert number < 3


def test_passes_without() -> None:
    pass


class TestCase(unittest.TestCase):
    def test_all_pass(self) -> None:
        for number in range(3):
            with self.subTest("part", number=number):
                self.assertLess(number, 3)
