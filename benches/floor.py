"""Compile the floor in C (`floor.c`), and call it from this process."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("floor.c")
INIT = Path(__file__).with_name("floor_init.c")


class NoCompilerError(Exception):
    """There is no C compiler, or it cannot build the floor."""


class Floor:
    """The compiled floor. Each call is one start, and returns its nanoseconds as C measured them."""

    def __init__(self, library: ctypes.CDLL, init: bytes) -> None:
        """Load the functions from the library, and put the init into memory, as nsbox does."""
        self._namespaces = library.floor_namespaces
        self._with_init = library.floor_with_init
        self._plain = library.floor_plain
        for function in (self._namespaces, self._with_init, self._plain):
            function.restype = ctypes.c_longlong
        self._init = os.memfd_create("floor-init")
        os.write(self._init, init)

    def namespaces(self) -> int:
        """Start true in new mount, ipc and pid namespaces with a new proc."""
        return _checked(self._namespaces())

    def with_init(self) -> int:
        """Start the same by an init that is exec'd first and does nothing else."""
        return _checked(self._with_init(self._init))

    def plain(self) -> int:
        """Start true, without namespaces."""
        return _checked(self._plain())


def build() -> Floor:
    """Compile the floor and its init in a temporary directory, and load it.

    Raises:
        NoCompilerError: when there is no compiler, or it fails.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoCompilerError("no C compiler (cc, or what $CC names) to build it with")
    with tempfile.TemporaryDirectory(prefix="nsbox-floor-") as directory:
        library, init = Path(directory, "floor.so"), Path(directory, "init")
        _compile(compiler, "-shared", "-fPIC", "-o", library, SOURCE)
        freestanding = ("-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-Wl,--build-id=none")
        _compile(compiler, *freestanding, "-o", init, INIT)
        return Floor(ctypes.CDLL(str(library)), init.read_bytes())


def _compile(compiler: str, *args: str | Path) -> None:
    built = subprocess.run([compiler, "-O2", "-Wall", *args], capture_output=True, text=True, check=False)
    if built.returncode:
        raise NoCompilerError(f"{compiler} failed:\n{built.stderr}")


def _checked(result: int) -> int:
    if result >= 0:
        return result
    if result <= -1000:  # see floor.c
        raise RuntimeError(f"the child of the floor exited with status {-1000 - result}")
    raise OSError(-result, os.strerror(-result), "clone")
