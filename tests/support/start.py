"""Start a plan without `run` around it, to see the core's own error."""

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
    """Start the plan and return the handle, whose program has ended."""
    child = _core.spawn(plan_for(launch, **options))
    end = child.wait(20)
    assert end is not None
    assert end.returncode == 0
    return child


def failure(launch: dict[str, Any] | None = None, **options: Any) -> nsbox.SpawnError:
    """Return the error with which the start fails."""
    plan = plan_for(launch, **options)
    with pytest.raises(nsbox.SpawnError) as caught:
        _core.spawn(plan).kill()
    error = caught.value
    steps = [(step.name, step.actor, step.call) for step in plan.steps]
    assert (error.step, error.actor, error.call) in steps
    assert error.step in str(error)
    # Return the error alone, without the frames that keep the plan alive.
    return error.with_traceback(None)
