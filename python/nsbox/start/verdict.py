"""How a program or a task has ended, in one word: `Verdict`, and what it is concluded from."""

from __future__ import annotations

import enum
import resource
import signal

__all__ = ["Verdict", "judge"]

_COUNTED = 0.5
"""The part of the limit that has to be used. For a limit the kernel counts whole ticks in which a process runs at some
moment, so on a busy machine it reaches the limit before its CPU time does, which is counted exactly (getrusage(2))."""
_SHELL = 128
"""A shell exits with this and the number of the signal that has ended its program."""


class Verdict(enum.Enum):
    """How a program or a task has ended.

    OK: the function has returned; or the program has exited with status 0.
    ERROR: the function has raised an exception, or has exited its process, or could not be called at all; or the
    program has exited with another status.
    TIMEOUT: the timeout has passed, and the task was killed with all processes that it had started.
    KILLED: the program or task was ended by a signal, or was cancelled.
    CPU: it has used as much CPU time as it may (``rlimits={"cpu": ...}``).
    OUTPUT: it has written more than `max_output`, and was killed.
    OOM: the kernel has killed the task because memory ran out, or the function has raised MemoryError.
    PIDS: the function has raised the error for a process or thread that could not be started because there were too
    many (fork(2)).
    """

    OK = "OK"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    KILLED = "KILLED"
    CPU = "CPU"
    OUTPUT = "OUTPUT"
    OOM = "OOM"
    PIDS = "PIDS"

    def __str__(self) -> str:
        """Return its name."""
        return self.name


def judge(returncode: int, cpu_seconds: float | None, limits: tuple[int, int]) -> tuple[Verdict, str]:
    """Return how a program has ended, and what that is concluded from.

    Args:
        returncode: Its exit status, negative for a signal.
        cpu_seconds: The CPU time that it and its reaped children used; None if that is not known.
        limits: The soft and the hard limit of CPU time in seconds (setrlimit(2), RLIMIT_CPU).
    """
    number = -returncode if returncode < 0 else returncode - _SHELL
    if number in (signal.SIGXCPU, signal.SIGKILL) and cpu_seconds is not None:
        limit = limits[number == signal.SIGKILL]
        if limit != resource.RLIM_INFINITY and cpu_seconds >= limit * _COUNTED:
            name = signal.Signals(number).name
            used = f"after {cpu_seconds:.2f} seconds of CPU time, with a limit of {limit}"
            if returncode > 0:
                return Verdict.CPU, f"exit status {returncode} {used}: most likely {name} has ended a child"
            if number == signal.SIGKILL:
                return Verdict.CPU, f"SIGKILL {used}: most likely the limit, but another process may have sent it"
            return Verdict.CPU, f"SIGXCPU {used}"
    if returncode < 0:
        return Verdict.KILLED, f"signal {-returncode}"
    return (Verdict.ERROR if returncode else Verdict.OK), f"exit status {returncode}"
