"""The tree of processes as a picture: namespaces are coloured boxes around the processes in them."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from nsbox.views.compact import Group, grouped, pids_of
from nsbox.views.grid import safe
from nsbox.views.layout import INDENT, Block, Family, Frame, Row, Word, columns_of
from nsbox.views.legend import MARKS, TIMES, Legend, Mark
from nsbox.views.palette import GREY, INK, KIND_STYLES, RED, SLATE
from nsbox.views.svg import MONO, Sheet

if TYPE_CHECKING:
    from nsbox.records.tree import Node

__all__ = ["Mark", "picture"]

_MARGIN = 16
_MANY = 40
_HIGH, _HIGH_IF_MANY = 900, 320
_LONGEST_NAME = 32
_LONGEST_CHAIN = 320


def picture(
    root: Node, *, compact: bool | None = None, marks: Mapping[tuple[int, int], Mark] | None = None, width: int = 1000
) -> str:
    """Draw a tree as an SVG document.

    Args:
        root: Its top.
        compact: Whether siblings that are alike are drawn once, with their number; by default if there are more than
            forty processes.
        marks: What became of some processes, by their identity.
        width: How wide the picture may become, in pixels, before it becomes higher. Deep trees can be wider.
    """
    root = _with_all_that_is_known(root)
    count = sum(node.thread is None for node in _walk(root))
    many = count > _MANY if compact is None else compact
    drawing = _Drawing(marks or {}, _first_of_each(root), _HIGH_IF_MANY if many else _HIGH)
    block = drawing.block(grouped(root, compact=many, looks=drawing.looks), width - 2 * _MARGIN)
    legend = Legend(drawing.kinds, drawing.seen)
    across = max(block.width, legend.width(width - 2 * _MARGIN))
    sheet = Sheet()
    block.draw(sheet, _MARGIN, _MARGIN)
    bottom = _MARGIN + block.height + _MARGIN
    bottom += legend.draw(sheet, _MARGIN, bottom, across)
    title = f"Tree of {count} process{'es' * (count != 1)} below {root.pid} {_name(root)}"
    return sheet.document(across + 2 * _MARGIN, bottom + _MARGIN, title)


def _walk(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def _with_all_that_is_known(root: Node) -> Node:
    """Compare those below a process whose namespaces are unknown with what is known further up.

    Where exactly something changed is then unknown, but not that it did. pstree does not tell.
    """
    above: dict[int, tuple[int | None, ...]] = {id(root): tuple(root.namespaces)}
    changes = {id(root): root.changes}
    order = [root]
    for node in order:
        known = above[id(node)]
        for child in node.children:
            pairs = list(zip(child.namespaces, known, strict=True))
            differing = (own and outer and own != outer for own, outer in pairs)
            changes[id(child)] = tuple(itertools.compress(child.namespaces._fields, differing))
            above[id(child)] = tuple(own or outer for own, outer in pairs)
            order.append(child)
    if all(changes[id(node)] == node.changes for node in order):
        return root
    made: dict[int, Node] = {}
    for node in reversed(order):
        children = tuple(made[id(child)] for child in node.children)
        made[id(node)] = replace(node, changes=changes[id(node)], children=children)
    return made[id(root)]


def _first_of_each(root: Node) -> dict[int, Node]:
    """Return in which process each namespace is seen first."""
    found: dict[int, Node] = {}
    for node in _walk(root):
        for id_ in node.namespaces:
            if id_ is not None:
                found.setdefault(id_, node)
    return found


def _name(node: Node) -> str:
    name = safe(node.comm.decode("utf-8", "surrogateescape"))
    name = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    return f"{{{name}}}" if node.thread else name or '""'


class _Drawing:
    """Makes blocks of groups, and notes on the way what has to be explained below the picture.

    Attributes:
        kinds: The kinds of namespaces that have a box.
        seen: Which other signs are in the picture.
    """

    def __init__(self, marks: Mapping[tuple[int, int], Mark], homes: Mapping[int, Node], high: float) -> None:
        self._marks = marks
        self._homes = homes
        self._high = high
        self.kinds: set[str] = set()
        self.seen: set[str] = set()

    def looks(self, node: Node) -> Hashable:
        """Return what can be seen of a process, numbers apart."""
        return (
            node.comm, node.changes, node.thread is None, _is_over(node), len(pids_of(node)), _is_init(node),
            _thread_count(node), _is_unknown(node), self._mark(node),
        )  # fmt: skip

    def block(self, group: Group, width: float) -> Block:
        """Lay out a group and what is below it; in columns where it becomes high, as far as the width allows."""
        kinds = tuple(kind for kind in KIND_STYLES if kind in group.first.changes)
        room = width - INDENT - (Frame.edges(kinds) if kinds else 0)
        row = Row(list(self._words(group)))
        chain = self._chain(group)
        block: Block = chain if chain and chain.width <= _LONGEST_CHAIN else self._family(row, group, room)
        if kinds:
            self.kinds.update(kinds)
            block = Frame(block, kinds, self._chips(group, kinds), stacked=len(group.members) > 1)
        return block

    def _chain(self, group: Group) -> Row | None:
        """Put a group and all below it on one line, if that is a short chain without boxes and branches."""
        words = list(self._words(group))
        for _ in range(3):
            if len(group.children) != 1 or group.more or group.children[0].first.changes:
                return None
            (group,) = group.children
            first, *rest = self._words(group)
            words += [replace(first, linked=True), *rest]
            if not group.children and not group.more:
                return Row(words)
        return None

    def _family(self, row: Row, group: Group, room: float) -> Family:
        blocks = [self.block(child, room) for child in group.children]
        if group.more:
            blocks.append(Row([Word(f"… and {group.more} more")]))
        family = Family(row, blocks)
        if family.height <= self._high or len(blocks) == 1:
            return family
        big = [block for block in blocks if block.height > self._high]
        small = [block for block in blocks if block.height <= self._high]
        return Family(row, big, columns_of(small, room + INDENT) if small else ())

    def _chips(self, group: Group, kinds: tuple[str, ...]) -> list[Word]:
        node, count = group.first, len(group.members)
        chips = []
        for kind in kinds:
            id_ = getattr(node.namespaces, kind)
            joined = count == 1 and self._homes.get(id_) is not node
            if joined:
                self.seen.add("joined")
            text = f"{count}{TIMES} {kind}" if count > 1 else f"{kind} {id_}"
            chips.append(Word(text, 11, KIND_STYLES[kind].colour, bold=True, pill="hollow" if joined else "full"))
        return chips

    def _words(self, group: Group) -> Iterator[Word]:
        node, count, mark = group.first, len(group.members), self._mark(group.first)
        pids, over = pids_of(node), _is_over(node)
        inner = len(pids) > 1
        colour = KIND_STYLES["pid"].colour if inner else SLATE
        number = f"{count}{TIMES}" if count > 1 else str(pids[-1])
        yield Word(number, 12, colour, bold=True, pill="hollow" if over or node.process is None else "full")
        faint = over or node.process is None or mark == "went"
        yield Word(_name(node), 13, GREY if faint else INK, MONO, bold=True, struck=mark == "went")
        signs = {
            "count": count > 1, "inner": inner and count == 1, "pid": not inner and count == 1, "init": _is_init(node),
            "zombie": over, "outside": inner, "unknown": _is_unknown(node), mark or "": mark is not None,
        }  # fmt: skip
        self.seen.update(sign for sign, there in signs.items() if there)
        if mark is not None:
            yield Word(MARKS[mark].sign, 11, MARKS[mark].colour, bold=True)
        if _is_init(node):
            yield Word("init", 11, KIND_STYLES["pid"].colour, bold=True)
        if over:
            yield Word("zombie")
        if count > 1:
            numbers = " ".join(str(member.pid) for member in group.members[:3]) + " …" * (count > 3)
            yield Word(f"outside {numbers}" if inner else numbers)
        elif inner:
            yield Word("outside " + ", ".join(map(str, reversed(pids[:-1]))))
        if (threads := _thread_count(node)) > 1:
            yield Word(f"{threads} threads")
        if signs["unknown"]:
            yield Word("?", 12, RED, bold=True)

    def _mark(self, node: Node) -> Mark | None:
        if node.process is None or node.thread is not None:
            return None
        return self._marks.get(node.process.identity)


def _is_init(node: Node) -> bool:
    return node.thread is None and node.process is not None and pids_of(node)[-1] == 1


def _is_over(node: Node) -> bool:
    return node.process is not None and node.thread is None and node.process.state in "ZX"


def _thread_count(node: Node) -> int:
    return 1 if node.process is None or node.thread is not None else getattr(node.process, "thread_count", 1)


def _is_unknown(node: Node) -> bool:
    """Whether a box around it might be missing."""
    return node.process is not None and not _is_over(node) and not any(node.namespaces)
