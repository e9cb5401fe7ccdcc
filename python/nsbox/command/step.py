"""A step of a command that changes its own process, in the form of the steps of a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nsbox._core import Call
from nsbox.spec.step_names import StepName

__all__ = ["CommandStep"]


@dataclass(frozen=True, slots=True)
class CommandStep:
    """A step in the form of those of a plan, and the function that carries it out.

    Attributes:
        name: The name, the same as in a plan where that has such a step.
        calls: The system calls with their arguments, in order.
        manual: The manual page that describes it.
        why: Why it is done.
        do: Carry it out, in the calling process.
        actor: The command.
    """

    name: StepName
    calls: tuple[Call, ...]
    manual: str
    why: str
    do: Callable[[], None]
    actor: str = "unshare"

    @property
    def call(self) -> str:
        """The system calls as text, in the form in which strace(1) prints them."""
        return "; ".join(map(str, self.calls))
