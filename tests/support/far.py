"""Run something as somebody who can reach Python and the project: for what starts another Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.support.forked import Who, as_user, in_child
from tests.support.reachable import become_reachable

__all__ = ["run_as"]

T = TypeVar("T")


def run_as(who: Who, workplace: Path, function: Callable[[], T]) -> T:
    """Return what `function` returns, or raise what it raises, when run by this one."""
    if who.is_root:
        return function()

    def in_reach() -> T:
        become_reachable(workplace)
        return as_user(function)

    return in_child(in_reach)
