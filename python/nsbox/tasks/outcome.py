"""How tasks have ended: `Verdict` and `Outcome`."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

__all__ = ["Outcome", "Verdict"]


class Verdict(enum.Enum):
    """How a task has ended.

    OK: the function has returned.
    ERROR: the function has raised an exception, or has exited its process, or could not be called at all.
    TIMEOUT: the timeout has passed, and the task was killed with all processes that it had started.
    KILLED: the task was ended by a signal, or was cancelled.
    OOM: the kernel has killed the task because memory ran out, or the function has raised MemoryError.
    PIDS: the function has raised the error for a process or thread that could not be started because there were too
    many (fork(2)).
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
    """The result of a task. It pickles if the value does.

    Attributes:
        verdict: How the task has ended.
        value: What the function returned; None unless the verdict is OK.
        error: What ``result()`` raises; None if the verdict is OK.
        seconds: How long it took, including the creation of its namespaces; 0 if it was cancelled before.
        stdout: Its output, if that was captured.
        stderr: Its output to standard error, if that was captured.
    """

    verdict: Verdict
    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    stdout: str | None = None
    stderr: str | None = None
