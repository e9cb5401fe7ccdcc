"""The connections of pytest's process to others, which the process of a marked test must not have."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["Descriptors", "connections", "descriptors", "disconnect"]

Descriptors: TypeAlias = Mapping[int, os.stat_result]
"""Open descriptors, and what fstat(2) returns for each."""


def descriptors() -> Descriptors:
    """Return the open descriptors of this process."""
    found: dict[int, os.stat_result] = {}
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # that of the directory itself
            found[fd] = os.fstat(fd)
    return found


def connections(of: Descriptors) -> Descriptors:
    """Return which of them are pipes and sockets, besides the standard streams and their copies.

    When pytest begins, they are those of pytest-xdist and of make. They lead to processes that take what they receive
    for this process's own words.
    """
    streams = [of[fd] for fd in range(3) if fd in of]
    return {
        fd: status
        for fd, status in of.items()
        if (stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode))
        and not any(os.path.samestat(status, stream) for stream in streams)
    }


def disconnect(ended: Descriptors, nothing: int) -> None:
    """Replace descriptors by that of an empty file. Their owners in Python stay, and may still write to them."""
    for fd, status in ended.items():
        with contextlib.suppress(OSError):  # it has been closed
            if os.path.samestat(os.fstat(fd), status):
                os.dup2(nothing, fd, inheritable=False)
    os.close(nothing)
