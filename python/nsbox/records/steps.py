"""Records of steps: those that were carried out for a box, and those that are explained."""

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
        actor: The process that carried it out: ``"caller"`` or ``"init"``; for a box in a box ``"outer init"``.
        call: The system calls with their arguments, as text.
        manual: The manual page that describes it.
        why: Why it was done.
        errno: 0, or the number of the error by which it failed (errno(3)).
        microseconds: The time it took; None if nsbox-init did not measure it.
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
        """Return what was done, the result, and the time it took."""
        result = "0" if not self.errno else f"-1 ({os.strerror(self.errno)})"
        took = "" if self.microseconds is None else f" <{self.microseconds:.0f} us>"
        return f"{self.actor:<8} {self.name:<16} {self.call} = {result}{took}"


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """A step that is explained, whether it was carried out or not.

    Attributes:
        index: Its number.
        actor: The process that carries it out.
        name: Its name, as in errors.
        call: The system calls with their arguments, in the form in which strace(1) prints them.
        command: The command that does the same by hand; empty if there is none.
        manual: The manual page that describes it.
        why: Why it is done.
        errno: Its result, if it was carried out: 0 for success, else the error number; None if it is not known.
        microseconds: The time it took; None if it was not measured.
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
        """Its result as text; empty if it is not known."""
        if self.errno is None:
            return ""
        result = "succeeded" if self.errno == 0 else f"failed: {os.strerror(self.errno)}"
        return result if self.microseconds is None else f"{result}, {self.microseconds:.0f} us"
