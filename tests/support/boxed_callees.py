"""Functions with a box for each call, as a user's library would have them."""

from __future__ import annotations

import os
from pathlib import Path

import nsbox

from tests.support import callees

__all__ = ["linger", "where"]


@nsbox.boxed(unshare="mip")
def where(number: int) -> tuple[int, str, int, int]:
    """Return the number, the PID namespace, and the PIDs of itself and the parent in it."""
    return number, os.readlink("/proc/self/ns/pid"), os.getpid(), os.getppid()


@nsbox.boxed(unshare="mip")
def linger(place: str) -> str:
    """Start a daemon and never return. On a second call, return at once."""
    if Path(place, "begun").exists():
        return "the second time"
    return callees.leave_behind_and_sleep(place)
