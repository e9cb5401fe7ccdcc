"""Paths as arguments."""

from __future__ import annotations

import os
from typing import TypeAlias

from nsbox.errors import SpecError

__all__ = ["StrOrBytesPath", "path_of"]

StrOrBytesPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"


def path_of(argument: str, value: object, expected: str = "a path") -> bytes:
    """Return a path as the kernel takes it. The error names the argument, and what it takes.

    Raises:
        SpecError: when the value is not a path, is empty, or contains NUL.
    """
    if not isinstance(value, str | bytes | os.PathLike):
        raise SpecError(f"{argument}: expected {expected}, got {value!r}")
    path = os.fsencode(value)
    if not path or b"\0" in path:
        raise SpecError(f"{argument}: {value!r} is no path")
    return path
