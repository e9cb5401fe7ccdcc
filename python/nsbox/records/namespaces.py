"""A namespace at the moment of reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from nsbox.spec.kinds import KINDS

__all__ = ["NamespaceRecord", "TreeOf"]


TreeOf: TypeAlias = Literal["process", "parent", "owner"]
"""Which relation makes a tree of namespaces: of their lowest processes, their parents or their owners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceRecord:
    """A namespace at the moment of reading.

    Attributes:
        id: Its inode number, which the links in /proc/PID/ns show.
        kind: What kind it is: ``"user"``, ``"mount"``, ``"pid"``, ``"ipc"``, ``"uts"``, ``"net"``, ``"cgroup"``,
            ``"time"``.
        parent: The namespace that it was made in, for user and PID namespaces; None for the first one, and where it may
            not be known (NS_GET_PARENT, ioctl_nsfs(2)).
        owner: The user namespace whose root has power over it (NS_GET_USERNS).
        owner_uid: The user who made that user namespace, or this one if it is one (NS_GET_OWNER_UID).
        process_count: How many processes are in it, by their first threads.
        pid: The lowest PID of them; None without any.
        ppid: The parent of that process.
        uid: The owner of that process.
        command: Its command line, or its name if it has none.
        creator: The parent of that process if that one is not in this namespace: most likely, one of the two made it.
        threads: Threads in it whose processes are in others: PID and thread id of each.
        for_children: Processes that are not in it, but whose children will be.
        descriptors: Open descriptors of it: PID and number of each.
        mounts: Where it is mounted, as a path in the mount namespace where that was found.
    """

    id: int
    kind: str
    parent: int | None = None
    owner: int | None = None
    owner_uid: int | None = None
    process_count: int = 0
    pid: int | None = None
    ppid: int | None = None
    uid: int | None = None
    command: bytes | None = None
    creator: int | None = None
    threads: tuple[tuple[int, int], ...] = ()
    for_children: tuple[int, ...] = ()
    descriptors: tuple[tuple[int, int], ...] = ()
    mounts: tuple[str, ...] = ()

    @property
    def link(self) -> str:
        """What the links in /proc/PID/ns call it, as ``mnt:[4026531832]``."""
        return f"{KINDS[self.kind].link}:[{self.id}]"

    @property
    def kept_by(self) -> tuple[str, ...]:
        """By what it is kept alive; ``"ancestry"`` if all that was found are namespaces that descend from it."""
        held = {
            "processes": self.process_count,
            "threads": self.threads,
            "for children": self.for_children,
            "descriptors": self.descriptors,
            "mounts": self.mounts,
        }
        return tuple(what for what, there in held.items() if there) or ("ancestry",)

    def __repr__(self) -> str:
        """Say which one it is, and who is in it."""
        count = f"{self.process_count} process{'es' * (self.process_count != 1)}"
        return f"<{self.kind} namespace {self.id}, {count}, kept by {' and '.join(self.kept_by)}>"
