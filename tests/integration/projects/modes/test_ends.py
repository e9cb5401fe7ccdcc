"""Tests that end in every way."""

from __future__ import annotations

import os
import unittest
import warnings
from collections.abc import Callable

import pytest

pytestmark = [pytest.mark.unshare("pid mount", mount_proc=True), pytest.mark.xdist_group("ends")]


def test_passes(inside: bool, module_pid: int, record_property: Callable[[str, object], None]) -> None:
    record_property("points", 3)
    assert (os.getpid() != module_pid) == inside
    print("printed by a test that passes")


def test_fails(module_pid: int) -> None:
    print("printed by a test that fails")
    assert module_pid == 0, "for this reason"


def test_raises() -> None:
    raise OSError(2, "no such thing")


def test_skips() -> None:
    pytest.skip("not today")


@pytest.mark.xfail(reason="known", strict=True)
def test_is_expected_to_fail() -> None:
    raise KeyError("known")


@pytest.mark.xfail(reason="fixed", strict=True)
def test_passes_although_it_must_not() -> None:
    pass


def test_warns() -> None:
    warnings.warn("from inside", FutureWarning, stacklevel=1)


class TestCase(unittest.TestCase):
    def test_equal(self) -> None:
        self.assertEqual(1, 1)

    def test_not_equal(self) -> None:
        self.assertEqual(1, 2)
