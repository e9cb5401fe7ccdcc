"""The result of `run`: that of `subprocess.run`, with the resources that were used, and a verdict."""

from __future__ import annotations

import resource
import subprocess
from typing import Any, Self, TypeVar

from nsbox.spec.limits import rlimits_of
from nsbox.spec.spec import Spec
from nsbox.start.verdict import Verdict, judge

__all__ = ["Completed", "cpu_limits", "rusage_of"]

T = TypeVar("T")


class Completed(subprocess.CompletedProcess[T]):
    """`subprocess.CompletedProcess` of a program in namespaces.

    Attributes:
        args: As in `subprocess`.
        returncode: As in `subprocess`.
        stdout: As in `subprocess`.
        stderr: As in `subprocess`.
        seconds: How long it took, including the creation of its namespaces.
        truncated: Whether a part of its output is missing, as it has written more than `max_output`.
    """

    # Slots, so that vars() is that of the base class.
    __slots__ = ("_cpu_limits", "_used", "seconds", "truncated")

    seconds: float
    truncated: bool
    _used: tuple[float, float, list[int]] | None
    _cpu_limits: tuple[int, int]

    def __init__(self, args: Any, returncode: int, stdout: T | None = None, stderr: T | None = None) -> None:
        """Make one as in `subprocess`, with nothing known besides."""
        super().__init__(args, returncode, stdout, stderr)
        self.seconds, self.truncated, self._used = 0.0, False, None
        self._cpu_limits = resource.RLIM_INFINITY, resource.RLIM_INFINITY

    def _known(
        self, spec: Spec, used: tuple[float, float, list[int]] | None, seconds: float, truncated: bool = False
    ) -> Self:
        """Add what is known besides, and return the object itself."""
        self._used, self.seconds, self.truncated = used, seconds, truncated
        self._cpu_limits = cpu_limits(spec)
        return self

    def __repr__(self) -> str:
        """Return the same text as the base class."""
        return super().__repr__().replace(type(self).__name__, "CompletedProcess", 1)

    @property
    def rusage(self) -> resource.struct_rusage | None:
        """The resources that it and its reaped children used (getrusage(2)); None if they are not known."""
        return rusage_of(self._used)

    @property
    def verdict(self) -> Verdict:
        """How it has ended: OK, ERROR, KILLED or CPU. A timeout, and too much output, are exceptions."""
        return self._judged[0]

    @property
    def why(self) -> str:
        """What the verdict is concluded from; it says so if another reason is possible."""
        return self._judged[1]

    @property
    def _judged(self) -> tuple[Verdict, str]:
        seconds = None if self._used is None else self._used[0] + self._used[1]
        return judge(self.returncode, seconds, self._cpu_limits)


def cpu_limits(spec: Spec) -> tuple[int, int]:
    """Return the soft and the hard limit of CPU time in seconds: those that were asked for, or the caller's own."""
    asked = dict(rlimits_of(spec.rlimits)) if spec.rlimits else {}
    return asked.get("cpu") or resource.getrlimit(resource.RLIMIT_CPU)


def rusage_of(used: tuple[float, float, list[int]] | None) -> resource.struct_rusage | None:
    """Return what the core reports as the structure of the standard library."""
    if used is None:
        return None
    user, system, counts = used
    return resource.struct_rusage((user, system, *counts))
