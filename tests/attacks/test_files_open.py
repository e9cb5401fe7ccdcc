"""Files of a box are read below its root, without waiting, and never without a limit."""

from __future__ import annotations

import errno
import socket
import subprocess
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.attack import PYTHON, Arrangement

GIGABYTES = 10 << 30

PREPARE = f"""
mount -t tmpfs none /tmp && cd /tmp
ln -s /dev/zero zero
ln -s /proc/self/root/etc/hostname magic
ln -s ../../../../../../tmp/outside up
mkfifo fifo
truncate -s {GIGABYTES} sparse
yes | head -c 100000 > large
ln -s loop loop
mkdir directory
echo contents > file
ln -s /tmp/file link
"""


def read(box: nsbox.Box, path: str, **options: Any) -> bytes | int:
    """Return the contents of a file of the box, or the error number."""
    try:
        with box.open(path, **options) as file:
            return bytes(file.read())
    except nsbox.SpawnError as error:
        return error.errno or 0


def test_files(with_user_namespace: Arrangement) -> None:
    """Only regular files that are not too large are read, wherever links lead."""

    def use() -> dict[str, Any]:
        with nsbox.Box(**with_user_namespace.options) as box:
            box.run(["sh", "-c", PREPARE], check=True)
            names = ["zero", "magic", "up", "fifo", "sparse", "loop", "directory", "file", "link"]
            found: dict[str, Any] = {name: read(box, f"/tmp/{name}") for name in names}
            found["not so large"] = read(box, "/tmp/large", max_bytes=99_999)
            found["large"] = len(read(box, "/tmp/large", max_bytes=100_000))  # type: ignore[arg-type]
            found["any zero"] = read(box, "/tmp/zero", any_type=True)
            found["any fifo"] = read(box, "/tmp/fifo", any_type=True)
            found["proc"] = read(box, "/proc/sys/kernel/hostname") == socket.gethostname().encode() + b"\n"
            return found

    assert with_user_namespace(use) == {
        "zero": errno.ENXIO,
        "magic": errno.ELOOP,
        "up": errno.ENOENT,
        "fifo": errno.ENXIO,
        "sparse": errno.EFBIG,
        "loop": errno.ELOOP,
        "directory": errno.EISDIR,
        "file": b"contents\n",
        "link": b"contents\n",
        "not so large": errno.EFBIG,
        "large": 100_000,
        "any zero": errno.EFBIG,
        "any fifo": b"",
        "proc": True,
    }


HOLD_A_LEASE = """
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open("/tmp/leased", "w")
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
sys.stdin.read()
"""


def test_a_lease(with_user_namespace: Arrangement) -> None:
    """A program with a lease on a file cannot make its reader wait (fcntl(2), F_SETLEASE)."""

    def use() -> bytes | int:
        with nsbox.Box(**with_user_namespace.options) as box:
            box.run(["mount", "-t", "tmpfs", "none", "/tmp"], check=True)
            with box.Popen([PYTHON, "-c", HOLD_A_LEASE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"leased\n"
                found = read(box, "/tmp/leased")
                holder.communicate()
            return found

    assert with_user_namespace(use) == errno.EAGAIN


def test_the_root_of_the_box_counts(place: Path, with_user_namespace: Arrangement) -> None:
    """In a box with a root of its own, an absolute link leads to that root's files."""
    (place / "etc").mkdir()
    (place / "etc/hostname").write_text("inside\n")
    (place / "link").symlink_to("/etc/hostname")
    (place / "up").symlink_to("../../../../../../../etc/hostname")

    def use() -> list[bytes | int]:
        options = with_user_namespace.options | {"root": place, "mount_proc": False}
        with nsbox.Box(**options) as box:
            return [read(box, "/link"), read(box, "/up")]

    assert with_user_namespace(use) == [b"inside\n"] * 2


@pytest.mark.parametrize("max_bytes", [-1, 1.5, True, 1 << 63])
def test_a_limit_that_is_none(max_bytes: Any) -> None:
    """The limit is a number of bytes."""
    with nsbox.Box("p") as box, pytest.raises(nsbox.SpecError, match="max_bytes: expected a number of bytes"):
        box.open("/etc/hostname", max_bytes=max_bytes)
