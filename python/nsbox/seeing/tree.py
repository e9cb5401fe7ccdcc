"""The tree of processes, with marks where namespaces change: `pstree`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from nsbox.errors import SpecError
from nsbox.records import names
from nsbox.records.names import Users
from nsbox.records.processes import NamespaceIds, Process
from nsbox.records.recording import loaded, recorded
from nsbox.records.tree import Node
from nsbox.seeing.proc import View, completed, read_here
from nsbox.seeing.processes import read
from nsbox.seeing.target import Target, names_ended, pid_of
from nsbox.spec.kinds import KINDS, KINDS_BY_WORD
from nsbox.views import mime, tree_data
from nsbox.views import process_picture as _picture
from nsbox.views import process_tree as _view
from nsbox.views.svg import Document, Theme

__all__ = ["ProcessTree", "pstree"]


class ProcessTree(mime.Picture):
    """Processes as a tree; `str()` draws it as ``pstree -S`` does.

    Attributes:
        root: The node at the top.
        notes: Notes on what could not be read; empty if nothing is missing.
        uptime: The time since boot when the processes were read, in seconds.
    """

    def __init__(
        self, processes: Iterable[Process], *, root: int | None = None, ns_changes: bool = True, uptime: float = 0.0
    ) -> None:
        """Make a tree of the processes that one pass has read.

        Args:
            processes: The processes, in the order in which they were read.
            root: The PID at the top. By default 1; 0, which stands for all that is outside of what was read, if there
                are processes that are not below 1, such as those that `enter` or ``docker exec`` has started.
            ns_changes: Whether `str()` shows changes of namespaces.
            uptime: The time since boot when they were read, in seconds.

        Raises:
            ProcessLookupError: when there is no such PID.
        """
        self._processes = processes = tuple(processes)
        self._nodes, self._parents = _grow({process.pid: process for process in processes})
        self._ns_changes = ns_changes
        top = _top_of(processes, self._nodes, self._parents) if root is None else root
        if top not in self._nodes:
            raise ProcessLookupError(3, f"no process has the PID {top}")
        self.root = self._nodes[top]
        left_out = () if root is not None or top == 0 else self._left_out()
        self.notes = (*_notes(processes), *left_out)
        self.uptime = uptime

    def walk(self) -> Iterator[Node]:
        """Yield every node, parents before children."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def find(self, pid: int) -> Node | None:
        """Return the node with this PID or thread id; None if it is not in the tree."""
        node = self._nodes.get(pid)
        return node if node is not None and self._is_below_root(pid) else None

    def subtree(self, pid: int) -> ProcessTree:
        """Return the tree below a process. The changes at its top are still relative to the parent outside of it.

        Raises:
            ProcessLookupError: when the tree has no such PID.
        """
        return self._with_root(self._found(pid))

    def top(self, pid: int) -> ProcessTree:
        """Return the tree below any process that was read, also below one that is not in this tree.

        Raises:
            ProcessLookupError: when there is no such PID.
        """
        if pid not in self._nodes:
            raise ProcessLookupError(3, f"no process has the PID {pid}")
        return self._with_root(self._nodes[pid])

    def lineage(self, pid: int) -> ProcessTree:
        """Return the tree below a process, with its ancestors, but without their other children (-s).

        Raises:
            ProcessLookupError: when the tree has no such PID.
        """
        node = self._found(pid)
        chain = {}
        for above in self.ancestors(pid):
            node = replace(above, children=(node,))
            chain[node.pid] = node
        tree = self._with_root(node)
        tree._nodes = self._nodes | chain
        return tree

    def ancestors(self, pid: int) -> tuple[Node, ...]:
        """Return the nodes above a process in this tree, the nearest first.

        Raises:
            ProcessLookupError: when the tree has no such PID.
        """
        self._found(pid)
        found = []
        while pid != self.root.pid:
            pid = self._parents[pid]
            found.append(self._nodes[pid])
        return tuple(found)

    def of_user(self, uid: int) -> tuple[ProcessTree, ...]:
        """Return the trees whose tops belong to a user; each starts at the topmost process of that user."""
        found = []
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            if node.owner == uid:
                found.append(self._with_root(node))
            else:
                waiting.extend(reversed(sorted(node.children, key=lambda child: (child.name, child.owner))))
        return tuple(found)

    def forest(self, by: str) -> dict[int | None, tuple[Node, ...]]:
        """Split the tree where the namespace of a kind changes.

        Args:
            by: The kind, as ``"pid"`` or ``"mount"``.

        Returns:
            The tops of the trees in each namespace, by its id, in the order in which pstree -N shows them. None is for
            those whose namespace is unknown.

        Raises:
            SpecError: for anything that is no kind of namespace.
        """
        return {id_: tuple(nodes) for id_, nodes in _view.forest(self.root, _kind(by), _view.TreeOptions())}

    def _left_out(self) -> tuple[str, ...]:
        """Say which processes are not in this tree."""
        count = sum(not self._is_below_root(process.pid) for process in self._processes)
        if not count:
            return ()
        threads = f"{count} thread{'s' * (count != 1)} of the kernel"
        return (f"left out: {threads}, not below PID {self.root.pid}; top(2) shows them",)

    def _found(self, pid: int) -> Node:
        node = self.find(pid)
        if node is None:
            raise ProcessLookupError(3, f"no process in this tree has the PID {pid}")
        return node

    def _with_root(self, node: Node) -> ProcessTree:
        tree = object.__new__(ProcessTree)
        tree.__dict__ |= self.__dict__ | {"root": node}
        return tree

    def _is_below_root(self, pid: int | None) -> bool:
        while pid is not None and pid != self.root.pid:
            pid = self._parents.get(pid)
        return pid is not None

    def text(
        self,
        *,
        ns_changes: bool | None = None,
        show_pids: bool = False,
        show_pgids: bool = False,
        uid_changes: bool = False,
        arguments: bool = False,
        security_context: bool = False,
        compact: bool = True,
        threads: bool = True,
        thread_names: bool = False,
        numeric_sort: bool = False,
        by: str | None = None,
        highlight: int | None = None,
        bold: tuple[str, str] = ("\033[1m", "\033[0m"),
        color: Literal["age"] | None = None,
        ascii: bool = False,
        vt100: bool = False,
        width: int | None = None,
        mark_unknown: bool = False,
        parent_owner: int = 0,
    ) -> str:
        """Draw the tree, character for character as pstree(1) does.

        Args:
            ns_changes: Show in which namespaces a process differs from its parent (-S).
            show_pids: Show PIDs; nothing is compacted then (-p).
            show_pgids: Show process groups (-g).
            uid_changes: Show the user where it differs from the parent's (-u).
            arguments: Show arguments, with a line for each process (-a).
            security_context: Show the label of the Linux security module, with a line for each process (-Z).
            compact: Draw equal siblings as one, with a count (off: -c).
            threads: Show threads (off: -T).
            thread_names: Show the threads' own names instead of the process' (-t).
            numeric_sort: Order siblings by PID instead of name (-n).
            by: Draw a forest for each namespace of this kind, below its id (-N).
            highlight: Show the process with this PID and its ancestors in bold (-H).
            bold: The escape sequences that start and end bold text in a terminal (terminfo(5)).
            color: With ``"age"``, show processes of the last minute in green, of the last hour in yellow, others in
                red (-C).
            ascii: Draw the lines with ASCII characters (-A), not with box drawing ones (-U).
            vt100: Draw them with the graphic characters of a VT100 (-G).
            width: Cut the lines after this number of characters; not cut by default (-l).
            mark_unknown: Put a ``?`` where the namespaces of a process could not be read; pstree shows nothing there.
            parent_owner: With `uid_changes`, the owner of the top is shown if it is another user than this one.

        Raises:
            SpecError: when `by` is no kind of namespace.
        """
        highlighted: frozenset[int] = frozenset()
        if highlight is not None and highlight in self._nodes:
            above = [highlight]
            while (parent := self._parents.get(above[-1])) is not None and parent not in above:
                above.append(parent)
            highlighted = frozenset(above)
        options = _view.TreeOptions(
            ns_changes=self._ns_changes if ns_changes is None else ns_changes,
            show_pids=show_pids,
            show_pgids=show_pgids,
            users=names.Users() if uid_changes else None,
            arguments=arguments,
            labels=security_context,
            compact=compact and not show_pids,
            threads=threads,
            thread_names=thread_names,
            numeric_sort=numeric_sort,
            by=None if by is None else _kind(by),
            highlight=highlighted,
            bold=bold,
            uptime=self.uptime if color == "age" else None,
            ascii=ascii,
            vt100=vt100,
            width=width,
            mark_unknown=mark_unknown,
        )
        if options.by is None:
            return _view.tree(self.root, options, parent_owner=parent_owner)
        parts = []
        for id_, nodes in _view.forest(self.root, options.by, options):
            parts += [f"[{id_ or 0}]", *(_view.tree(node, options) for node in nodes)]
        return "\n".join(parts)

    def drawn(
        self,
        *,
        compact: bool | None = None,
        marks: Mapping[tuple[int, int], _picture.Mark] | None = None,
        legend: bool = True,
        width: int = mime.MAX_WIDTH,
    ) -> Document:
        """Draw the tree.

        New namespaces, which differ from those of the parent, are coloured boxes around the processes in them. Each
        process has its own PID, and those that it has further out.

        Args:
            compact: Whether siblings that look alike are drawn once, with their number; by default if there are more
                than forty processes.
            marks: What happened to some processes, by their identity: ``"came"``, ``"went"`` or ``"changed"``.
            legend: Whether the picture explains its signs, if there is room for it.
            width: The maximum width in pixels, beyond which the picture becomes higher. Deep trees can be wider.
        """
        return _picture.picture(self.root, compact=compact, marks=marks, legend=legend, width=width)

    def svg(
        self,
        *,
        compact: bool | None = None,
        marks: Mapping[tuple[int, int], _picture.Mark] | None = None,
        legend: bool = True,
        width: int = mime.MAX_WIDTH,
        theme: Theme = "auto",
    ) -> str:
        """Draw the tree as an SVG document, which can be read where styles are removed, too.

        Args:
            compact: As for `drawn`.
            marks: As for `drawn`.
            legend: Whether the picture explains its signs, if there is room for it.
            width: The maximum width in pixels, beyond which the picture becomes higher. Deep trees can be wider.
            theme: The colours: ``"light"``, ``"dark"``, or ``"auto"`` for those of the page.

        Raises:
            SpecError: for an unknown theme.
        """
        return self.drawn(compact=compact, marks=marks, legend=legend, width=width).svg(theme)

    def data(self) -> list[dict[str, Any]]:
        """Return a dictionary for each process and thread, for JSON, each process before what is below it.

        Each has ``"pid"``, ``"parent"`` (the PID above it in the tree; None at the top), ``"depth"``, ``"name"``,
        ``"thread"``, ``"pgid"``, ``"user"``, ``"command"``, ``"new"`` (in which kinds of namespaces it differs from its
        parent) and ``"namespaces"`` (inode numbers; None where they could not be read).
        """
        return tree_data.data(self.root, Users())

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as data that fit into JSON."""
        pids = {node.process.pid for node in self.walk() if node.process is not None}
        # The changes at the top are relative to the process above it.
        pids.add(self._parents.get(self.root.pid, 0))
        processes = [process for process in self._processes if process.pid in pids]
        return recorded(
            "tree", root=self.root.pid, ns_changes=self._ns_changes, uptime=self.uptime, processes=processes
        )

    @classmethod
    def from_dict(cls, data: object) -> ProcessTree:
        """Return the tree of which `to_dict` made these data.

        Raises:
            SpecError: when the data are not those of a tree.
        """
        types = {"root": int, "ns_changes": bool, "uptime": float, "processes": tuple[Process, ...]}
        parts = loaded(data, "tree", **types)
        try:
            return cls(parts.pop("processes"), **parts)
        except ProcessLookupError as error:
            raise SpecError(f"data: damaged tree: {error.strerror}") from None

    def __str__(self) -> str:
        """Return the tree with box drawing characters, uncut."""
        return self.text()

    def __repr__(self) -> str:
        """Return the number of processes and threads, and the top."""
        return f"<tree of {sum(1 for _ in self.walk())} processes and threads below {self.root.pid} {self.root.name}>"


@names_ended("root", "of")
def pstree(
    root: Target | None = None,
    *,
    of: Target | None = None,
    view: View = "namespace",
    proc: str | bytes | os.PathLike[str] | None = None,
    threads: bool = True,
    labels: bool = False,
    ns_changes: bool = True,
) -> ProcessTree:
    """Return the tree of all processes, or of those in the PID namespace of a process.

    Args:
        root: The process at the top. By default PID 1, or 0 if there are processes that are not below 1
            (`ProcessTree`). A number is a PID in the proc that is read; anything else is
            the same process there.
        of: The process whose PID namespace is shown: its PID, or an object with a `pid`.
        view: With `of`: ``"namespace"`` shows the PID namespace of the process; ``"proc"`` shows what the process's own
            ``/proc`` has, as a ``pstree`` inside would.
        proc: The proc directory to read instead of ``/proc``.
        threads: Whether threads are read.
        labels: Whether labels of the Linux security module are read.
        ns_changes: Whether `str()` shows changes of namespaces.

    Raises:
        ProcessLookupError: when there is no such root.
        OSError: when the proc directory cannot be read, or none is mounted there.
    """
    sources = ["pids", "cmdline", "namespaces", *(["threads"] if threads else []), *(["label"] if labels else [])]
    processes, _ = read(sources, of=of, view=view, proc=proc)
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    top = None if root is None else _top(root, processes)
    processes = completed(processes, root, top)
    return ProcessTree(processes, root=top, ns_changes=ns_changes, uptime=uptime)


def _top(root: Target, processes: Sequence[Process]) -> int:
    """Return the PID of a process in the proc that was read."""
    pid = pid_of(root, "root") if not isinstance(root, int) or isinstance(root, bool) else root
    if isinstance(root, int):
        return pid
    (now,), _ = read_here((), [pid])
    for process in processes:
        if (process.pid, process.reading) == (now.pid, now.reading):
            return pid
        if process.pid_outside is not None and process.pid_outside == now.pid_outside:
            return process.pid
    raise ProcessLookupError(3, f"root: {root!r} is not in the PID namespace that was read")


def _kind(name: str) -> str:
    if (kind := KINDS_BY_WORD.get(name)) is None:
        raise SpecError(f"by: expected a kind of namespace ({', '.join(KINDS)}), got {name!r}")
    return kind.name


def _top_of(processes: Sequence[Process], nodes: Mapping[int, Node], parents: Mapping[int, int]) -> int:
    """Return the PID below which all processes are but the threads of the kernel, which are not below PID 1."""
    if 1 not in nodes:
        return 0
    outside = [process for process in processes if parents[process.pid] == 0 and process.pid != 1]
    return 1 if all(process.kernel_thread for process in outside) else 0


def _grow(processes: dict[int, Process]) -> tuple[dict[int, Node], dict[int, int]]:
    """Make all nodes; return them by PID, and the PID of the parent of each."""
    parents, children = _relations(processes)
    nodes: dict[int, Node] = {}
    for pid in reversed(_parents_first(children)):
        process, parent = processes.get(pid), processes.get(parents.get(pid, 0))
        below = tuple(nodes[child] for child in children.get(pid, ()))
        if process is None:
            nodes[pid] = Node(pid, children=below)
            continue
        own = process.namespaces
        threads = []
        for thread in process.threads:
            node = Node(
                thread.tid, process.comm, process.pgid, process.owner, thread.namespaces,
                _changes(thread.namespaces, own), process, thread,
            )  # fmt: skip
            threads.append(node)
            nodes[thread.tid] = node
            parents[thread.tid] = pid
        nodes[pid] = Node(
            pid, process.comm, process.pgid, process.owner, own,
            _changes(own, parent.namespaces) if parent else (), process, None, (*threads, *below),
        )  # fmt: skip
    return nodes, parents


def _relations(processes: dict[int, Process]) -> tuple[dict[int, int], dict[int, list[int]]]:
    """Return the parent of each process, and the children of each, by PID, such that all of them are below PID 0.

    Parents that are not visible are added, below the root. A process that would be its own ancestor is put below the
    root as well: that happens when a PID is reused during the pass.
    """
    # PID 1 may be hidden as well (hidepid, proc(5)).
    root = 1 if 1 in processes or any(process.ppid == 1 for process in processes.values()) else 0
    parents = {pid: 0 if pid == root else process.ppid for pid, process in processes.items()}
    unseen = dict.fromkeys(ppid for ppid in parents.values() if ppid and ppid not in processes)
    # In reverse order, as in pstree. They have the same name, so their order is visible.
    parents |= {pid: root if pid != root else 0 for pid in reversed(unseen)}
    safe = {0}
    for pid in list(parents):
        path: list[int] = []
        while pid not in safe:
            path.append(pid)
            safe.add(pid)
            pid = parents[pid]  # noqa: PLW2901 - on to its parent
        if pid in path:
            parents[path[-1]] = root
    children: dict[int, list[int]] = {0: []}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    return parents, children


def _parents_first(children: dict[int, list[int]]) -> list[int]:
    """Return 0 and all PIDs below it. Without recursion: a chain of processes may be longer than Python's stack."""
    found = [0]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _changes(own: NamespaceIds, parent: NamespaceIds) -> tuple[str, ...]:
    if own == parent:
        return ()
    kinds = zip(NamespaceIds._fields, own, parent, strict=True)
    return tuple(kind for kind, mine, theirs in kinds if mine and theirs and mine != theirs)


def _notes(processes: Sequence[Process]) -> tuple[str, ...]:
    unreadable = [p for p in processes if not any(p.namespaces) and p.state not in "ZX"]
    if not unreadable:
        return ()
    some = ", ".join(f"{process.pid} {process.name}" for process in unreadable[:3])
    some += ", ..." if len(unreadable) > len(unreadable[:3]) else ""
    return (
        f"the namespaces of {len(unreadable)} of {len(processes)} processes could not be read ({some}); they and their "
        "children may be in new namespaces without a mark",
    )
