"""What can be mounted in a new mount namespace: frozen, checked, picklable.

nsbox-init mounts them in the order given, after it has made all mounts private. A target must exist; nothing is
created, so nothing has to be removed. If there is a new root, the target is looked up in it: symbolic links and ``..``
cannot lead out of it. The mount is made on what was found, even if the path is changed meanwhile (openat2(2),
RESOLVE_IN_ROOT). Everything is mounted nosuid and nodev; see each class for more.

Mounts arrange what a program sees, and do not hold it: with CAP_SYS_ADMIN in the user namespace that owns the mount
namespace it can unmount them (umount(2)). Root of the program's user namespace has it, and so has root without one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nsbox.errors import SpecError
from nsbox.spec.paths import StrOrBytesPath, path_of

__all__ = ["Bind", "NewMount", "Overlay", "Proc", "Tmpfs"]

_MAX_SIZE = 2**63 - 1
_PERMISSIONS = 0o7777


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory that appears at a second place (mount(2), MS_BIND).

    Args:
        source: A file or directory outside. A relative path is relative to the working directory at this moment.
        target: An absolute path to a file or directory, as `source` is.
        read_only: Whether it is read-only; with `recursive`, all mounts below it as well (mount_setattr(2)).
        recursive: Whether the mounts below `source` appear as well. In a user namespace this must be True.
        dev: Whether device nodes work there, as for a bind of ``/dev``.

    Raises:
        SpecError: for a value that is no path.
    """

    source: StrOrBytesPath
    target: StrOrBytesPath
    read_only: bool = False
    recursive: bool = True
    dev: bool = False

    def __post_init__(self) -> None:
        """Check the values, and bring each into one form."""
        _put(self, source=_source("source", self.source), target=_target(self.target))
        _check_flags(self, "read_only", "recursive", "dev")


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """An empty file system in memory, which is gone when the namespace ends (tmpfs(5)).

    Args:
        target: An absolute path to a directory.
        size: How many bytes it may hold; by default half of the machine's memory.
        mode: The permissions of its root.

    Raises:
        SpecError: for a value that makes no sense.
    """

    target: StrOrBytesPath
    size: int | None = None
    mode: int = 0o1777

    def __post_init__(self) -> None:
        """Check the values, and bring each into one form."""
        _put(self, target=_target(self.target))
        if self.size is not None and not (_is_number(self.size) and 0 < self.size <= _MAX_SIZE):
            # 0 would mean no limit at all.
            raise SpecError(f"size: expected a positive number of bytes, got {self.size!r}")
        if not (_is_number(self.mode) and 0 <= self.mode <= _PERMISSIONS):
            raise SpecError(f"mode: expected permissions such as 0o755, got {self.mode!r}")


@dataclass(frozen=True, slots=True)
class Overlay:
    """Several directories merged into one, of which only the upper one is written to (overlayfs, mount(8)).

    Args:
        target: An absolute path to a directory.
        lower: The directories that are only read, the topmost first: one or more, or two or more without `upper`.
        upper: The directory to which changes are written; without it the mount is read-only.
        work: An empty directory on the same file system as `upper`.

    Raises:
        SpecError: for a value or a combination that makes no sense.
    """

    target: StrOrBytesPath
    lower: Sequence[StrOrBytesPath]
    upper: StrOrBytesPath | None = None
    work: StrOrBytesPath | None = None

    def __post_init__(self) -> None:
        """Check the values, and bring each into one form."""
        if isinstance(self.lower, str | bytes | os.PathLike) or not isinstance(self.lower, Iterable):
            raise SpecError(f"lower: expected directories, got {self.lower!r}")
        _put(
            self,
            target=_target(self.target),
            lower=tuple(_source("lower", layer) for layer in self.lower),
            upper=None if self.upper is None else _source("upper", self.upper),
            work=None if self.work is None else _source("work", self.work),
        )
        if (self.upper is None) is not (self.work is None):
            raise SpecError("work: belongs to upper; give both or neither")
        if len(self.lower) < (1 if self.upper is not None else 2):
            raise SpecError(f"lower: {len(self.lower)} is too few; without upper it takes two, with it one")


@dataclass(frozen=True, slots=True)
class Proc:
    """A new proc, for the new PID namespace (proc(5)). It is also noexec.

    Args:
        target: An absolute path to a directory.

    Raises:
        SpecError: for a value that is no path.
    """

    target: StrOrBytesPath

    def __post_init__(self) -> None:
        """Check the value, and bring it into one form."""
        _put(self, target=_target(self.target))


NewMount: TypeAlias = "Bind | Tmpfs | Overlay | Proc"


def _put(mount: NewMount, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(mount, name, value)


def _source(argument: str, value: object) -> str:
    # Joined, not normalized: after a symbolic link, `..` is the parent of the link's target.
    path = os.fsdecode(path_of(argument, value))
    return path if path.startswith("/") else os.path.join(os.getcwd(), path)


def _target(value: object) -> str:
    path = os.fsdecode(path_of("target", value))
    if not path.startswith("/"):
        raise SpecError(f"target: expected an absolute path, got {path!r}")
    if os.path.normpath(path).strip("/") == "":
        raise SpecError("target: is the root itself; a new root is what the option root is for")
    return path


def _check_flags(mount: NewMount, *names: str) -> None:
    for name in names:
        if not isinstance(value := getattr(mount, name), bool):
            raise SpecError(f"{name}: expected True or False, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
