"""File systems that never reply, served by a program in a box (tests/attacks/programs/fuse_without_replies.py)."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from typing import TypeVar

import nsbox
import pytest

from tests.support import libc
from tests.support.attack import PYTHON, Arrangement, program
from tests.support.far import open_place
from tests.support.forked import Who, in_child

__all__ = ["CLONE_NEWNS", "prepared", "silent", "with_fuse"]

T = TypeVar("T")

CLONE_NEWNS = 0x20000


@contextlib.contextmanager
def prepared(arrangement: Arrangement) -> Iterator[nsbox.Box]:
    """Make a box with an empty directory /tmp/silent."""
    with nsbox.Box(**arrangement.options) as box:
        box.run(["sh", "-c", "mount -t tmpfs none /tmp && mkdir /tmp/silent"], check=True)
        yield box


@contextlib.contextmanager
def silent(box: nsbox.Box, *paths: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have a program in a box mount a file system that never replies on each of these paths, which must exist there."""
    with box.Popen([PYTHON, "-c", program("fuse_without_replies.py"), *paths], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"mounted\n"
        try:
            yield server
        finally:
            server.kill()


def with_fuse(who: Who, function: Callable[[], T]) -> T:
    """Return what `function` returns when run as `who` in a child, where every user can open /dev/fuse."""

    def run() -> T:
        if not stat.S_IMODE(os.stat("/dev/fuse").st_mode) & stat.S_IROTH:
            _open_fuse(place)
        return who(function)

    if not os.path.exists("/dev/fuse"):
        pytest.skip("the kernel of this machine has no FUSE")
    with open_place() as directory:
        place = str(directory)
        return in_child(run)


def _open_fuse(place: str) -> None:
    """In a mount namespace of this process, cover /dev/fuse by a device node that every user may open."""
    if os.geteuid() != 0:
        pytest.skip("only root can let another user open /dev/fuse")
    libc.unshare(CLONE_NEWNS)
    libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("none", place, "tmpfs")
    os.mknod(f"{place}/fuse", stat.S_IFCHR, os.stat("/dev/fuse").st_rdev)
    os.chmod(f"{place}/fuse", 0o666)
    libc.mount(f"{place}/fuse", "/dev/fuse", flags=libc.MS_BIND)
