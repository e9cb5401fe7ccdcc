"""Imports of a thread that is in another mount namespace: its files may be those of other programs.

There Python would search the directories of `sys.path` among the files of the processes in that namespace, and execute
what it finds with the rights of the caller. So such a thread imports no files. Modules that are loaded already, and
those that are part of the interpreter (built-in and frozen), are not read from files and can be imported.

A mount namespace that the thread has made itself (`nsbox.unshare`) is a copy of its own. Whoever may mount something
in it may also trace this process, so imports are not refused there.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec
from types import ModuleType

from nsbox import _core
from nsbox.errors import ForeignImportError

__all__ = ["prepare"]

_FOLDERS = (
    "assertions", "box", "command", "diagnosis", "errors", "namespaces", "quiz", "lessons", "raw", "records", "remote",
    "seeing", "spec", "start", "tasks", "views",
)  # fmt: skip
"""What of nsbox may be used inside; the others are programs, or plugins of programs."""

_STANDARD_LIBRARY = (
    # Texts of exceptions and warnings.
    "_colorize", "ast", "dis", "linecache", "re", "token", "tokenize", "traceback", "tracemalloc", "unicodedata",
    "warnings",
    # Texts and numbers.
    "_strptime", "calendar", "datetime", "decimal", "inspect", "json", "locale", "pprint", "shlex", "stringprep",
    "textwrap",
    # Processes and files.
    "_posixsubprocess", "asyncio", "bz2", "grp", "logging", "lzma", "multiprocessing", "multiprocessing.reduction",
    "pickle", "pwd", "random", "resource", "selectors", "shutil", "socket", "subprocess", "tempfile", "threading",
    "zlib",
)  # fmt: skip
"""What these modules, and the interpreter itself, import when they need it. Some do not exist in every version."""


class _Guard:
    """A finder of `sys.meta_path`, the first one: it refuses what the later ones would search in files."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return None where the thread reads its own files, so that the other finders are asked.

        Raises:
            ForeignImportError: where it does not.
        """
        if not _core.in_foreign_mounts():
            return None
        for finder in (BuiltinImporter, FrozenImporter):
            if (spec := finder.find_spec(fullname, path, target)) is not None:
                return spec
        raise ForeignImportError(fullname)


def prepare() -> None:
    """Import what may be needed inside, and put the guard before all other finders.

    To be called while the thread is still outside.
    """
    if _core.in_foreign_mounts():
        return
    if sys.meta_path[:1] != [_Guard]:
        # In one assignment, as other threads may be importing.
        sys.meta_path[:] = [_Guard, *(finder for finder in sys.meta_path if finder is not _Guard)]
    for name in _needed():
        if name not in sys.modules:
            # A codec of another system, or a module of another version.
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def _needed() -> Iterator[str]:
    yield from _STANDARD_LIBRARY
    # `codecs` remembers for good that a codec could not be imported.
    encodings = sys.modules["encodings"]
    yield from (module.name for module in pkgutil.iter_modules(encodings.__path__, "encodings."))
    package = sys.modules["nsbox"]
    for module in pkgutil.iter_modules(package.__path__, "nsbox."):
        if module.name.partition(".")[2] not in _FOLDERS:
            continue
        yield module.name
        if module.ispkg:
            folder = importlib.import_module(module.name)
            yield from (one.name for one in pkgutil.walk_packages(folder.__path__, f"{module.name}."))
