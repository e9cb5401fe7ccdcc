"""Fixtures of the tests that run other programs with nsbox in them."""

from __future__ import annotations

from tests.kernel.conftest import _adopted, census, place, who

__all__ = ["_adopted", "census", "place", "who"]
