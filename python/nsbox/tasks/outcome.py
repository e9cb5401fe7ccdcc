"""How tasks end: `Verdict` and `Outcome`."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

__all__ = ["Outcome", "Verdict"]


class Verdict(enum.Enum):
    """How a task has ended.

    OK: the function has returned.
    ERROR: it has raised an exception, or has ended its process with an exit status, or could not be called at all.
    TIMEOUT: the time was over, and it was killed with all that it had started.
    KILLED: it was ended by a signal, or was cancelled.
    OOM: it was ended by the kernel for want of memory, or has raised MemoryError.
    PIDS: it has raised the error of a process or thread that could not be made because there were too many (fork(2)).
    """

    OK = "OK"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    KILLED = "KILLED"
    OOM = "OOM"
    PIDS = "PIDS"

    def __str__(self) -> str:
        """Return its name."""
        return self.name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a task. It pickles, if the value does.

    Attributes:
        verdict: How it has ended.
        value: What the function returned; None unless the verdict is OK.
        error: What ``result()`` raises; None if the verdict is OK.
        seconds: How long it took, with the making of its namespaces; 0 if it was cancelled before.
        stdout: What it printed, if that was captured.
        stderr: What it printed to standard error, if that was captured.
    """

    verdict: Verdict
    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    stdout: str | None = None
    stderr: str | None = None
