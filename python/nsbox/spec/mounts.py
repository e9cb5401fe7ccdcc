"""What can be mounted in a new mount namespace: frozen, checked, picklable.

nsbox-init mounts them in the order given, after it has made all mounts private. Sources and layers are looked up before
anything is mounted, so no source is ever looked up in a mount of the same list: `Bind(A, B), Bind(B, A)` is a swap. To
show a part of such a mount elsewhere, make the mount in a box, and the bind in a box inside that one.

A target must exist, except in a `Tmpfs` of the same list or an `Overlay` in memory: there a directory, or a file for a
bind of a file, is made. Nothing is created in files of the caller. If there is a new root, the target is looked up in
it: symbolic links and ``..`` cannot lead out of it. The mount is made on what was found, even if the path is changed
meanwhile (openat2(2), RESOLVE_IN_ROOT). Everything is mounted nosuid and nodev; see each class for more.

The working directory is looked up anew, by its path, after the mounts. Descriptors that the caller passes on
(``pass_fds``, the standard streams) stay what they are: they lead to the files that the caller has opened.

Mounts arrange the files of a program. They do not hold a program that is root in its user namespace: it can unmount
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeGuard

from nsbox.errors import SpecError
from nsbox.spec.paths import StrOrBytesPath, path_of

__all__ = ["Bind", "NewMount", "Overlay", "Proc", "Tmpfs"]

_MAX_SIZE = 2**63 - 1
_PERMISSIONS = 0o7777


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory that appears at a second place (mount(2), MS_BIND).

    ``Bind("/", "/", read_only=True)``, the first of the mounts, makes the whole tree read-only, with all that is
    mounted. What follows it in the list can be writable. With another source and the target ``/`` it is for the option
    ``root``.

    Args:
        source: A file or directory outside. A relative path is relative to the working directory at this moment.
        target: An absolute path to a file or directory, as `source` is.
        read_only: Whether it is read-only; with `recursive`, all mounts below it as well (mount_setattr(2)).
        recursive: Whether the mounts below `source` appear as well. In a user namespace this must be True.
        dev: Whether device nodes work there, as for a bind of ``/dev``; by default only with the target ``/``.
        idmap: Whether files belong to the ids inside that have the numbers of their owners: files of root to root
            inside. It takes ranges of ids (`map_users`, `private_ids`), CAP_SYS_ADMIN outside, and Linux 5.12. A
            read-only bind of a file system that does not support it is made without.
        tree: For nsbox itself: a descriptor of the copy in which files have these owners.

    Raises:
        SpecError: for a value that is no path.
    """

    source: StrOrBytesPath
    target: StrOrBytesPath
    read_only: bool = False
    recursive: bool = True
    dev: bool | None = None
    idmap: bool = False
    tree: int = field(default=-1, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the values, and bring each into one form."""
        _put(self, source=_source("source", self.source), target=_target(self.target, root=True))
        if self.dev is None:
            _put(self, dev=self.target == "/")
        _check_flags(self, "read_only", "recursive", "dev", "idmap")
        if self.target == "/" and self.idmap:
            raise SpecError("idmap: is not for the root; give binds of the directories whose owners matter")
        if self.target == "/" and not self.recursive:
            raise SpecError("recursive: a root comes with all that is mounted below it")


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """An empty file system in memory, which is gone when the namespace ends (tmpfs(5)).

    Args:
        target: An absolute path to a directory.
        size: How many bytes it may hold; by default half of the machine's memory.
        mode: The permissions of its root.
        inodes: How many files and directories it may hold; by default one for each page of half of the memory.

    Raises:
        SpecError: for a value that makes no sense.
    """

    target: StrOrBytesPath
    size: int | None = None
    mode: int = 0o1777
    inodes: int | None = None

    def __post_init__(self) -> None:
        """Check the values, and bring each into one form."""
        _put(self, target=_target(self.target))
        if self.size is not None:
            _check_size(self.size)
        if self.inodes is not None and not (_is_number(self.inodes) and 0 < self.inodes <= _MAX_SIZE):
            raise SpecError(f"inodes: expected a positive number of files, got {self.inodes!r}")
        if not (_is_number(self.mode) and 0 <= self.mode <= _PERMISSIONS):
            raise SpecError(f"mode: expected permissions such as 0o755, got {self.mode!r}")


@dataclass(frozen=True, slots=True)
class Overlay:
    """Several directories merged into one, of which only the upper one is written to (overlayfs, mount(8)).

    ``Overlay([LOWER, ...])``, without a target, is for the option ``root``. Without `upper`, what is written to such a
    root is kept in memory, and `nsbox.Box.changes` lists it.

    Args:
        target: An absolute path to a directory; or the lower directories, for the option ``root``.
        lower: The directories that are only read, the topmost first. Without `upper` a mount needs two or more.
        upper: The directory to which changes are written; without it a mount is read-only, and a root in memory.
        work: An empty directory on the same file system as `upper`.
        size: For a root without `upper`: how many bytes can be written; by default half of the machine's memory.

    Raises:
        SpecError: for a value or a combination that makes no sense.
    """

    target: StrOrBytesPath | Sequence[StrOrBytesPath]
    lower: Sequence[StrOrBytesPath] = ()
    upper: StrOrBytesPath | None = None
    work: StrOrBytesPath | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        """Check the values, and bring each into one form."""
        if isinstance(self.target, list | tuple) and not self.lower:
            _put(self, target="/", lower=self.target)
        if isinstance(self.lower, str | bytes | os.PathLike) or not isinstance(self.lower, Iterable):
            raise SpecError(f"lower: expected directories, got {self.lower!r}")
        _put(
            self,
            target=_target(self.target, root=True),
            lower=tuple(_source("lower", layer) for layer in self.lower),
            upper=None if self.upper is None else _source("upper", self.upper),
            work=None if self.work is None else _source("work", self.work),
        )
        if (self.upper is None) is not (self.work is None):
            raise SpecError("work: belongs to upper; give both or neither")
        least = 1 if self.upper is not None or self.target == "/" else 2
        if len(self.lower) < least:
            raise SpecError(f"lower: {len(self.lower)} is too few; without upper a mount takes two, anything else one")
        if self.size is not None:
            _check_size(self.size)
            if self.upper is not None or self.target != "/":
                raise SpecError("size: is for a root without upper, which is kept in memory")


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


def _target(value: object, *, root: bool = False) -> str:
    path = os.fsdecode(path_of("target", value))
    if not path.startswith("/"):
        raise SpecError(f"target: expected an absolute path, got {path!r}")
    if os.path.normpath(path).strip("/") == "":
        if root and path == "/":
            return path
        raise SpecError("target: is the root itself; a new root is what the option root is for")
    return path


def _check_size(size: object) -> None:
    # 0 would mean no limit at all.
    if not (_is_number(size) and 0 < size <= _MAX_SIZE):
        raise SpecError(f"size: expected a positive number of bytes, got {size!r}")


def _check_flags(mount: NewMount, *names: str) -> None:
    for name in names:
        if not isinstance(value := getattr(mount, name), bool):
            raise SpecError(f"{name}: expected True or False, got {value!r}")


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
