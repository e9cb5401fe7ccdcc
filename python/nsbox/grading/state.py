"""What differs from the state of the model answer, as an assertion: `assert_state`."""

from __future__ import annotations

from nsbox.records.state import State
from nsbox.seeing.state import state_of
from nsbox.seeing.target import Target
from nsbox.views.missing_steps import differences

__all__ = ["State", "assert_state", "differences", "state_of"]


def assert_state(target: Target, model: State, since: Target) -> None:
    """Assert that a process is in the state of the model answer.

    Args:
        target: The process.
        model: The state of the model answer.
        since: A process from before the submission.

    Raises:
        AssertionError: with a sentence for each missing step.
    """
    __tracebackhide__ = True
    missing = differences(state_of(target, since), model)
    if missing:
        raise AssertionError("\n".join(["this differs from the model answer:", *(f"    - {one}" for one in missing)]))
