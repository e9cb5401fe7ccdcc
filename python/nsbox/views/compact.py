"""A tree made small enough for a picture: processes that look alike are shown once, and too many are counted."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsbox.records.tree import Node

__all__ = ["MAX_DEPTH", "Group", "grouped", "pids_of"]

MAX_DEPTH = 40
"""The maximum number of generations that are shown."""

_MAX_GROUPS, _MAX_CHILDREN = 500, 80
"""The maximum number of groups that are shown in a big tree, and below one of them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Processes that look alike, and whose descendants look alike.

    Attributes:
        members: One node, or several that are children of the same process, or of processes of one group.
        children: The groups of their children.
        more: The number of processes below them that are not shown.
    """

    members: tuple[Node, ...]
    children: tuple[Group, ...] = ()
    more: int = 0

    @property
    def first(self) -> Node:
        """The member that is drawn."""
        return self.members[0]


def pids_of(node: Node) -> tuple[int, ...]:
    """Return the PIDs of a process, from the namespace of the proc inwards; of a thread, its id."""
    known = getattr(node.process, "pids", ()) if node.thread is None else ()
    return known or (node.pid,)


def grouped(root: Node, *, compact: bool, looks: Callable[[Node], Hashable]) -> Group:
    """Return the groups of a tree.

    Args:
        root: The node at its top.
        compact: Whether siblings that look alike become one group, and too many are only counted.
        looks: Returns the looks of a process, without those of its descendants.
    """
    order = [root]
    for node in order:
        order.extend(_shown(node))
    # From the bottom up, without recursion: a chain of processes may be longer than Python's stack.
    shapes: dict[Hashable, int] = {}
    shape_of: dict[int, int] = {}
    size_of: dict[int, int] = {}
    for node in reversed(order):
        below = _shown(node)
        size_of[id(node)] = 1 + sum(size_of[id(child)] for child in below)
        key = (looks(node), tuple(sorted(shape_of[id(child)] for child in below))) if compact else id(node)
        shape_of[id(node)] = shapes.setdefault(key, len(shapes))

    drafts = [_Draft((root,), 0)]
    room = _MAX_GROUPS if compact else len(order)
    for one in drafts:
        families = _families(one.members, shape_of) if one.depth < MAX_DEPTH else []
        if compact and len(families) > min(room, _MAX_CHILDREN):
            # Those with children, or in other namespaces, are shown first.
            families.sort(key=lambda family: not (family[0].changes or _shown(family[0])))
            del families[min(room, _MAX_CHILDREN) :]
        room -= len(families)
        one.children = [_Draft(tuple(family), one.depth + 1) for family in families]
        drafts.extend(one.children)
        one.more = sum(size_of[id(member)] - 1 for member in one.members)
        one.more -= sum(size_of[id(child)] for family in families for child in family)
    for one in reversed(drafts):
        one.group = Group(one.members, tuple(child.group for child in one.children), one.more)
    return drafts[0].group


class _Draft:
    """A group that is being made. Groups near the root are made first, so that those far from it are left out."""

    __slots__ = ("children", "depth", "group", "members", "more")

    group: Group

    def __init__(self, members: tuple[Node, ...], depth: int) -> None:
        self.members, self.depth, self.more = members, depth, 0
        self.children: list[_Draft] = []


def _families(members: tuple[Node, ...], shape_of: dict[int, int]) -> list[list[Node]]:
    alike: dict[int, list[Node]] = {}
    for member in members:
        for child in _shown(member):
            alike.setdefault(shape_of[id(child)], []).append(child)
    return list(alike.values())


def _shown(node: Node) -> list[Node]:
    """Return the children of a node, without threads in the namespaces of their process, which are only counted."""
    return [child for child in node.children if child.thread is None or child.changes]
