"""Run a function, or another Python, as a user who can reach Python and the project."""

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
    """Provide a directory in which every user may do everything; its path is short enough for a socket's."""
    path = Path(tempfile.mkdtemp(prefix="nsbox-test-"))
    path.chmod(0o777)
    try:
        yield path
    finally:
        # An overlay leaves a directory behind that only root may open (mount(8)).
        for directory, names, _ in os.walk(path):
            for name in names:
                if not Path(directory, name).is_symlink():
                    Path(directory, name).chmod(0o700)
        shutil.rmtree(path)


def run_as(who: Who, workplace: Path, function: Callable[[], T]) -> T:
    """Return what `function` returns, or raise what it raises, when run as `who`."""
    return function() if who.is_root else apart(who, workplace, function)


def apart(who: Who, workplace: Path, function: Callable[[], T]) -> T:
    """The same, but for root also in a child, so that descriptors that it leaves open do not matter."""
    if who.is_root:
        return in_child(function)

    def in_reach() -> T:
        become_reachable(workplace)
        return as_user(function)

    return as_user(function) if os.geteuid() != 0 else in_child(in_reach)


def become(who: Who, workplace: Path) -> Callable[[], None] | None:
    """Return the function that makes a child become `who` before it executes another Python (`preexec_fn`)."""

    def change() -> None:
        become_reachable(workplace)
        become_user()

    return None if who.is_root or os.geteuid() != 0 else change
