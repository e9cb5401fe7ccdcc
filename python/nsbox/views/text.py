"""Text for terminals and logs: the table of ps(1) and the tree of pstree(1)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsbox.tree import Node, Process

__all__ = ["TreeOptions", "command", "printable", "table", "tree"]

# ---------------------------------------------------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------------------------------------------------

_ESCAPES = {byte: f"\\{byte:03o}" for byte in range(256) if not 0x20 <= byte < 0x7F} | {0x5C: "\\\\"}


def printable(name: bytes) -> str:
    """Return a name with every byte outside of printable ASCII as three octal digits, and backslashes doubled."""
    return name.decode("latin-1").translate(_ESCAPES)


def command(process: Process) -> str:
    """Return the command line of a process on one line: ``[name]`` if it has none, as ps does."""
    if process.state == "Z":
        return f"[{_readable(process.comm)}] <defunct>"
    if not process.cmdline:
        return f"[{_readable(process.comm)}]"
    return _readable(b" ".join(process.cmdline)).rstrip()


def _readable(line: bytes) -> str:
    """Whatever would not be one visible character becomes a question mark: a name must not move the cursor."""
    text = line.decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "?")
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------

_DAY = 24 * 60 * 60
_USER_WIDTH = 8


def table(
    processes: Sequence[Process],
    *,
    boot: float,
    now: float,
    user_name: Callable[[int], str],
    width: int | None = None,
) -> str:
    """Draw a table of processes.

    Args:
        processes: The rows, in this order.
        boot: When the machine was booted, in seconds since the epoch.
        now: When the processes were read, in seconds since the epoch.
        user_name: Finds the name of a user id.
        width: Cut the lines after so many characters.
    """
    inner = any(len(process.pids) > 1 for process in processes)
    heads = ["USER", "PID", *(["INSIDE"] if inner else []), "PPID", "TTY", "STAT", "START", "TIME", "COMMAND"]
    rows = [heads]
    for process in processes:
        user = user_name(process.uids[1] if process.uids else process.owner)
        rows.append([
            user if len(user) <= _USER_WIDTH else user[: _USER_WIDTH - 1] + "+",
            str(process.pid),
            *([",".join(map(str, process.pids[1:])) or "-"] if inner else []),
            str(process.ppid),
            _terminal(process.tty_nr),
            _stat(process),
            _start(boot + process.start_seconds, now),
            _minutes(process.utime + process.stime),
            command(process),
        ])  # fmt: skip
    left = {heads.index(name) for name in ("USER", "TTY", "STAT")}
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(size) if column in left else cell.rjust(size)
                 for column, (cell, size) in enumerate(zip(row, widths, strict=False))]  # fmt: skip
        lines.append(" ".join([*cells, row[-1]])[:width])
    return "\n".join(lines)


def _terminal(device: int) -> str:
    """Name a terminal by its number (admin-guide/devices.txt of the kernel)."""
    if device == 0:
        return "?"
    # The number has 32 bits and may come as a negative one.
    major, minor = os.major(device & 0xFFFFFFFF), os.minor(device & 0xFFFFFFFF)
    if major in range(136, 144):
        return f"pts/{(major - 136) * 256 + minor}"
    names = {4: f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}", 5: "console" if minor == 1 else "tty"}
    return names.get(major, f"{major}:{minor}")


def _stat(process: Process) -> str:
    """Return the state with the flags that ps(1) explains under PROCESS STATE CODES."""
    flags = [
        (process.nice < 0, "<"),
        (process.nice > 0, "N"),
        (process.sid == process.pid, "s"),
        (process.thread_count > 1, "l"),
        (process.tpgid == process.pgid, "+"),
    ]
    return process.state + "".join(letter for is_set, letter in flags if is_set)


def _start(started: float, now: float) -> str:
    """Hour and minute of the last day, month and day before."""
    return time.strftime("%H:%M" if now - started < _DAY else "%b%d", time.localtime(started))


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


# ---------------------------------------------------------------------------------------------------------------------
# The tree
# ---------------------------------------------------------------------------------------------------------------------

_MARKS = {
    "cgroup": "cgroup", "ipc": "ipc", "mount": "mnt", "net": "net",
    "pid": "pid", "user": "user", "uts": "uts", "time": "time",
}  # fmt: skip
"""What pstree calls the kinds of namespaces, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOptions:
    """How a tree is drawn; `ProcessTree.text` says what each of them means. No `user_name`: users are not shown."""

    ns_changes: bool = True
    show_pids: bool = False
    show_pgids: bool = False
    user_name: Callable[[int], str] | None = None
    arguments: bool = False
    compact: bool = True
    threads: bool = True
    thread_names: bool = False
    numeric_sort: bool = False
    ascii: bool = False
    width: int | None = None
    mark_unknown: bool = False


@dataclass(frozen=True, slots=True)
class _Lines:
    """The pieces that lines are drawn with: before an only child, the first of several, another one, the last one."""

    only: str
    first: str
    other: str
    last: str
    pass_by: str


_ASCII = _Lines("---", "-+-", " |-", " `-", " | ")
_BOX = _Lines("───", "─┬─", " ├─", " └─", " │ ")


@dataclass(slots=True)
class _Figure:
    """A node prepared for drawing: its text, and its children in order, equal ones together."""

    text: str
    words: list[str]
    indent: int
    likeness: int
    groups: list[tuple[int, _Figure]]


def tree(root: Node, options: TreeOptions) -> str:
    """Draw what is below a node, and itself."""
    return "\n".join(_draw(_prepare(root, options), options))


def _prepare(root: Node, options: TreeOptions) -> _Figure:
    """Prepare all nodes, children first. Without recursion: a chain of processes may exceed Python's stack.

    Likeness is a number that two nodes share exactly if they and everything below them look the same.
    """
    likenesses: dict[tuple[object, ...], int] = {}
    figures: dict[int, _Figure] = {}
    # As for pstree, what is at the top belongs to root unless it says otherwise, whoever its parent belongs to.
    order = [(root, 0)]
    for node, _ in order:
        order.extend((child, node.owner) for child in node.children if options.threads or not child.thread)
    for node, parent_owner in reversed(order):
        children = [child for child in node.children if options.threads or not child.thread]
        if options.numeric_sort:
            children.sort(key=lambda child: child.pid)
        else:
            children.sort(key=lambda child: (_name(child, options), child.owner))
        below = [(child, figures[id(child)]) for child in children]
        look = (
            _name(node, options),
            node.owner if options.user_name else None,
            node.namespaces if options.ns_changes else None,
            *(figure.likeness for _, figure in below),
        )
        text = _label(node, parent_owner, options)
        figures[id(node)] = _Figure(
            text,
            _words(node, options),
            _indent(node, text, options),
            likenesses.setdefault(look, len(likenesses)),
            _grouped(below, options),
        )
    return figures[id(root)]


def _grouped(below: Iterable[tuple[Node, _Figure]], options: TreeOptions) -> list[tuple[int, _Figure]]:
    """Put equal siblings together, at the place of the first one. With arguments that is done to threads only."""
    groups: dict[object, tuple[int, _Figure]] = {}
    for node, figure in below:
        alike = options.compact and (node.thread is not None or not options.arguments)
        key: object = figure.likeness if alike else (node.pid,)
        count, first = groups.get(key, (0, figure))
        groups[key] = (count + 1, first)
    return list(groups.values())


def _indent(node: Node, text: str, options: TreeOptions) -> int:
    """How far to the right the children's lines start; with arguments that would be too far."""
    if not options.arguments:
        return len(text)
    return 1 if len(printable(_name(node, options))) > 1 else 0


def _name(node: Node, options: TreeOptions) -> bytes:
    if node.thread is None:
        return node.comm
    return b"{%b}" % (node.thread.comm if options.thread_names else node.comm)


def _label(node: Node, parent_owner: int, options: TreeOptions) -> str:
    infos = []
    if options.show_pids:
        infos.append(str(node.pid))
    if options.show_pgids:
        infos.append(str(node.pgid))
    if options.user_name and node.owner != parent_owner:
        infos.append(options.user_name(node.owner))
    if options.ns_changes:
        infos += [mark for kind, mark in _MARKS.items() if kind in node.changes]
        if options.mark_unknown and node.process and node.process.state not in "ZX" and not any(node.namespaces):
            infos.append("?")
    name = printable(_name(node, options))
    if not options.arguments:
        return f"{name}({','.join(infos)})" if infos else name
    line = ",".join([name, *infos])
    return line if node.thread or not node.process or node.process.cmdline else f"({line})"


def _words(node: Node, options: TreeOptions) -> list[str]:
    if not options.arguments or node.thread or not node.process:
        return []
    return [printable(word) for word in node.process.cmdline[1:]]


def _draw(root: _Figure, options: TreeOptions) -> list[str]:
    """Draw line by line, with a stack of what is still to come.

    An entry is a figure with how often it is there, the brackets to close after its last line, what the line of its
    first character starts with (nothing: it goes on in the current line), and what the lines below start with.
    """
    lines: list[str] = []
    pieces = _ASCII if options.ascii else _BOX
    current = ""
    waiting: list[tuple[_Figure, int, int, str | None, str]] = [(root, 1, 0, "", "")]
    while waiting:
        figure, count, closing, start, prefix = waiting.pop()
        current = (current if start is None else start) + (f"{count}*[" if count > 1 else "") + figure.text
        current = _with_words(current, figure.words, options.width)
        groups = figure.groups
        if not groups:
            lines.append(_cut(current + "]" * closing, options.width))
            continue
        below = prefix + " " * (figure.indent + (len(f"{count}*[") if count > 1 else 0))
        if options.arguments:
            lines.append(_cut(current, options.width))
        elif options.width is not None and len(current) + 1 >= options.width:
            lines.append(_cut(current + pieces.first, options.width))
            continue
        else:
            current += pieces.first if len(groups) > 1 else pieces.only
        entries: list[tuple[_Figure, int, int, str | None, str]] = []
        for position, (number, child) in enumerate(groups):
            is_last = position == len(groups) - 1
            brackets = (number > 1) + (closing if is_last else 0)
            start = below + (pieces.last if is_last else pieces.other)
            goes_on = position == 0 and not options.arguments
            under = below + ("   " if is_last else pieces.pass_by)
            entries.append((child, number, brackets, None if goes_on else start, under))
        waiting.extend(reversed(entries))
    return lines


def _with_words(line: str, words: list[str], width: int | None) -> str:
    """Add arguments while they fit with room for the three points that stand for the rest, even after the last."""
    for word in words:
        if width is not None and len(line) + len(f" {word} ...") >= width:
            return line + " ..."
        line += " " + word
    return line


def _cut(line: str, width: int | None) -> str:
    """The last column says that there is more."""
    if width is None or len(line) < width:
        return line
    return line[: width - 1] + "+"
