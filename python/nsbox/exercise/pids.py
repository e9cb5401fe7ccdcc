"""Use up all PIDs of a PID namespace, then free some. As a program it is run in one with a small pid_max."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from typing import TypedDict

__all__ = ["FIRST_REUSED", "Story", "main", "use_up"]

# After the numbers have been handed out once, the kernel begins again here (kernel/pid.c, RESERVED_PIDS).
FIRST_REUSED = 300


class Story(TypedDict):
    """What happened.

    Attributes:
        pid_max: The namespace's limit (proc_sys_kernel(5)).
        started: How many processes could be started.
        highest: The highest PID any of them had.
        error: The name of the error number that ended it.
        freed: A PID of at least 300 whose process was then ended.
        next: The PID of the process started after that.
        freed_low: A PID below 300 whose process was then ended.
        error_low: The error of the next start; empty if it succeeded.
    """

    pid_max: int
    started: int
    highest: int
    error: str
    freed: int
    next: int
    freed_low: int
    error_low: str


def use_up(pid_max: int, start: Callable[[], int], end: Callable[[int], object]) -> tuple[list[int], str, int, int]:
    """Start processes until the kernel refuses; end one of them, and start another.

    Args:
        pid_max: The limit of the PID namespace.
        start: Starts a process and returns its PID, or raises OSError.
        end: Ends the process with a PID.

    Returns:
        The PIDs of the processes, the name of the errno of the refused start, the PID that was freed, and the next one.
    """
    started: list[int] = []
    error = ""
    while not error and len(started) <= pid_max:
        try:
            started.append(start())
        except OSError as refusal:
            error = errno.errorcode[refusal.errno or 0]
    freed = next(pid for pid in started if pid > FIRST_REUSED)
    end(freed)
    return started, error, freed, start()


def main() -> None:
    """Print what happened as JSON. The processes end with the namespace."""
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        pid_max = int(file.read())
    started, error, freed, reused = use_up(pid_max, _start, _end)
    freed_low = next(pid for pid in started if pid < FIRST_REUSED)
    _end(freed_low)
    error_low = ""
    try:
        _start()
    except OSError as refusal:
        error_low = errno.errorcode[refusal.errno or 0]
    story = Story(
        pid_max=pid_max,
        started=len(started),
        highest=max(started),
        error=error,
        freed=freed,
        next=reused,
        freed_low=freed_low,
        error_low=error_low,
    )
    json.dump(story, sys.stdout)


def _start() -> int:
    return os.posix_spawn(shutil.which("sleep") or "/bin/sleep", ["sleep", "600"], {})


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
