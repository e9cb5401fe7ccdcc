"""The tree of processes as text, character for character as pstree(1) draws it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nsbox.records.names import printable
from nsbox.records.processes import unpadded
from nsbox.spec.kinds import KINDS

if TYPE_CHECKING:
    from nsbox.records.processes import Process
    from nsbox.records.tree import Node

__all__ = ["TreeOptions", "forest", "tree"]

_ORDER = ("cgroup", "ipc", "mount", "net", "pid", "user", "uts", "time")
"""The order in which pstree shows the kinds of namespaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOptions:
    """How a tree is drawn; the options are described in `ProcessTree.text`.

    Attributes:
        users: The names of users; None if users are not shown.
        by: The kind of namespace by which the tree is split into a forest.
        highlight: The PIDs that are drawn between the two strings of `bold`.
        uptime: The time since boot, in seconds; None if processes are not coloured by age.
    """

    ns_changes: bool = True
    show_pids: bool = False
    show_pgids: bool = False
    users: Mapping[int, str] | None = None
    arguments: bool = False
    labels: bool = False
    compact: bool = True
    threads: bool = True
    thread_names: bool = False
    numeric_sort: bool = False
    ascii: bool = False
    vt100: bool = False
    width: int | None = None
    mark_unknown: bool = False
    by: str | None = None
    highlight: Collection[int] = ()
    bold: tuple[str, str] = ("\033[1m", "\033[0m")
    uptime: float | None = None

    @property
    def on_lines_of_their_own(self) -> bool:
        """Whether a first child gets its own line, instead of being on the line of its parent."""
        return self.arguments or self.labels

    @property
    def styled(self) -> bool:
        """Whether there is bold or coloured text."""
        return bool(self.highlight) or self.uptime is not None

    @property
    def pieces(self) -> _Pieces:
        """The pieces with which the lines are drawn."""
        return _VT100 if self.vt100 else _ASCII if self.ascii else _BOX


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The pieces of the lines: before an only child, the first of several, another one, the last; and beside others."""

    only: str
    first: str
    other: str
    last: str
    pass_by: str


def _graphic(letters: str) -> str:
    """Return characters of the line drawing set (xterm's "DEC Special Graphics"), with the switches to it and back."""
    return f"\033(0\017{letters}\033(B"


_ASCII = _Pieces("---", "-+-", " |-", " `-", " | ")
_BOX = _Pieces("───", "─┬─", " ├─", " └─", " │ ")
_VT100 = _Pieces(
    _graphic("qqq"), _graphic("qwq"), " " + _graphic("tq"), " " + _graphic("mq"), " " + _graphic("x") + " "
)

_STYLES = dict(zip("\ue000\ue001\ue002\ue003\ue004\ue005", ("", "", "\033[32m", "\033[33m", "\033[31m", "\033[0m"),
                   strict=True))  # fmt: skip
"""Characters that stand for a change of style while lines are measured: they have no width and are never cut. They are
in the private area of Unicode; names of processes are ASCII here. The first two stand for `bold`."""
_BOLD, _NOT_BOLD, _YOUNG, _MIDDLE, _OLD, _PLAIN = _STYLES
_UNSTYLED = {ord(style): None for style in _STYLES}
_MINUTE, _HOUR = 60, 3600


def tree(root: Node, options: TreeOptions, *, parent_owner: int = 0) -> str:
    """Draw a node and everything below it.

    Args:
        root: The node at the top.
        options: How it is drawn.
        parent_owner: The owner of the top is shown if it is another user than this one; for pstree that is root.
    """
    return "\n".join(_draw(_NumberedTree(root, parent_owner, options), options))


def forest(root: Node, kind: str, options: TreeOptions) -> list[tuple[int | None, list[Node]]]:
    """Split a tree where the namespace of this kind changes; return each namespace with the tops of its trees.

    An unknown namespace is None. As in pstree, processes at the very top whose namespace is unknown are left out.
    """
    position = list(KINDS).index(kind)
    found: dict[int | None, list[Node]] = {}
    waiting: list[tuple[Node, int | None]] = [(root, None)]
    while waiting:
        node, parents = waiting.pop()
        own = node.namespaces[position]
        if own != parents:
            found.setdefault(own, []).append(node)
        waiting.extend((child, own) for child in reversed(_ordered(node, options)))
    return list(found.items())


def _ordered(node: Node, options: TreeOptions) -> list[Node]:
    """Return the children that are drawn, in the order of drawing."""
    children = list(node.children)
    if not options.threads:
        children = [child for child in children if child.thread is None]
    if len(children) > 1:
        if options.numeric_sort:
            children.sort(key=lambda child: child.pid)
        else:
            children.sort(key=lambda child: (_name(child, options), child.owner))
    return children


def _name(node: Node, options: TreeOptions) -> bytes:
    if node.thread is None:
        return node.comm
    return b"{%b}" % (node.thread.comm if options.thread_names else node.comm)


class _NumberedTree:
    """All nodes of a tree by number, parents before children, with what is drawn for each.

    Made without recursion: a chain of processes may exceed Python's stack.

    Attributes:
        texts: The name of each node, with its details in brackets.
        words: The arguments of each node.
        indents: The column at which the lines of its children start.
        groups: The children of each node, with equal ones as one and their count.
    """

    def __init__(self, root: Node, parent_owner: int, options: TreeOptions) -> None:
        if options.by is not None:
            # Its parent is in another tree, so its changes are not shown.
            root = replace(root, changes=())
        nodes, owners, ranges = [root], [parent_owner], []
        cut = None if options.by is None else list(KINDS).index(options.by)
        for node in nodes:
            children: Sequence[Node] = node.children
            if children:
                children = _ordered(node, options)
                if cut is not None:
                    own = node.namespaces[cut]
                    children = [child for child in children if child.namespaces[cut] == own]
                ranges.append((len(nodes), len(nodes) + len(children)))
                nodes.extend(children)
                owners.extend([node.owner] * len(children))
            else:
                ranges.append((0, 0))
        self.texts: list[str] = []
        self.words: list[list[str]] = []
        self.indents: list[int] = []
        names = [_name(node, options) for node in nodes]
        shown: dict[bytes, str] = {}
        for node, name, owner in zip(nodes, names, owners, strict=True):
            text = shown.get(name)
            if text is None:
                text = shown[name] = printable(name)
            self.texts.append(_label(node, text, owner, options))
            self.words.append(_words(node, options) if options.arguments else [])
            if options.on_lines_of_their_own:
                self.indents.append(int(options.arguments) - (len(text) <= 1))
            else:
                label = self.texts[-1]
                self.indents.append(len(label.translate(_UNSTYLED)) if options.styled else len(label))
        self.groups = self._alike(nodes, names, ranges, options)

    def _alike(
        self, nodes: list[Node], names: list[bytes], ranges: list[tuple[int, int]], options: TreeOptions
    ) -> list[list[tuple[int, int]]]:
        """Group equal siblings at the place of the first one; with arguments, threads only.

        Two nodes have the same likeness, a number, exactly if they and everything below them look the same.
        """
        groups: list[list[tuple[int, int]]] = [[] for _ in nodes]
        if not options.compact:
            for number, (start, end) in enumerate(ranges):
                groups[number] = [(1, child) for child in range(start, end)]
            return groups
        known: dict[tuple[object, ...], int] = {}
        likeness = [0] * len(nodes)
        for number in range(len(nodes) - 1, -1, -1):
            start, end = ranges[number]
            node = nodes[number]
            look = (
                names[number],
                node.owner if options.users is not None else None,
                node.namespaces if options.ns_changes else None,
                tuple(likeness[start:end]),
            )
            likeness[number] = known.setdefault(look, len(known))
            if end - start == 1:
                groups[number] = [(1, start)]
            elif end > start:
                together: dict[int, list[int]] = {}
                for child in range(start, end):
                    alike = not options.on_lines_of_their_own or nodes[child].thread is not None
                    together.setdefault(likeness[child] if alike else -child, []).append(child)
                groups[number] = [(len(members), members[0]) for members in together.values()]
        return groups


def _label(node: Node, name: str, parent_owner: int, options: TreeOptions) -> str:
    infos = []
    if options.show_pids:
        infos.append(str(node.pid))
    if options.show_pgids:
        infos.append(str(node.pgid))
    if options.users is not None and node.owner != parent_owner:
        infos.append(options.users[node.owner])
    if options.ns_changes:
        if node.changes:
            infos += [KINDS[kind].link for kind in _ORDER if kind in node.changes]
        if options.mark_unknown and node.process and node.process.state not in "ZX" and not any(node.namespaces):
            infos.append("?")
    if options.labels:
        label = getattr(node.process, "label", None) or b""
        infos.append(f"`{printable(label).replace(2 * chr(92), chr(92))}'")
    if options.arguments:
        text = ",".join([name, *infos])
        if not (node.thread or not node.process or _cmdline(node.process)):
            text = f"({text})"
    else:
        text = f"{name}({','.join(infos)})" if infos else name
    if node.pid in options.highlight:
        text = _BOLD + text + _NOT_BOLD
    if options.uptime is not None and node.process:
        age = int(max(0, options.uptime - node.process.start_seconds))
        text = (_YOUNG if age < _MINUTE else _MIDDLE if age < _HOUR else _OLD) + text
    return text


def _words(node: Node, options: TreeOptions) -> list[str]:
    if node.thread or not node.process:
        return []
    return [printable(word) for word in unpadded(_cmdline(node.process))[1:]]


def _cmdline(process: Process) -> tuple[bytes, ...]:
    arguments: tuple[bytes, ...] = getattr(process, "cmdline", ())
    return arguments


def _draw(numbered: _NumberedTree, options: TreeOptions) -> list[str]:
    """Draw line by line, with a stack of nodes that are still to be drawn.

    An entry is the number of a node, its count, the brackets to close after its last line, the start of its line (None
    continues the current line), and the start of the lines below it.
    """
    lines: list[str] = []
    pieces, own_lines = options.pieces, options.on_lines_of_their_own
    finish = _Finish(options)
    texts, every_words, indents, every_groups = numbered.texts, numbered.words, numbered.indents, numbered.groups
    current = ""
    waiting: list[tuple[int, int, int, str | None, str]] = [(0, 1, 0, "", "")]
    while waiting:
        number, count, closing, start, prefix = waiting.pop()
        times = f"{count}*[" if count > 1 else ""
        current = (current if start is None else start) + times + texts[number]
        if every_words[number]:
            current = _with_words(current, every_words[number], options.width)
        if options.uptime is not None:
            current += _PLAIN
        groups = every_groups[number]
        if not groups:
            lines.append(finish(current + "]" * closing if closing else current))
            continue
        indent = indents[number] + len(times)
        below = prefix + " " * indent
        # With labels only, the lines below a name of one letter begin one column further to the left.
        cut = indent < 0
        if own_lines:
            lines.append(finish(current))
        elif options.width is not None and finish.length(current) + 1 >= options.width:
            lines.append(finish(current + pieces.first))
            continue
        elif len(groups) == 1:
            times_below, child = groups[0]
            current += pieces.only
            waiting.append((child, times_below, (times_below > 1) + closing, None, below + "   "))
            continue
        else:
            current += pieces.first
        last = len(groups) - 1
        for position in range(last, -1, -1):
            times_below, child = groups[position]
            is_last = position == last
            brackets = (times_below > 1) + (closing if is_last else 0)
            begin = (
                None if position == 0 and not own_lines else below + (pieces.last if is_last else pieces.other)[cut:]
            )
            waiting.append((child, times_below, brackets, begin, below + ("   " if is_last else pieces.pass_by)[cut:]))
    return lines


def _with_words(line: str, words: list[str], width: int | None) -> str:
    """Add arguments while they fit, with room for the three points that stand for the rest, even after the last one."""
    length = len(line.translate(_UNSTYLED))
    for word in words:
        if width is not None and length + len(f" {word} ...") >= width:
            return line + " ..."
        line += " " + word
        length += 1 + len(word)
    return line


class _Finish:
    """Cuts a line, with a ``+`` in the last column if there is more, and inserts the escape sequences of styles."""

    def __init__(self, options: TreeOptions) -> None:
        self._width = options.width
        self._styles = _STYLES | dict(zip((_BOLD, _NOT_BOLD), options.bold, strict=True)) if options.styled else {}
        self._pattern = re.compile("[" + "".join(_STYLES) + "]") if options.styled else None

    def length(self, line: str) -> int:
        return len(line.translate(_UNSTYLED)) if self._styles else len(line)

    def __call__(self, line: str) -> str:
        width = self._width
        if not self._pattern:
            return line if width is None or len(line) < width else line[: width - 1] + "+"
        if width is not None and self.length(line) >= width:
            line = self._cut(line, width)
        return self._pattern.sub(lambda found: self._styles[found[0]], line)

    def _cut(self, line: str, width: int) -> str:
        column, kept = 0, []
        for char in line:
            if char in self._styles:
                kept.append(char)
                continue
            column += 1
            if column <= width:
                kept.append(char if column < width else "+")
        return "".join(kept)
