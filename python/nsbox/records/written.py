"""What was written to the upper layer of an overlay, as records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["FileKind", "FileState", "Kept", "WrittenFile"]

FileState: TypeAlias = Literal["created", "changed", "deleted"]
FileKind: TypeAlias = Literal["file", "directory", "link", "fifo", "socket", "device"]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that differs from the layers below.

    Attributes:
        path: Its absolute path, as the program sees it.
        state: Whether it was created, changed (its contents, owner or permissions) or deleted.
        kind: What it is; of a deleted one what it was.
        size: The bytes of a file; None for all others.
        mode: Its permissions with the bits for set-user-ID, set-group-ID and sticky; None for a deleted one.
    """

    path: str
    state: FileState
    kind: FileKind
    size: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What was copied out of a layer.

    Attributes:
        files: The number of files and directories that were made.
        bytes: The bytes that were copied.
        skipped: The paths that were left out, each with the reason.
    """

    files: int
    bytes: int
    skipped: tuple[tuple[str, str], ...]
