"""The tree of processes as data for JSON."""

from __future__ import annotations

from typing import Any

from nsbox.records.names import Users, printable
from nsbox.records.processes import command
from nsbox.records.tree import Node

__all__ = ["data"]


def data(root: Node, users: Users) -> list[dict[str, Any]]:
    """Return a dictionary for each process and thread, each process before what is below it.

    It is a list and no tree of lists: programs that read JSON limit the depth, which the processes decide here.
    """
    found: list[dict[str, Any]] = []
    waiting: list[tuple[Node, int | None, int]] = [(root, None, 0)]
    while waiting:
        node, parent, depth = waiting.pop()
        found.append(
            {
                "pid": node.pid,
                "parent": parent,
                "depth": depth,
                "name": printable(node.comm),
                "thread": node.thread is not None,
                "pgid": node.pgid,
                "user": users[node.owner],
                "command": command(node.process) if node.process is not None else None,
                "new": list(node.changes),
                "namespaces": node.namespaces._asdict(),
            }
        )
        waiting += [(child, node.pid, depth + 1) for child in reversed(node.children)]
    return found
