"""The result of `run`: that of `subprocess.run`, with the resources that were used, and a verdict."""

from __future__ import annotations

import resource
import subprocess
from typing import Any, TypeVar

from nsbox.spec.limits import rlimits_of
from nsbox.spec.spec import Spec
from nsbox.start.verdict import Verdict, judge

__all__ = ["CompletedProcess", "rusage_of"]

T = TypeVar("T")


class CompletedProcess(subprocess.CompletedProcess[T]):
    """`subprocess.CompletedProcess` of a program in namespaces.

    Attributes:
        args: As in `subprocess`.
        returncode: As in `subprocess`.
        stdout: As in `subprocess`.
        stderr: As in `subprocess`.
        seconds: How long it took, including the creation of its namespaces.
        truncated: Whether a part of its output is missing, as it has written more than `max_output`.
    """

    seconds: float = 0.0
    truncated: bool = False
    _used: tuple[float, float, list[int]] | None = None
    _cpu_limits: tuple[int, int] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    @classmethod
    def _of(
        cls,
        subject: tuple[Any, int, Any, Any],
        *,
        spec: Spec | None,
        used: tuple[float, float, list[int]] | None,
        seconds: float,
        truncated: bool = False,
    ) -> CompletedProcess[Any]:
        """Make one from the arguments of the base class, and what is known besides."""
        result: CompletedProcess[Any] = CompletedProcess(*subject)
        result._used, result.seconds, result.truncated = used, seconds, truncated
        limits = dict(rlimits_of(spec.rlimits)) if spec is not None and spec.rlimits else {}
        result._cpu_limits = limits.get("cpu") or resource.getrlimit(resource.RLIMIT_CPU)
        return result

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


def rusage_of(used: tuple[float, float, list[int]] | None) -> resource.struct_rusage | None:
    """Return what the core reports as the structure of the standard library."""
    if used is None:
        return None
    user, system, counts = used
    return resource.struct_rusage((user, system, *counts))
