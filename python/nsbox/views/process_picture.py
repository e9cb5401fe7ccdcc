"""The picture of the tree of processes: namespaces are coloured boxes around the processes in them."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nsbox.records.names import safe
from nsbox.records.processes import NamespaceIds
from nsbox.views.compact import Group, grouped, pids_of
from nsbox.views.layout import INDENT, Block, Family, Frame, Label, Row, columns_of
from nsbox.views.legend import MARKS, TIMES, Legend, Mark
from nsbox.views.palette import GREY, INK, KIND_STYLES, RED, SLATE
from nsbox.views.svg import MONO, Document, Sheet, sentences

if TYPE_CHECKING:
    from nsbox.records.tree import Node

__all__ = ["Mark", "picture"]

_MARGIN = 16
_GAP = 10
_MARKED: dict[Mark, str] = {"came": "new", "went": "gone", "changed": "changed"}
_MANY_PROCESSES = 40
_MAX_HEIGHT, _MAX_HEIGHT_IF_MANY = 900, 320
_MAX_NAME_LENGTH = 32
_MAX_CHAIN_WIDTH = 320
_PID = NamespaceIds._fields.index("pid")


def picture(
    root: Node,
    *,
    compact: bool | None = None,
    marks: Mapping[tuple[int, int], Mark] | None = None,
    width: int,
    legend: bool = True,
) -> Document:
    """Draw a tree.

    Args:
        root: The node at its top.
        compact: Whether siblings that look alike are drawn once, with their number; by default if there are more than
            forty processes.
        marks: What happened to some processes, by their identity.
        width: The maximum width in pixels, beyond which the picture becomes higher. Deep trees can be wider.
        legend: Whether the signs are explained, if there is room for it.
    """
    root = _with_known_changes(root)
    count = sum(node.thread is None for node in _walk(root))
    many = count > _MANY_PROCESSES if compact is None else compact
    drawing = _Drawing(marks or {}, _first_of_each(root), _MAX_HEIGHT_IF_MANY if many else _MAX_HEIGHT)
    block = drawing.block(grouped(root, compact=many, looks=drawing.looks), width - 2 * _MARGIN)
    sheet = Sheet()
    block.draw(sheet, _MARGIN, _MARGIN)
    bottom = _MARGIN + block.height
    if legend:
        explained = Legend(drawing.kinds, drawing.seen, block.width, block.height)
        explained.draw(sheet, _MARGIN, bottom + _GAP)
        bottom += _GAP + explained.height if explained.height else 0
    title = f"Tree of {count} process{'es' * (count != 1)} below {root.pid} {_name(root)}"
    return sheet.document(block.width + 2 * _MARGIN, bottom + _MARGIN, title, _description(root, marks or {}))


def _description(root: Node, marks: Mapping[tuple[int, int], Mark]) -> str:
    """Say which processes are in new namespaces, and what happened to them."""
    said = []
    for node in _walk(root):
        inner = pids_of(node)
        known = f"{_name(node)}, PID {inner[0]}" + "".join(f", inside {pid}" for pid in inner[1:])
        kinds = [kind for kind in KIND_STYLES if kind in node.changes]
        parts = [f"in {' and '.join(kinds)} namespace{'s' * (len(kinds) > 1)} of its own"] if kinds else []
        if node.process is not None and node.thread is None and (mark := marks.get(node.process.identity)):
            parts.append(_MARKED[mark])
        if parts:
            said.append(f"{known}: {'; '.join(parts)}.")
    return sentences(said)


def _walk(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def _with_known_changes(root: Node) -> Node:
    """Return the tree with the changes that are known although namespaces of some processes are not.

    Changes are relative to the next known ancestor. Then it is known that a namespace changed, but not exactly where.
    If all processes below an unknown one agree, its namespace is drawn around it as well, and not once around each of
    them. pstree shows no change there.
    """
    order = list(_walk(root))
    agreed = _agreed_below(order)
    above: dict[int, tuple[int | None, ...]] = {id(root): tuple(root.namespaces)}
    drawn = {id(root): root}
    for node in order:
        known = above[id(node)]
        for child in node.children:
            ids = tuple(child.namespaces)
            if _may_be_elsewhere(child):
                ids = tuple(own if own and outer else None for own, outer in zip(agreed[id(child)], known, strict=True))
                ids = tuple(own if own != outer else None for own, outer in zip(ids, known, strict=True))
            pairs = list(zip(ids, known, strict=True))
            changes = itertools.compress(NamespaceIds._fields, (own and outer and own != outer for own, outer in pairs))
            above[id(child)] = tuple(own or outer for own, outer in pairs)
            drawn[id(child)] = replace(child, namespaces=NamespaceIds(*ids), changes=tuple(changes))
    for node in reversed(order):
        if node.children:
            drawn[id(node)] = replace(drawn[id(node)], children=tuple(drawn[id(child)] for child in node.children))
    return drawn[id(root)]


def _agreed_below(order: Sequence[Node]) -> dict[int, tuple[int | None, ...]]:
    """Return for each node its namespaces, and for an unknown one those in which all next known processes below it are.

    0 stands for several. The PID namespace is one only if it can be that of the node, which shows from its PIDs.
    """
    agreed: dict[int, tuple[int | None, ...]] = {}
    levels: dict[int, int] = {}
    for node in reversed(order):
        levels[id(node)] = len(pids_of(node))
        if not _may_be_elsewhere(node):
            agreed[id(node)] = tuple(node.namespaces)
            continue
        below = [child for child in node.children if any(agreed[id(child)])]
        found = [{agreed[id(child)][kind] for child in below} - {None} for kind in range(len(NamespaceIds._fields))]
        ids = [next(iter(some)) if len(some) == 1 else 0 if some else None for some in found]
        if node.process is not None and any(levels[id(child)] > levels[id(node)] for child in below):
            ids[_PID] = 0
        agreed[id(node)] = tuple(ids)
    return agreed


def _first_of_each(root: Node) -> dict[int, Node]:
    """Return the first node in each namespace, by the namespace's id."""
    found: dict[int, Node] = {}
    for node in _walk(root):
        for id_ in node.namespaces:
            if id_ is not None:
                found.setdefault(id_, node)
    return found


def _name(node: Node) -> str:
    name = safe(node.comm.decode("utf-8", "surrogateescape"))
    name = name if len(name) <= _MAX_NAME_LENGTH else name[: _MAX_NAME_LENGTH - 1] + "…"
    return f"{{{name}}}" if node.thread else name or '""'


class _Drawing:
    """Makes blocks of groups, and collects the signs that the legend has to explain.

    Attributes:
        kinds: The kinds of namespaces that have a box.
        seen: The other signs in the picture.
    """

    def __init__(
        self, marks: Mapping[tuple[int, int], Mark], first_nodes: Mapping[int, Node], max_height: float
    ) -> None:
        self._marks = marks
        self._first_nodes = first_nodes
        self._max_height = max_height
        self.kinds: set[str] = set()
        self.seen: set[str] = set()

    def looks(self, node: Node) -> Hashable:
        """Return what is drawn of a process, except its PIDs."""
        return (
            node.comm, node.changes, node.thread is None, _is_over(node), len(pids_of(node)), _is_init(node),
            _thread_count(node), _is_unknown(node), self._mark(node),
        )  # fmt: skip

    def block(self, group: Group, width: float) -> Block:
        """Lay out a group and its descendants; in columns where it becomes high, if there is room."""
        kinds = tuple(kind for kind in KIND_STYLES if kind in group.first.changes)
        room = width - INDENT - (Frame.edges(kinds) if kinds else 0)
        row = Row(list(self._labels(group)))
        chain = self._chain(group)
        block: Block = chain if chain and chain.width <= _MAX_CHAIN_WIDTH else self._family(row, group, room)
        if kinds:
            self.kinds.update(kinds)
            block = Frame(block, kinds, self._chips(group, kinds), stacked=len(group.members) > 1)
        return block

    def _chain(self, group: Group) -> Row | None:
        """Put a group and its descendants on one line, if they are a short chain without boxes and branches."""
        labels = list(self._labels(group))
        for _ in range(3):
            if len(group.children) != 1 or group.more or group.children[0].first.changes:
                return None
            (group,) = group.children
            first, *rest = self._labels(group)
            labels += [replace(first, linked=True), *rest]
            if not group.children and not group.more:
                return Row(labels)
        return None

    def _family(self, row: Row, group: Group, room: float) -> Family:
        blocks = [self.block(child, room) for child in group.children]
        if group.more:
            blocks.append(Row([Label(f"… and {group.more} more")]))
        family = Family(row, blocks)
        if family.height <= self._max_height or len(blocks) == 1:
            return family
        big = [block for block in blocks if block.height > self._max_height]
        small = [block for block in blocks if block.height <= self._max_height]
        return Family(row, big, columns_of(small, room + INDENT) if small else ())

    def _chips(self, group: Group, kinds: tuple[str, ...]) -> list[Label]:
        node, count = group.first, len(group.members)
        chips = []
        for kind in kinds:
            id_ = getattr(node.namespaces, kind)
            joined = count == 1 and self._first_nodes.get(id_) is not node
            if joined:
                self.seen.add("joined")
            text = f"{count}{TIMES} {kind}" if count > 1 else f"{kind} {id_}"
            if _may_be_elsewhere(node):
                self.seen.add("begins")
                text += " ?"
            hollow = joined or _may_be_elsewhere(node)
            chips.append(Label(text, 11, KIND_STYLES[kind].colour, bold=True, pill="hollow" if hollow else "full"))
        return chips

    def _labels(self, group: Group) -> Iterator[Label]:
        node, count, mark = group.first, len(group.members), self._mark(group.first)
        pids, over = pids_of(node), _is_over(node)
        inner = len(pids) > 1
        colour = KIND_STYLES["pid"].colour if inner else SLATE
        number = f"{count}{TIMES}" if count > 1 else str(pids[-1])
        yield Label(number, 12, colour, bold=True, pill="hollow" if over or node.process is None else "full")
        faint = over or node.process is None or mark == "went"
        yield Label(_name(node), 13, GREY if faint else INK, MONO, bold=True, struck=mark == "went")
        signs = {
            "count": count > 1, "inner": inner and count == 1, "pid": not inner and count == 1, "init": _is_init(node),
            "zombie": over, "outside": inner, "unknown": _is_unknown(node), mark or "": mark is not None,
        }  # fmt: skip
        self.seen.update(sign for sign, there in signs.items() if there)
        if mark is not None:
            yield Label(MARKS[mark].sign, 11, MARKS[mark].colour, bold=True)
        if _is_init(node):
            yield Label("init", 11, KIND_STYLES["pid"].colour, bold=True)
        if over:
            yield Label("zombie")
        if count > 1:
            numbers = " ".join(str(member.pid) for member in group.members[:3]) + " …" * (count > 3)
            yield Label(f"outside {numbers}" if inner else numbers)
        elif inner:
            yield Label("outside " + ", ".join(map(str, reversed(pids[:-1]))))
        if (threads := _thread_count(node)) > 1:
            yield Label(f"{threads} threads")
        if signs["unknown"]:
            yield Label("?", 12, RED, bold=True)

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
    """Return whether its namespaces are unknown, so that a box around it may be missing."""
    return node.process is not None and not _is_over(node) and not any(_own(node))


def _may_be_elsewhere(node: Node) -> bool:
    """Return whether it is a process whose namespaces are unknown, or that is not visible."""
    return node.process is None or _is_unknown(node)


def _own(node: Node) -> NamespaceIds:
    """Return its namespaces as they were read."""
    known = node.process if node.thread is None else node.thread
    return NamespaceIds() if known is None else known.namespaces
