"""Start a plan without the wrapping of `run`, to see the very error of the core."""

from __future__ import annotations

from typing import Any

import nsbox
import pytest
from nsbox import _core
from nsbox.start.launch import Launch

__all__ = ["failure", "plan_for", "start"]

PATHS: dict[str, Any] = {"paths": (b"/bin/true", b"/usr/bin/true"), "argv": (b"true",)}


def plan_for(launch: dict[str, Any] | None = None, **options: Any) -> _core.Plan:
    """Return the plan for `true`, or for what `launch` says, with the options of `Spec`."""
    return _core.compile(nsbox.Spec(**options), Launch(**PATHS | (launch or {})), _core.facts())


def start(launch: dict[str, Any] | None = None, **options: Any) -> _core.Child:
    """Start it and return the handle, whose program has ended."""
    child = _core.spawn(plan_for(launch, **options))
    end = child.wait(20)
    assert end is not None
    assert end.returncode == 0
    return child


def failure(launch: dict[str, Any] | None = None, **options: Any) -> nsbox.SpawnError:
    """Return the error with which it cannot be started."""
    plan = plan_for(launch, **options)
    with pytest.raises(nsbox.SpawnError) as caught:
        _core.spawn(plan).kill()
    error = caught.value
    steps = [(step.name, step.actor, step.call) for step in plan.steps]
    assert (error.step, error.actor, error.call) in steps
    assert error.step in str(error)
    # Nothing but the error itself is wanted, least of all the frames that hold the plan.
    return error.with_traceback(None)
