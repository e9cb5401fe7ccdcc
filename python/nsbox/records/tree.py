"""The nodes of the tree of processes."""

from __future__ import annotations

from dataclasses import dataclass

from nsbox.records import names
from nsbox.records.processes import NamespaceIds, Process, Thread

__all__ = ["Node"]

_UNKNOWN = NamespaceIds()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """A process or a thread in the tree.

    Attributes:
        pid: Its PID, or thread id.
        comm: The name of its process; ``b"?"`` for a parent that is not visible.
        pgid: The process group of its process.
        owner: The owner of its process, a user id.
        namespaces: Its own namespaces.
        changes: The kinds in which its namespaces are known to differ from its parent's.
        process: Its process; None for a parent that is not visible.
        thread: The thread, if it is one other than the first of its process; else None.
        children: Its threads and child processes, in the order in which they were read.
    """

    pid: int
    comm: bytes = b"?"
    pgid: int = 0
    owner: int = 0
    namespaces: NamespaceIds = _UNKNOWN
    changes: tuple[str, ...] = ()
    process: Process | None = None
    thread: Thread | None = None
    children: tuple[Node, ...] = ()

    @property
    def name(self) -> str:
        """Its name as text; a thread's in braces."""
        name = names.printable(self.comm)
        return f"{{{name}}}" if self.thread else name

    def __repr__(self) -> str:
        """Return its PID and name, in which new namespaces it is, and the number of its children."""
        changes = f" in a new {', '.join(self.changes)} namespace" if self.changes else ""
        return f"<node {self.pid} {self.name}{changes}, {len(self.children)} children>"
