"""A namespace at the moment of reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from nsbox.records.processes import Reading
from nsbox.spec.kinds import KINDS

__all__ = ["NamespaceRecord", "TreeOf"]

TreeOf: TypeAlias = Literal["process", "parent", "owner"]
"""The relation by which namespaces form a tree: between their lowest processes, to their parents, or to their
owners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceRecord:
    """A namespace at the moment of reading.

    Attributes:
        id: Its inode number, which the links in /proc/PID/ns show.
        kind: What kind it is: ``"user"``, ``"mount"``, ``"pid"``, ``"ipc"``, ``"uts"``, ``"net"``, ``"cgroup"``,
            ``"time"``.
        parent: The namespace in which it was made, for user and PID namespaces; None for the first one, and where the
            caller may not know it (NS_GET_PARENT, ioctl_nsfs(2)).
        owner: The user namespace whose root has all rights over it (NS_GET_USERNS).
        owner_uid: The user who made that user namespace; for a user namespace, who made it (NS_GET_OWNER_UID).
        process_count: The number of processes in it, by their first threads.
        pid: The lowest PID of a process in it; None if there is none.
        pid_outside: The PID of that process for the process that read, as in `Process`.
        start_ticks: When that process was started, as in `Process`.
        reading: Which proc was read, as in `Process`.
        ppid: The PID of that process's parent.
        uid: The owner of that process.
        command: The command line of that process, or its name if it has none.
        creator: The PID of that process's parent, if the parent is not in this namespace: most likely one of the two
            made it.
        threads: Threads in it whose processes are in others: PID and thread id of each.
        for_children: The PIDs of processes that are not in it, but whose future children will be.
        descriptors: Open descriptors of it: PID and number of each.
        sockets: Open sockets of it, a network namespace, in processes that are not in it: PID and number of each.
        netns_id: What the network namespace of the caller calls it, if it is a network namespace (ip-netns(8)); -1 if
            it has no name for it, None if that is not known.
        mounts: Its mount points, as paths in the mount namespace in which they were found.
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
    sockets: tuple[tuple[int, int], ...] = ()
    netns_id: int | None = None
    mounts: tuple[str, ...] = ()
    pid_outside: int | None = None
    start_ticks: int | None = None
    reading: Reading | None = None

    @property
    def link(self) -> str:
        """The text of its link in /proc/PID/ns, such as ``mnt:[4026531832]``."""
        return f"{KINDS[self.kind].link}:[{self.id}]"

    @property
    def kept_by(self) -> tuple[str, ...]:
        """What keeps it alive; ``"ancestry"`` if nothing was found but namespaces that descend from it."""
        held = {
            "processes": self.process_count,
            "threads": self.threads,
            "for children": self.for_children,
            "descriptors": self.descriptors,
            "sockets": self.sockets,
            "mounts": self.mounts,
        }
        return tuple(what for what, there in held.items() if there) or ("ancestry",)

    def __repr__(self) -> str:
        """Return its kind, its id, the number of processes in it, and what keeps it alive."""
        count = f"{self.process_count} process{'es' * (self.process_count != 1)}"
        return f"<{self.kind} namespace {self.id}, {count}, kept by {' and '.join(self.kept_by)}>"
