"""A tree made small enough for a picture: what is alike is shown once, and what is too much is counted."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsbox.records.tree import Node

__all__ = ["DEEPEST", "Group", "grouped", "pids_of"]

DEEPEST = 40
"""How many generations are shown."""

_MOST, _MOST_CHILDREN = 500, 80
"""How many groups are shown when a tree is big, and of these, below one."""


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

    growing = [_Growing((root,), 0)]
    room = _MOST if compact else len(order)
    for one in growing:
        families = _families(one.members, shape_of) if one.depth < DEEPEST else []
        if compact and len(families) > min(room, _MOST_CHILDREN):
            # Those with something below them, or in other namespaces, say more than the rest.
            families.sort(key=lambda family: not (family[0].changes or _shown(family[0])))
            del families[min(room, _MOST_CHILDREN) :]
        room -= len(families)
        one.children = [_Growing(tuple(family), one.depth + 1) for family in families]
        growing.extend(one.children)
        one.more = sum(size_of[id(member)] - 1 for member in one.members)
        one.more -= sum(size_of[id(child)] for family in families for child in family)
    for one in reversed(growing):
        one.made = Group(one.members, tuple(child.made for child in one.children), one.more)
    return growing[0].made


class _Growing:
    """A group on its way; those nearer to the root are made first, so that what is left out is far from it."""

    __slots__ = ("children", "depth", "made", "members", "more")

    made: Group

    def __init__(self, members: tuple[Node, ...], depth: int) -> None:
        self.members, self.depth, self.more = members, depth, 0
        self.children: list[_Growing] = []


def _families(members: tuple[Node, ...], shape_of: dict[int, int]) -> list[list[Node]]:
    alike: dict[int, list[Node]] = {}
    for member in members:
        for child in _shown(member):
            alike.setdefault(shape_of[id(child)], []).append(child)
    return list(alike.values())


def _shown(node: Node) -> list[Node]:
    """Return the children of a node, but no threads that are where their process is: these are only counted."""
    return [child for child in node.children if child.thread is None or child.changes]
