"""Run something as somebody who can reach Python and the project: for what starts another Python."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.support.forked import Who, as_user, become_user, in_child
from tests.support.reachable import become_reachable

__all__ = ["apart", "become", "open_place", "run_as"]

T = TypeVar("T")


@contextmanager
def open_place() -> Iterator[Path]:
    """Provide a directory in which everybody may do everything; its path is short enough for that of a socket."""
    path = Path(tempfile.mkdtemp(prefix="nsbox-test-"))
    path.chmod(0o777)
    try:
        yield path
    finally:
        # An overlay leaves a directory behind that nobody but root may open (mount(8)).
        for directory, names, _ in os.walk(path):
            for name in names:
                if not Path(directory, name).is_symlink():
                    Path(directory, name).chmod(0o700)
        shutil.rmtree(path)


def run_as(who: Who, workplace: Path, function: Callable[[], T]) -> T:
    """Return what `function` returns, or raise what it raises, when run by this one."""
    return function() if who.is_root else apart(who, workplace, function)


def apart(who: Who, workplace: Path, function: Callable[[], T]) -> T:
    """The same, but also for root in a child, where what it leaves open is nobody's business."""
    if who.is_root:
        return in_child(function)

    def in_reach() -> T:
        become_reachable(workplace)
        return as_user(function)

    return as_user(function) if os.geteuid() != 0 else in_child(in_reach)


def become(who: Who, workplace: Path) -> Callable[[], None] | None:
    """Return what makes a child this one, before it executes another Python (`preexec_fn` of `subprocess`)."""

    def change() -> None:
        become_reachable(workplace)
        become_user()

    return None if who.is_root or os.geteuid() != 0 else change
