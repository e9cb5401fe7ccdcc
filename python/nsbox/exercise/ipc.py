"""IPC objects of three kinds: a System V segment, a POSIX message queue and a file in /dev/shm.

``python -m nsbox.exercise.ipc KEY QUEUE FILE`` prints which of them its own namespaces have.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Names", "Visible", "look", "objects"]

_IPC_CREAT, _IPC_EXCL, _IPC_RMID = 0o1000, 0o2000, 0
_SIZE_BYTES = 4096


class Names(NamedTuple):
    """The names of the objects: the key of the segment, the name of the queue, the path of the file."""

    key: int
    queue: str
    file: str


class Visible(NamedTuple):
    """Which of the objects were found."""

    segment: bool
    queue: bool
    file: bool


def _library() -> ctypes.CDLL:
    """Return the C library; before glibc 2.34 the functions of queues are in librt."""
    library = ctypes.CDLL(None, use_errno=True)
    return library if hasattr(library, "mq_open") else ctypes.CDLL("librt.so.1", use_errno=True)


def _checked(result: int, call: str) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")
    return result


@contextlib.contextmanager
def objects() -> Iterator[Names]:
    """Make the three objects; remove them at the end of the block."""
    library, suffix = _library(), secrets.token_hex(4)
    names = Names(int(suffix, 16) >> 1 | 1, f"/nsbox-{suffix}", f"/dev/shm/nsbox-{suffix}")
    with contextlib.ExitStack() as undo:
        segment = _checked(library.shmget(names.key, _SIZE_BYTES, _IPC_CREAT | _IPC_EXCL | 0o600), "shmget")
        undo.callback(library.shmctl, segment, _IPC_RMID, None)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        queue = _checked(library.mq_open(names.queue.encode(), flags, 0o600, None), "mq_open")
        undo.callback(library.mq_unlink, names.queue.encode())
        os.close(queue)
        Path(names.file).write_text("42")
        undo.callback(Path(names.file).unlink)
        yield names


def look(names: Names) -> Visible:
    """Look for the objects in the namespaces of this process."""
    library = _library()
    segment = library.shmget(names.key, _SIZE_BYTES, 0o600) != -1
    queue = library.mq_open(names.queue.encode(), os.O_RDONLY)
    if queue != -1:
        os.close(queue)
    return Visible(segment, queue != -1, Path(names.file).exists())


def main() -> None:
    """Print which objects are found."""
    key, queue, file = sys.argv[1:]
    for kind, found in zip(("segment", "queue", "file"), look(Names(int(key), queue, file)), strict=True):
        print(f"{kind:8}{'found' if found else 'not found'}")


if __name__ == "__main__":
    main()
