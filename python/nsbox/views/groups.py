"""A tree made small enough for a picture: what is alike is shown once, and what is too much is counted."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsbox.tree import Node

__all__ = ["DEEPEST", "Group", "grouped", "pids_of"]

DEEPEST = 40
"""How many generations are shown."""

_MOST = 80
"""How many children of one process are shown when a tree is big."""


@dataclass(frozen=True, slots=True)
class Group:
    """Processes that look the same, and so does everything below them.

    Attributes:
        members: One, or several that are children of the same process (or of processes that are one group).
        children: What is below all of them.
        more: How many processes below them are not shown.
    """

    members: tuple[Node, ...]
    children: tuple[Group, ...] = ()
    more: int = 0

    @property
    def first(self) -> Node:
        """The one whose looks are drawn."""
        return self.members[0]


def pids_of(node: Node) -> tuple[int, ...]:
    """Return the PIDs of a process from the namespace of the proc inwards; the id of a thread."""
    known = getattr(node.process, "pids", ()) if node.thread is None else ()
    return known or (node.pid,)


def grouped(root: Node, *, compact: bool, looks: Callable[[Node], Hashable]) -> Group:
    """Group a tree.

    Args:
        root: Its top.
        compact: Whether siblings that are alike become one group, and too many are only counted.
        looks: What makes two processes look different, besides what is below them.
    """
    order = [root]
    for node in order:
        order.extend(_shown(node))
    # From the bottom up, and not by recursion: a chain of processes may be longer than Python's stack.
    shapes: dict[Hashable, int] = {}
    shape_of: dict[int, int] = {}
    size_of: dict[int, int] = {}
    for node in reversed(order):
        below = _shown(node)
        size_of[id(node)] = 1 + sum(size_of[id(child)] for child in below)
        key = (looks(node), tuple(sorted(shape_of[id(child)] for child in below))) if compact else id(node)
        shape_of[id(node)] = shapes.setdefault(key, len(shapes))

    def group(members: tuple[Node, ...], depth: int) -> Group:
        alike: dict[int, list[Node]] = {}
        for member in members:
            for child in _shown(member):
                alike.setdefault(shape_of[id(child)], []).append(child)
        families = list(alike.values()) if depth < DEEPEST else []
        if compact and len(families) > _MOST:
            # Those with something below them, or in other namespaces, say more than the rest.
            families.sort(key=lambda family: not (family[0].changes or _shown(family[0])))
            del families[_MOST:]
        shown = sum(size_of[id(child)] for family in families for child in family)
        more = sum(size_of[id(member)] - 1 for member in members) - shown
        return Group(members, tuple(group(tuple(family), depth + 1) for family in families), more)

    return group((root,), 0)


def _shown(node: Node) -> list[Node]:
    """Return the children of a node, but no threads that are where their process is: these are only counted."""
    return [child for child in node.children if child.thread is None or child.changes]
