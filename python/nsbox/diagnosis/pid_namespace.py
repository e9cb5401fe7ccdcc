"""The state of the PID namespace in which a process's children are born (pid_namespaces(7), ioctl_nsfs(2))."""

from __future__ import annotations

import errno
import os
from typing import Literal

from nsbox import raw

__all__ = ["for_children"]


def for_children(pid: int) -> Literal["own", "unborn", "alive", "dead", "unknown"]:
    """Say what a child of process `pid` would be born into.

    ``"own"`` is the process's own PID namespace; ``"unborn"`` a new one without a first process yet; ``"alive"``
    another one; ``"dead"`` one whose PID 1 has ended, in which the kernel starts nothing more.
    """
    try:
        own = os.stat(f"/proc/{pid}/ns/pid").st_ino
        try:
            fd = os.open(f"/proc/{pid}/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return "unborn"
        try:
            if os.fstat(fd).st_ino == own:
                return "own"
            raw.ns_get_pid_from_pidns(fd, 1)
        finally:
            os.close(fd)
    except OSError as error:
        return "dead" if error.errno == errno.ESRCH else "unknown"
    return "alive"
