"""The workers that wait for the next call, in all boxes of this process: `idle_workers` and `ask_idle_worker`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["ask_idle_worker", "idle_workers", "pools"]


class Pool(Protocol):
    """The workers of one box."""

    def pids(self) -> set[int]:
        """Return the PIDs of those that are idle, as the caller sees them."""

    def ask(self, pid: int, function: Callable[[], Any]) -> Any:
        """Return what a function returns in the idle worker with this PID; None if there is none, or if it fails."""


pools: weakref.WeakSet[Pool] = weakref.WeakSet()
"""Where each pool is added when it is made."""


def idle_workers() -> set[int]:
    """Return the PIDs of the workers that `nsbox.Box.call` keeps for the next call, as the caller sees them.

    The pools have handles of these processes. So a process in a box cannot be taken for one because of its name.
    """
    return set().union(*(pool.pids() for pool in list(pools)))


def ask_idle_worker(pid: int, function: Callable[[], Any]) -> Any:
    """Return what a function returns in the idle worker with this PID; None if there is none, or if it fails."""
    return next((result for pool in list(pools) if (result := pool.ask(pid, function)) is not None), None)
