"""The tree of processes, character for character as pstree(1) draws it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nsbox.records.names import printable
from nsbox.spec.kinds import KINDS

if TYPE_CHECKING:
    from nsbox.records.processes import Process
    from nsbox.records.tree import Node

__all__ = ["TreeOptions", "forest", "tree"]

_MARKS = {
    "cgroup": "cgroup", "ipc": "ipc", "mount": "mnt", "net": "net",
    "pid": "pid", "user": "user", "uts": "uts", "time": "time",
}  # fmt: skip
"""What pstree calls the kinds of namespaces, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOptions:
    """How a tree is drawn; `ProcessTree.text` says what each of them means.

    Attributes:
        users: The names of users; None if users are not shown.
        by: The kind of namespace by which the tree is cut into a forest.
        highlight: The PIDs that are drawn between the two strings of `bold`.
        uptime: The age of the machine, in seconds; None if processes are not coloured by age.
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
        """Whether a first child is not drawn behind its parent."""
        return self.arguments or self.labels

    @property
    def styled(self) -> bool:
        """Whether there is bold or coloured text."""
        return bool(self.highlight) or self.uptime is not None

    @property
    def pieces(self) -> _Pieces:
        """Return what the lines are drawn with."""
        return _VT100 if self.vt100 else _ASCII if self.ascii else _BOX


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The pieces that lines are drawn with: before an only child, the first of several, another one, the last one."""

    only: str
    first: str
    other: str
    last: str
    pass_by: str


def _graphic(letters: str) -> str:
    """Characters of the line drawing set (xterm's "DEC Special Graphics"), and back."""
    return f"\033(0\017{letters}\033(B"


_ASCII = _Pieces("---", "-+-", " |-", " `-", " | ")
_BOX = _Pieces("───", "─┬─", " ├─", " └─", " │ ")
_VT100 = _Pieces(
    _graphic("qqq"), _graphic("qwq"), " " + _graphic("tq"), " " + _graphic("mq"), " " + _graphic("x") + " "
)

_STYLES = dict(zip("\ue000\ue001\ue002\ue003\ue004\ue005", ("", "", "\033[32m", "\033[33m", "\033[31m", "\033[0m"),
                   strict=True))  # fmt: skip
"""What stands for a change of style while lines are measured: it has no width and is never cut. (Users' private area
of Unicode; names of processes are ASCII by then.) The first two are `bold`."""
_BOLD, _NOT_BOLD, _YOUNG, _MIDDLE, _OLD, _PLAIN = _STYLES
_UNSTYLED = {ord(style): None for style in _STYLES}
_MINUTE, _HOUR = 60, 3600


def tree(root: Node, options: TreeOptions, *, parent_owner: int = 0) -> str:
    """Draw what is below a node, and itself.

    Args:
        root: The node at the top.
        options: How.
        parent_owner: Whose the top is not said to belong to; for pstree root, whoever its parent belongs to.
    """
    return "\n".join(_draw(_Plan(root, parent_owner, options), options))


def forest(root: Node, kind: str, options: TreeOptions) -> list[tuple[int | None, list[Node]]]:
    """Cut a tree where the namespace of this kind changes; return each namespace with the tops of its trees.

    A namespace is None where it is unknown. As in pstree, what is unknown at the very top belongs nowhere.
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
    """Return the children that are drawn, in their order."""
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


class _Plan:
    """All nodes of a tree by number, each followed by its children somewhere later; what is drawn for each.

    Without recursion: a chain of processes may exceed Python's stack.

    Attributes:
        texts: The name of each node, with what is said about it in brackets.
        words: Its arguments.
        indents: How far to the right its children's lines start.
        groups: Its children, equal ones as one with their count.
    """

    def __init__(self, root: Node, parent_owner: int, options: TreeOptions) -> None:
        if options.by is not None:
            # Its parent is in another tree, so that there is nothing to compare with.
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
        """Put equal siblings together, at the place of the first one. With arguments that is done to threads only.

        Likeness is a number that two nodes share exactly if they and everything below them look the same.
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
            infos += [mark for kind, mark in _MARKS.items() if kind in node.changes]
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
    return [printable(word) for word in _cmdline(node.process)[1:]]


def _cmdline(process: Process) -> tuple[bytes, ...]:
    arguments: tuple[bytes, ...] = getattr(process, "cmdline", ())
    return arguments


def _draw(plan: _Plan, options: TreeOptions) -> list[str]:
    """Draw line by line, with a stack of what is still to come.

    An entry is a node's number with how often it is there, the brackets to close after its last line, what the line of
    its first character starts with (nothing: it goes on in the current line), and what the lines below start with.
    """
    lines: list[str] = []
    pieces, own_lines = options.pieces, options.on_lines_of_their_own
    finish = _Finish(options)
    texts, every_words, indents, every_groups = plan.texts, plan.words, plan.indents, plan.groups
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
        # With labels alone the lines below a name of one letter begin right at its left.
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
    """Add arguments while they fit with room for the three points that stand for the rest, even after the last."""
    length = len(line.translate(_UNSTYLED))
    for word in words:
        if width is not None and length + len(f" {word} ...") >= width:
            return line + " ..."
        line += " " + word
        length += 1 + len(word)
    return line


class _Finish:
    """Cuts a line, whose last column then says that there is more, and puts in the changes of style."""

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
