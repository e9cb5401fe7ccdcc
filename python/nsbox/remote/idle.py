"""The workers that wait for the next call, in all boxes of this process: `idle_workers`."""

from __future__ import annotations

import weakref
from typing import Protocol

__all__ = ["idle_workers", "pools"]


class Pool(Protocol):
    """The workers of one box."""

    def pids(self) -> set[int]:
        """Return the PIDs of those that are idle, as the caller sees them."""


pools: weakref.WeakSet[Pool] = weakref.WeakSet()
"""Where each pool is added when it is made."""


def idle_workers() -> set[int]:
    """Return the PIDs of the workers that `nsbox.Box.call` keeps for the next call, as the caller sees them.

    The pools have handles of these processes. So a process in a box cannot be taken for one because of its name.
    """
    return set().union(*(pool.pids() for pool in list(pools)))
