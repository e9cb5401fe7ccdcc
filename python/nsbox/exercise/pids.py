"""Use up all PIDs of a PID namespace, then free some: run inside one with a small pid_max. Prints what happened."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
from typing import TypedDict

__all__ = ["Story", "main", "use_up"]

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


def use_up() -> Story:
    """Start processes until the kernel refuses; end two of them, and see which numbers come back."""
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        pid_max = int(file.read())
    started: list[int] = []
    error = ""
    while not error and len(started) <= pid_max:
        pid, error = _start()
        started += [pid] if pid else []
    freed = next(pid for pid in started if pid > FIRST_REUSED)
    _end(freed)
    reused, _ = _start()
    freed_low = next(pid for pid in started if pid < FIRST_REUSED)
    _end(freed_low)
    _, error_low = _start()
    return Story(
        pid_max=pid_max,
        started=len(started),
        highest=max(started),
        error=error,
        freed=freed,
        next=reused,
        freed_low=freed_low,
        error_low=error_low,
    )


def _start() -> tuple[int, str]:
    sleep = shutil.which("sleep") or "/bin/sleep"
    try:
        return os.posix_spawn(sleep, ["sleep", "600"], {}), ""
    except OSError as refusal:
        return 0, errno.errorcode[refusal.errno or 0]


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def main() -> None:
    """Print the story as JSON. The processes end with the namespace."""
    json.dump(use_up(), sys.stdout)


if __name__ == "__main__":
    main()
