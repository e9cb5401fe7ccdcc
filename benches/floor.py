"""The C floor (`floor.c`), compiled on the spot and called from this process."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("floor.c")


class NoCompilerError(Exception):
    """There is no C compiler, or it cannot build the floor."""


class Floor:
    """The compiled floor. Each call is one start, and returns its nanoseconds as C measured them."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Take the two functions from the library."""
        self._namespaces = library.floor_namespaces
        self._plain = library.floor_plain
        self._namespaces.restype = self._plain.restype = ctypes.c_longlong

    def namespaces(self) -> int:
        """Start true in new mount, ipc and pid namespaces with a new proc."""
        return _checked(self._namespaces())

    def plain(self) -> int:
        """Start true."""
        return _checked(self._plain())


def build() -> Floor:
    """Compile the floor into a directory that is gone again afterwards, and load it.

    Raises:
        NoCompilerError: when that cannot be done.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoCompilerError("no C compiler (cc, or what $CC names) to build it with")
    with tempfile.TemporaryDirectory(prefix="nsbox-floor-") as directory:
        library = Path(directory) / "floor.so"
        built = subprocess.run(
            [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", library, SOURCE],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if built.returncode:
            raise NoCompilerError(f"{compiler} failed:\n{built.stderr}")
        return Floor(ctypes.CDLL(str(library)))


def _checked(result: int) -> int:
    if result >= 0:
        return result
    if result <= -1000:  # as floor.c says
        raise RuntimeError(f"the floor's child ended with {-1000 - result}")
    raise OSError(-result, os.strerror(-result), "clone")
