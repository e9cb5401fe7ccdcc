"""The results of the steps of a box."""

from __future__ import annotations

import nsbox


def test_results() -> None:
    """Every step of a running box has succeeded; those of nsbox-init have durations."""
    with nsbox.Box("mip", mount_proc=True) as box:
        found = nsbox.explain(box)
    assert [step.name for step in found.steps] == [step.name for step in box.plan.steps]
    assert all(step.errno == 0 for step in found.steps)
    assert any(step.microseconds is not None for step in found.steps)
    assert "succeeded" in str(found)
    assert all(step.errno is None for step in nsbox.explain(box.plan).steps)
