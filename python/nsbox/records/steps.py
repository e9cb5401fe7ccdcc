"""Steps that were carried out, and steps that are explained."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

__all__ = ["ExplainedStep", "StepResult", "SystemCall", "data_of"]

SystemCall: TypeAlias = Mapping[str, Any]
"""A system call as data that JSON takes: ``name``, ``arguments`` by the names of the manual page, and ``is_program``.

Constants are tuples of their names, descriptors dictionaries with the key ``file``, id maps tuples of their rows."""


class _Call(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> Iterable[tuple[str, Any]]: ...
    @property
    def is_program(self) -> bool: ...


def data_of(calls: Sequence[_Call]) -> tuple[SystemCall, ...]:
    """Return calls of the core (`nsbox._core.Call`) as plain data."""
    return tuple({"name": one.name, "arguments": dict(one.arguments), "is_program": one.is_program} for one in calls)


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that was carried out for a box.

    Attributes:
        name: Its name, such as ``"mount proc"``.
        actor: Who carried it out: ``"caller"`` or ``"init"``; for a box in a box ``"outer init"``.
        call: The system calls with their arguments, as text.
        manual: The manual page that describes it.
        why: Why it was done.
        errno: 0, or the number of the error by which it failed (errno(3)).
        microseconds: How long it took; None where nsbox-init did not measure it.
        calls: The system calls as data.
    """

    name: str
    actor: str
    call: str
    manual: str
    why: str
    errno: int = 0
    microseconds: float | None = None
    calls: tuple[SystemCall, ...] = ()

    def __str__(self) -> str:
        """Say what was done, how it ended, and how long it took."""
        result = "0" if not self.errno else f"-1 ({os.strerror(self.errno)})"
        took = "" if self.microseconds is None else f" <{self.microseconds:.0f} us>"
        return f"{self.actor:<8} {self.name:<16} {self.call} = {result}{took}"


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """A step.

    Attributes:
        index: Its number.
        actor: Who does it.
        name: Its name, as errors have it.
        call: The system calls with their arguments, in the form in which strace(1) prints them.
        command: The command that does the same by hand; empty if there is none.
        manual: The manual page that describes it.
        why: Why it is done.
        errno: What it ended with, where it has been done: 0 for success; None where that is not known.
        microseconds: How long it took; None where that was not measured.
        calls: The system calls as data.
    """

    index: int
    actor: str
    name: str
    call: str
    command: str
    manual: str
    why: str
    errno: int | None = None
    microseconds: float | None = None
    calls: tuple[SystemCall, ...] = ()

    @property
    def result(self) -> str:
        """What came of it in words; empty where that is not known."""
        if self.errno is None:
            return ""
        result = "succeeded" if self.errno == 0 else f"failed: {os.strerror(self.errno)}"
        return result if self.microseconds is None else f"{result}, {self.microseconds:.0f} us"
