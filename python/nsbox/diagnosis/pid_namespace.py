"""The state of the PID namespace for the children of a process (pid_namespaces(7), ioctl_nsfs(2))."""

from __future__ import annotations

import errno
import os
from typing import Literal

from nsbox import _core, raw

__all__ = ["for_children"]


def for_children(pid: int | Literal["self"]) -> Literal["own", "unborn", "alive", "dead", "unknown"]:
    """Return the state of the PID namespace in which a child of process `pid` of /proc would be.

    Returns:
        ``"own"`` for the process's own PID namespace; ``"unborn"`` for a new one that has no process yet; ``"alive"``
        for another one; ``"dead"`` for one whose PID 1 has ended, in which the kernel starts no process any more;
        ``"unknown"`` where the kernel does not show it.
    """
    try:
        own = os.stat(f"/proc/{pid}/ns/pid").st_ino
        try:
            opened = _core.Descriptor(os.open, f"/proc/{pid}/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return "unborn"
        with opened:
            if os.fstat(opened.fileno()).st_ino == own:
                return "own"
            raw.ns_get_pid_from_pidns(opened.fileno(), 1)
    except OSError as error:
        return "dead" if error.errno == errno.ESRCH else "unknown"
    return "alive"
