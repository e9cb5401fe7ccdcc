"""The names of steps and the kinds of namespaces: one list each, the same in both languages."""

from __future__ import annotations

import pytest
from nsbox import _core
from nsbox.spec.kinds import KINDS
from nsbox.spec.step_names import JOIN_STEPS, STEP_NAMES

pytestmark = pytest.mark.pure


def test_the_core_has_the_same_names() -> None:
    """The names are in the same order, and each occurs once."""
    assert list(STEP_NAMES) == _core.step_names()
    assert len(set(STEP_NAMES)) == len(STEP_NAMES)


def test_each_kind_is_joined_by_a_step() -> None:
    """The step that joins a kind has the name of the kind."""
    assert {kind: f"join {kind}" for kind in KINDS} == JOIN_STEPS
