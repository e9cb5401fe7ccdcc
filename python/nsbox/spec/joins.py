"""Which existing namespaces are joined. The request is checked here; nothing is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeAlias

from nsbox.errors import SpecError
from nsbox.spec.kinds import Namespaces, namespace_names

__all__ = ["Join", "JoinTarget", "Joins", "Pidfd", "joined_kinds", "joins_of"]


@dataclass(frozen=True)
class Pidfd:
    """A descriptor of a process (pidfd_open(2)) as a target; a bare number would be a PID. Not closed.

    Attributes:
        fd: The descriptor.
    """

    fd: int

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.fd


JoinTarget: TypeAlias = "int | str | bytes | os.PathLike[str] | os.PathLike[bytes] | Pidfd | Any"
"""A PID, a `Pidfd`, the path of a namespace, a `Namespace`, an open file of a namespace, or anything with a method
``namespace(kind)`` that returns a new handle, with a ``pidfd``, or with a ``pid``: a `Box`, a `Popen`, a `Shell`."""


def joined_kinds(argument: str, wanted: Namespaces) -> tuple[str, ...]:
    """Return the names of the wanted kinds.

    Raises:
        SpecError: for anything that is none, naming the argument.
    """
    try:
        return namespace_names(wanted)
    except SpecError as error:
        raise SpecError(f"{argument}: {str(error).removeprefix('unshare: ')}") from None


@dataclass(frozen=True)
class Join:
    """Which namespaces of a target are joined, as nsenter(1) joins them.

    Args:
        target: Whose namespaces: a PID, a `Pidfd`, or anything with a ``pidfd`` or a ``pid``; a namespace's path,
            handle or open file; anything with a method ``namespace(kind)``.
        kinds: Which of them, in the forms of `unshare`; by default all in which the target differs from the caller, or
            the one that the target is.
        root: True for the target's root directory, or a directory to become the root (``--root``).
        wd: True for the target's working directory, or a directory (``--wd``). By default a joined mount namespace
            starts at its root.
        preserve_credentials: Whether the ids are left alone when a user namespace is joined. Otherwise they become
            root's there, if it has a root, since only root keeps its capabilities in an exec.
        trust: Whether the program keeps the caller's rights, also where other programs have arranged what it finds. By
            default the user namespace that owns what is joined is joined as well: the program then has the rights of
            the processes there, and no more. Say True only where no other programs run than the caller's own.

    Raises:
        SpecError: for a value that makes no sense.
    """

    target: JoinTarget
    kinds: Namespaces | None = None
    root: bool | str | bytes | os.PathLike[str] = False
    wd: bool | str | bytes | os.PathLike[str] = False
    preserve_credentials: bool = False
    trust: bool = False

    def __post_init__(self) -> None:
        """Check the values, as far as that is possible without opening anything."""
        if self.kinds is not None:
            object.__setattr__(self, "kinds", joined_kinds("join", self.kinds))
        if isinstance(self.target, bool) or self.target is None:
            raise SpecError(f"join: {self.target!r} is neither a process nor a namespace")
        if isinstance(self.target, int) and self.target <= 0:
            raise SpecError(f"join: {self.target} is no PID")
        for name in ("root", "wd"):
            if not isinstance(value := getattr(self, name), bool | str | bytes | os.PathLike) or value in ("", b""):
                raise SpecError(f"{name}: expected True, False or a directory, got {value!r}")
        for name in ("preserve_credentials", "trust"):
            if not isinstance(value := getattr(self, name), bool):
                raise SpecError(f"{name}: expected True or False, got {value!r}")


Joins: TypeAlias = "Join | JoinTarget | tuple[JoinTarget, Namespaces] | list[Any] | None"
"""A `Join`, a target, a pair of a target and kinds, or a list of these."""


def joins_of(wanted: Joins) -> tuple[Join, ...]:
    """Return what the caller wants to join as a tuple of `Join`.

    Raises:
        SpecError: for a value that makes no sense.
    """
    if wanted is None:
        return ()
    if isinstance(wanted, list):
        return tuple(join for part in wanted for join in joins_of(part))
    if isinstance(wanted, tuple) and wanted and all(isinstance(part, Join) for part in wanted):
        return wanted
    if isinstance(wanted, tuple):
        if len(wanted) != 2:
            raise SpecError(f"join: expected a target and kinds of namespaces, got {wanted!r}; several go into a list")
        return (Join(*wanted),)
    return (wanted if isinstance(wanted, Join) else Join(wanted),)
