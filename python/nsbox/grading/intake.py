"""Taking a submission in: a copy with nothing but directories and regular files, of a limited size.

Students can hand in links to the grader's files, FIFOs that never open, and files without end. None of them is opened
here; no path is looked up twice.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nsbox.errors import NsboxError
from nsbox.grading.text import one_line

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_FILES", "RefusedError", "take_in"]

MAX_BYTES = 32 << 20
"""The size in bytes of all files of a submission together."""
MAX_FILES = 2000
"""The number of files and directories of a submission."""
MAX_DEPTH = 20
"""How deep its directories may be."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20


class RefusedError(NsboxError, ValueError):
    """A submission is no file and no directory, or too large. It earns no points."""


def take_in(source: Path, target: Path) -> list[str]:
    """Copy a submission into a new directory.

    Args:
        source: A regular file, or a directory.
        target: The directory to make. A file is put into it under its own name.

    Returns:
        What was left out: links, devices, FIFOs and sockets, by their paths in the submission.

    Raises:
        RefusedError: when it is anything else, or larger than the limits.
        OSError: when it cannot be read, or the copy cannot be written.
    """
    try:
        found = os.lstat(source)
    except OSError as error:
        raise RefusedError(f"{one_line(source.name)} cannot be read: {error.strerror}") from None
    copy = _Copy()
    target.mkdir(mode=0o755)
    if stat.S_ISREG(found.st_mode):
        copy.file(None, str(source), target / source.name, source.name)
    elif stat.S_ISDIR(found.st_mode):
        copy.directory(None, str(source), target, "", 0)
    else:
        raise RefusedError(f"{one_line(source.name)} is {_kind(found.st_mode)}: expected a file or a directory")
    return copy.left_out


class _Copy:
    """One copy, and what of its limits is left."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self._bytes = MAX_BYTES
        self._files = MAX_FILES

    def directory(self, parent: int | None, name: str, target: Path, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise RefusedError(f"directories are more than {MAX_DEPTH} levels deep")
        fd = os.open(name, _READ | os.O_DIRECTORY, dir_fd=parent)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    self._count()
                    self._entry(fd, entry.name, target / entry.name, f"{path}{entry.name}", depth)
        finally:
            os.close(fd)

    def _count(self) -> None:
        self._files -= 1
        if self._files < 0:
            raise RefusedError(f"more than {MAX_FILES} files")

    def _entry(self, parent: int, name: str, target: Path, path: str, depth: int) -> None:
        mode = os.lstat(name, dir_fd=parent).st_mode
        if stat.S_ISDIR(mode):
            target.mkdir(mode=0o755)
            self.directory(parent, name, target, f"{path}/", depth + 1)
        elif stat.S_ISREG(mode):
            self.file(parent, name, target, path)
        else:
            self.left_out.append(f"{path} ({_kind(mode)})")

    def file(self, parent: int | None, name: str, target: Path, path: str) -> None:
        with open(os.open(name, _READ, dir_fd=parent), "rb") as source, target.open("xb") as copy:
            found = os.fstat(source.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise RefusedError(f"{one_line(path)} was replaced while it was read")
            # The size first: a file with holes can be large without taking room.
            if found.st_size > self._bytes:
                raise RefusedError(f"more than {MAX_BYTES} bytes, at {one_line(path)}")
            while chunk := source.read(_CHUNK_BYTES):
                self._bytes -= len(chunk)
                if self._bytes < 0:
                    raise RefusedError(f"more than {MAX_BYTES} bytes, at {one_line(path)}")
                copy.write(chunk)
            os.fchmod(copy.fileno(), 0o755 if found.st_mode & 0o111 else 0o644)


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISLNK, "a link"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))
    return next((name for is_kind, name in kinds if is_kind(mode)), "a device")
