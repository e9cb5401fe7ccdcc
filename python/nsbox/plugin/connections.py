"""The connections of pytest's process to others, which the process of a marked test must not have."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["Connections", "connections", "disconnect"]

Connections: TypeAlias = Mapping[int, os.stat_result]
"""Pipes and sockets: their descriptors, and what fstat(2) returns for each."""


def connections() -> Connections:
    """Return the pipes and sockets that this process has besides its standard streams.

    When pytest begins, they are those of pytest-xdist and of make. They lead to processes that take what they receive
    for this process's own words.
    """
    found: dict[int, os.stat_result] = {}
    with contextlib.suppress(OSError):  # without /proc no namespaces can be made either
        for fd in map(int, os.listdir("/proc/self/fd")):
            with contextlib.suppress(OSError):  # that of the directory itself
                found[fd] = os.fstat(fd)
    streams = [found[fd] for fd in range(3) if fd in found]
    return {
        fd: status
        for fd, status in found.items()
        if (stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode))
        and not any(os.path.samestat(status, stream) for stream in streams)
    }


def disconnect(ended: Connections) -> None:
    """Replace connections by an empty file. Their owners in Python stay, and may still write to the descriptors."""
    nothing = os.memfd_create("nsbox-nothing")
    for fd, status in ended.items():
        with contextlib.suppress(OSError):  # it has been closed
            if os.path.samestat(os.fstat(fd), status):
                os.dup2(nothing, fd, inheritable=False)
    os.close(nothing)
