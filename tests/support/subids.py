"""Ids granted to the test user by subuid(5) and subgid(5), in a mount namespace of the test's own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support import libc
from tests.support.forked import USER, in_child

__all__ = ["GRANTED", "NAME", "granted"]

T = TypeVar("T")

NAME = "nsbox-tester"
GRANTED = (300_000, 65_536)
"""The first of the ids, and how many there are."""

_CLONE_NEWNS = 0x20000


def granted(function: Callable[[], T], *, lines: str | None = None) -> T:
    """Return what `function` returns in a child for which /etc grants these ids to root and to the test user.

    Args:
        function: The function to call.
        lines: The contents of subuid(5) and subgid(5) instead of the grants.
    """
    if os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    for tool in ("newuidmap", "newgidmap"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: uidmap)")
    for file in ("/etc/subuid", "/etc/subgid"):
        if not Path(file).exists():
            pytest.skip(f"there is no {file} that another could be bound over")
    if lines is None:
        lines = "".join(f"{name}:{GRANTED[0]}:{GRANTED[1]}\n" for name in (NAME, "root"))
    passwd = Path("/etc/passwd").read_text() + f"{NAME}:x:{USER}:{USER}::/:/bin/sh\n"
    with tempfile.TemporaryDirectory(prefix="nsbox-test-") as directory:
        for name, text in (("passwd", passwd), ("subuid", lines), ("subgid", lines)):
            Path(directory, name).write_text(text)
            Path(directory, name).chmod(0o644)

        def prepared() -> T:
            libc.unshare(_CLONE_NEWNS)
            libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
            for name in ("passwd", "subuid", "subgid"):
                libc.mount(f"{directory}/{name}", f"/etc/{name}", flags=libc.MS_BIND)
            return function()

        return in_child(prepared)
