"""A directory that only one user may read, where private /tmp is not."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["private_directory"]


@contextlib.contextmanager
def private_directory(parent: str | None = "/var/lib") -> Iterator[Path]:
    """Give a directory of the calling user's, with the file `private`, which only that user may read."""
    with tempfile.TemporaryDirectory(dir=parent, prefix="nsbox-test-") as directory:
        (path := Path(directory)).chmod(0o700)
        (path / "private").write_text("secret\n")
        (path / "private").chmod(0o600)
        yield path
