"""The tree of processes, with the changes of namespaces: `pstree`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from nsbox.errors import SpecError
from nsbox.records import names
from nsbox.records.processes import NamespaceIds, Process
from nsbox.records.recording import loaded, recorded
from nsbox.records.tree import Node
from nsbox.seeing.proc import Target, View, completed, pid_of
from nsbox.seeing.processes import read
from nsbox.views import mime
from nsbox.views import process_picture as _picture
from nsbox.views import process_tree as _view

__all__ = ["ProcessTree", "pstree"]


class ProcessTree(mime.Picture):
    """Processes as a tree; `str()` draws it as ``pstree -S`` does.

    Attributes:
        root: The node at the top.
        notes: What could not be found out; empty if nothing is missing.
        uptime: How long the machine was running when the processes were read, in seconds.
    """

    def __init__(
        self, processes: Iterable[Process], *, root: int | None = None, ns_changes: bool = True, uptime: float = 0.0
    ) -> None:
        """Put processes, as one pass found them, into a tree.

        Args:
            processes: In the order in which they were read.
            root: The PID at the top, by default 1.
            ns_changes: Whether `str()` shows changes of namespaces.
            uptime: How long the machine was running when they were read, in seconds.

        Raises:
            ProcessLookupError: when there is no such PID.
        """
        self._processes = processes = tuple(processes)
        self._nodes, self._parents = _grow({process.pid: process for process in processes})
        self._ns_changes = ns_changes
        top = (1 if 1 in self._nodes else 0) if root is None else root
        if top not in self._nodes:
            raise ProcessLookupError(3, f"no process has the PID {top}")
        self.root = self._nodes[top]
        self.notes = _notes(processes)
        self.uptime = uptime

    def walk(self) -> Iterator[Node]:
        """Visit every node, parents before children."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def find(self, pid: int) -> Node | None:
        """Return the node with this PID or thread id, if it is in the tree."""
        node = self._nodes.get(pid)
        return node if node is not None and self._is_below_root(pid) else None

    def subtree(self, pid: int) -> ProcessTree:
        """Return the tree below a process. What changed at its top is still told by its parent.

        Raises:
            ProcessLookupError: when the tree has no such PID.
        """
        return self._with_root(self._found(pid))

    def top(self, pid: int) -> ProcessTree:
        """Return the tree below any process that was read, also one that is not below the root.

        Raises:
            ProcessLookupError: when there is no such PID.
        """
        if pid not in self._nodes:
            raise ProcessLookupError(3, f"no process has the PID {pid}")
        return self._with_root(self._nodes[pid])

    def lineage(self, pid: int) -> ProcessTree:
        """Return the tree below a process together with its ancestors, but without their other children (-s).

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
        """Return the trees whose tops belong to a user, as far up as they do."""
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
        """Cut the tree where the namespace of a kind changes.

        Args:
            by: The kind, as ``"pid"`` or ``"mount"``.

        Returns:
            The tops of the trees in each namespace, by its id, in the order in which pstree -N shows them. None is for
            those whose namespace is unknown.

        Raises:
            SpecError: for anything that is no kind of namespace.
        """
        return {id_: tuple(nodes) for id_, nodes in _view.forest(self.root, _kind(by), _view.TreeOptions())}

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
        """Draw the tree, character for character as pstree(1).

        Args:
            ns_changes: Show in which namespaces a process differs from its parent (-S).
            show_pids: Show PIDs; nothing is compacted then (-p).
            show_pgids: Show process groups (-g).
            uid_changes: Show the user where it differs from the parent's (-u).
            arguments: Show arguments, on a line for each process (-a).
            security_context: Show what the Linux security module says, on a line for each process (-Z).
            compact: Draw equal siblings as one with a count (off: -c).
            threads: Show threads (off: -T).
            thread_names: Show the threads' own names instead of the process' (-t).
            numeric_sort: Order siblings by PID instead of name (-n).
            by: Draw a forest for each namespace of this kind, below its id (-N).
            highlight: Show the process with this PID and its ancestors in bold (-H).
            bold: How a terminal is told to begin and to end bold text (terminfo(5)).
            color: With ``"age"``, show processes of the last minute in green, of the last hour in yellow, others in
                red (-C).
            ascii: Draw the lines with ASCII characters (-A), not with box drawing ones (-U).
            vt100: Draw them with the graphic characters of a VT100 (-G).
            width: Cut the lines after so many characters; never cut by default (-l).
            mark_unknown: Put a ``?`` where a process' namespaces could not be read; pstree shows nothing there.
            parent_owner: With `uid_changes`, the user that the top is not said to belong to.

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

    def svg(
        self,
        *,
        compact: bool | None = None,
        marks: Mapping[tuple[int, int], _picture.Mark] | None = None,
        width: int = 1000,
    ) -> str:
        """Draw the tree as an SVG document, with presentation attributes only.

        Namespaces are coloured boxes, where they differ from those of the parent, around the processes in them. Each
        process has the PID that it knows itself, and those by which it is known further out.

        Args:
            compact: Whether siblings that are alike are drawn once, with their number; by default if there are more
                than forty processes.
            marks: What became of some processes, by their identity: ``"came"``, ``"went"`` or ``"changed"``.
            width: How wide the picture may become, in pixels, before it becomes higher. Deep trees can be wider.
        """
        return _picture.picture(self.root, compact=compact, marks=marks, width=width)

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as data that JSON takes."""
        pids = {node.process.pid for node in self.walk() if node.process is not None}
        # What changed at its top is told by the process above.
        pids.add(self._parents.get(self.root.pid, 0))
        processes = [process for process in self._processes if process.pid in pids]
        return recorded(
            "tree", root=self.root.pid, ns_changes=self._ns_changes, uptime=self.uptime, processes=processes
        )

    @classmethod
    def from_dict(cls, data: object) -> ProcessTree:
        """Return the tree that was made into data.

        Raises:
            SpecError: when the data are something else.
        """
        types = {"root": int, "ns_changes": bool, "uptime": float, "processes": tuple[Process, ...]}
        parts = loaded(data, "tree", **types)
        try:
            return cls(parts.pop("processes"), **parts)
        except ProcessLookupError as error:
            raise SpecError(f"data: damaged tree: {error.strerror}") from None

    def __str__(self) -> str:
        """Draw the tree with box drawing characters, uncut."""
        return self.text()

    def __repr__(self) -> str:
        """Say how much there is."""
        return f"<tree of {sum(1 for _ in self.walk())} processes and threads below {self.root.pid} {self.root.name}>"


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
    """Return the tree of all processes, or of those of the PID namespace that a process is in.

    Args:
        root: The process at the top, by default PID 1. Its PID is one of the proc that is read.
        of: Look from inside: a process, or anything with a `pid`.
        view: With `of`: ``"namespace"`` is the PID namespace of the process, ``"proc"`` what its ``/proc`` has, that
            is, what a ``pstree`` in there would show.
        proc: The proc directory to read instead of ``/proc``.
        threads: Whether threads are read, too.
        labels: Whether what the Linux security module says is read, too.
        ns_changes: Whether `str()` shows changes of namespaces.

    Raises:
        ProcessLookupError: when there is no such root.
        OSError: when the proc directory cannot be read, or none is mounted there.
    """
    sources = ["pids", "cmdline", "namespaces", *(["threads"] if threads else []), *(["label"] if labels else [])]
    processes, _ = read(sources, of=of, view=view, proc=proc)
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    top = None if root is None else pid_of(root, "root")
    processes = completed(processes, root, top)
    return ProcessTree(processes, root=top, ns_changes=ns_changes, uptime=uptime)


def _kind(name: str) -> str:
    """The links in /proc have one name that differs."""
    kind = "mount" if name == "mnt" else name
    if kind not in NamespaceIds._fields:
        raise SpecError(f"by: expected a kind of namespace ({', '.join(NamespaceIds._fields)}), got {name!r}")
    return kind


def _grow(processes: dict[int, Process]) -> tuple[dict[int, Node], dict[int, int]]:
    """Make all nodes; return them and who is whose parent, both by PID."""
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
    """Return who is whose parent, and the children of each, so that everything is below PID 0.

    Parents that cannot be seen are there all the same, below the root. So is a process that would be its own
    ancestor: a PID was given out anew during the pass.
    """
    root = 1 if 1 in processes else 0
    parents = {pid: 0 if pid == root else process.ppid for pid, process in processes.items()}
    unseen = dict.fromkeys(ppid for ppid in parents.values() if ppid and ppid not in processes)
    # The last one first, as for pstree; they have the same name, so that the order shows.
    parents |= dict.fromkeys(reversed(unseen), root)
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
    """List all PIDs below 0 and itself. Not by recursion: a chain of processes may be longer than Python's stack."""
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
