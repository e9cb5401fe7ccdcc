"""What is dropped without a call of `close` is closed, also where the warning about that is an error (python -W error).

An exception in a finalizer goes to `sys.unraisablehook`. That of pytest keeps it, and so the frame and the object.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import nsbox
import pytest

from tests.support.census import descendants, wait_until
from tests.support.forked import in_child

MADE: dict[str, Callable[[], Any]] = {
    "box": lambda: nsbox.Box("pU"),
    "shell": lambda: nsbox.Shell("pU"),
    "namespace": lambda: nsbox.Namespace.of(os.getpid(), "uts"),
}


def descriptors() -> set[str]:
    """Return the descriptors of this process, without that of the file of nsbox-init, which stays open."""
    links = {name: f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")}
    return {name for name, link in links.items() if os.path.lexists(link) and "nsbox-init" not in os.readlink(link)}


@pytest.mark.parametrize("what", MADE)
def test_a_warning_that_is_an_error(what: str) -> None:
    """Neither a process nor a descriptor is left."""

    def use() -> tuple[list[type[BaseException]], bool]:
        kept: list[Any] = []
        sys.unraisablehook = kept.append
        warnings.simplefilter("error")
        before = descriptors()
        made = MADE[what]()
        assert descriptors() != before
        del made
        return [one.exc_type for one in kept], wait_until(lambda: not descendants() and descriptors() == before)

    assert in_child(use) == ([ResourceWarning], True)
