"""The processes there are, as a table and as a tree: `ps` and `pstree`, with the namespaces.

One pass over /proc finds everything (proc(5)); no external tool is run. What a pass found is plain frozen data: it
does not change when the processes do.

    ps() -> ProcessTable of Process
    pstree() -> ProcessTree of Node
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, overload

from nsbox import _core
from nsbox.views import text as _text

__all__ = ["NamespaceIds", "Node", "Process", "ProcessTable", "ProcessTree", "Target", "Thread", "ps", "pstree"]


class _HasPid(Protocol):
    @property
    def pid(self) -> int: ...


Target: TypeAlias = "int | _HasPid"
"""A process: its PID as the caller sees it, or anything with such a ``pid`` (`Process`, a box, a Popen object)."""


class NamespaceIds(NamedTuple):
    """The namespaces of a process or thread, as inode numbers (namespaces(7)).

    None where it could not be read: without the permission to trace the process (ptrace(2), PTRACE_MODE_READ), and for
    most namespaces of a zombie. Unknown is never the same as unchanged.
    """

    user: int | None = None
    mount: int | None = None
    pid: int | None = None
    ipc: int | None = None
    uts: int | None = None
    net: int | None = None
    cgroup: int | None = None
    time: int | None = None


_UNKNOWN = NamespaceIds()


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread besides the first one of its process.

    Attributes:
        tid: Its id, in the PID namespace of the proc that was read.
        comm: Its own name, any bytes (proc_pid_comm(5)).
        namespaces: Its namespaces: a thread can unshare most kinds alone.
    """

    tid: int
    comm: bytes
    namespaces: NamespaceIds


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process at the moment of reading.

    Attributes:
        pid: Its PID, in the PID namespace of the proc that was read.
        pids: Its PIDs from that namespace inwards; the last is the one it knows itself (NSpid, proc_pid_status(5)).
        ppid: Its parent's PID; 0 if the parent is outside of that namespace.
        pgid: Its process group.
        sid: Its session.
        tty_nr: Its controlling terminal as a device number, 0 without one.
        tpgid: The foreground process group of that terminal, -1 without one.
        state: One letter: R running, S sleeping, D in an uninterruptible wait, T stopped, t traced, Z zombie, I idle.
        nice: From -20 to 19.
        uids: Its real, effective, saved and file system user id, as the caller's user namespace has them.
        owner: The owner of its directory in /proc: the effective user, or root while it is not dumpable (proc(5)).
        thread_count: How many threads it has, the first one included.
        comm: Its name, any bytes, at most 15 for a user's process (proc_pid_comm(5)).
        cmdline: Its arguments; none for a thread of the kernel and for a zombie.
        kernel_thread: Whether it is a thread of the kernel.
        start_ticks: When it was started, in clock ticks after boot (sysconf(3), _SC_CLK_TCK).
        start_seconds: The same in seconds.
        utime: CPU time in user mode, in seconds.
        stime: CPU time in kernel mode, in seconds.
        rss: Bytes in memory.
        vsize: Bytes of virtual memory.
        namespaces: Its namespaces.
        threads: Its other threads, if they were asked for.
    """

    pid: int
    pids: tuple[int, ...]
    ppid: int
    pgid: int
    sid: int
    tty_nr: int
    tpgid: int
    state: str
    nice: int
    uids: tuple[int, int, int, int] | None
    owner: int
    thread_count: int
    comm: bytes
    cmdline: tuple[bytes, ...]
    kernel_thread: bool
    start_ticks: int
    start_seconds: float
    utime: float
    stime: float
    rss: int
    vsize: int
    namespaces: NamespaceIds
    threads: tuple[Thread, ...] = ()

    @property
    def uid(self) -> int:
        """Its real user; the owner of its directory where that is not known."""
        return self.uids[0] if self.uids else self.owner

    @property
    def name(self) -> str:
        """Its name as text, unprintable bytes escaped as pstree does."""
        return _text.printable(self.comm)

    @property
    def command(self) -> str:
        """Its command line on one line, as the last column of ps."""
        return _text.command(self)

    def __repr__(self) -> str:
        """Say which one it is."""
        return f"<process {self.pid} {self.name} ({self.state})>"


def _process(record: _core.ProcessRecord) -> Process:
    namespaces = NamespaceIds(*(record.namespaces or ()))
    return Process(
        pid=record.pid,
        pids=tuple(record.pids),
        ppid=record.ppid,
        pgid=record.pgid,
        sid=record.sid,
        tty_nr=record.tty_nr,
        tpgid=record.tpgid,
        state=record.state,
        nice=record.nice,
        uids=record.uids,
        owner=record.owner,
        thread_count=record.thread_count,
        comm=record.comm,
        cmdline=tuple(record.cmdline or ()),
        kernel_thread=record.kernel_thread,
        start_ticks=record.start_ticks,
        start_seconds=record.start_seconds,
        utime=record.utime,
        stime=record.stime,
        rss=record.rss,
        vsize=record.vsize,
        namespaces=namespaces,
        threads=tuple(Thread(t.tid, t.comm, NamespaceIds(*(t.namespaces or ()))) for t in record.threads),
    )


def _read(
    of: Target | None,
    proc: str | bytes | os.PathLike[str] | None,
    *,
    pids: Iterable[int] | None = None,
    threads: bool = False,
) -> list[Process]:
    if of is not None and proc is not None:
        raise TypeError("of and proc both say which /proc to read; give one of them")
    path = os.fsencode("/proc" if proc is None else proc)
    # The kernel's pid_t; no process has a PID beyond.
    wanted = None if pids is None else [pid for pid in pids if 0 < pid < 1 << 31]
    records = _core.read_processes(path, of=None if of is None else _pid(of), pids=wanted, threads=threads)
    if not records and pids is None:
        # An empty mount point, as in a fresh root: a table of nothing would look like an answer.
        raise FileNotFoundError(2, "no process is listed; is proc mounted there?", os.fsdecode(path))
    return [_process(record) for record in records]


def _pid(target: Target) -> int:
    return target if isinstance(target, int) else target.pid


def _user_names() -> Callable[[int], str]:
    """Return a look-up of user names that asks once for each: it may go over a network (nsswitch.conf(5))."""
    import pwd  # noqa: PLC0415 - only text with user names needs it

    known: dict[int, str] = {}

    def name(uid: int) -> str:
        if uid not in known:
            try:
                known[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:
                known[uid] = str(uid)
        return known[uid]

    return name


class ProcessTable(Sequence[Process]):
    """Processes in the order in which they were read; `str()` shows them as `ps aux` does.

    Attributes:
        boot: When this machine was booted, in seconds since the epoch.
        read_at: When the processes were read, in seconds since the epoch.
    """

    def __init__(self, processes: Iterable[Process], *, boot: float, read_at: float) -> None:
        """Keep what was read."""
        self._processes = tuple(processes)
        self.boot = boot
        self.read_at = read_at

    @overload
    def __getitem__(self, index: int) -> Process: ...
    @overload
    def __getitem__(self, index: slice) -> ProcessTable: ...
    def __getitem__(self, index: int | slice) -> Process | ProcessTable:
        """Return the process at a position, not the one with a PID; that is `find`."""
        if isinstance(index, slice):
            return ProcessTable(self._processes[index], boot=self.boot, read_at=self.read_at)
        return self._processes[index]

    def __len__(self) -> int:
        """Count the processes."""
        return len(self._processes)

    def find(self, pid: int) -> Process | None:
        """Return the process with this PID, if it is there."""
        return next((process for process in self._processes if process.pid == pid), None)

    def text(self, *, width: int | None = None) -> str:
        """Draw the table.

        Args:
            width: Cut the lines after so many characters.
        """
        return _text.table(self._processes, boot=self.boot, now=self.read_at, user_name=_user_names(), width=width)

    def __str__(self) -> str:
        """Draw the table, uncut."""
        return self.text()

    def __repr__(self) -> str:
        """Say how much there is."""
        return f"<table of {len(self)} processes>"


def ps(
    *,
    of: Target | None = None,
    proc: str | bytes | os.PathLike[str] | None = None,
    pids: Iterable[int] | None = None,
) -> ProcessTable:
    """Return all processes, or those that a process in a box would see.

    Args:
        of: Look from inside: a process, or anything with a `pid`. What a ``ps`` in there would show is shown, that is,
            what its ``/proc`` has.
        proc: The proc directory to read instead of ``/proc``.
        pids: Only these processes, in this order, as far as they are there.

    Raises:
        OSError: when the proc directory cannot be read, or none is mounted there.
    """
    processes = _read(of, proc, pids=pids)
    now = time.time()
    # Start times are on this clock, offsets of time namespaces included (time_namespaces(7)).
    return ProcessTable(processes, boot=now - time.clock_gettime(time.CLOCK_BOOTTIME), read_at=now)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """A process or a thread in its place in the tree.

    Attributes:
        pid: Its PID, or thread id.
        comm: The name of its process; ``b"?"`` for a parent that could not be seen.
        pgid: The process group of its process.
        owner: The owner of its process, a user id.
        namespaces: Its own namespaces.
        changes: In which kinds these are known to differ from its parent's.
        process: Its process; None for a parent that could not be seen.
        thread: Itself, if it is a thread besides the first one.
        children: Threads and child processes, in the order in which they were read.
    """

    pid: int
    comm: bytes = b"?"
    pgid: int = 0
    owner: int = 0
    namespaces: NamespaceIds = _UNKNOWN
    changes: tuple[str, ...] = ()
    process: Process | None = None
    thread: Thread | None = None
    children: tuple[Node, ...] = ()

    @property
    def name(self) -> str:
        """Its name as text; a thread's in braces."""
        name = _text.printable(self.comm)
        return f"{{{name}}}" if self.thread else name

    def __repr__(self) -> str:
        """Say which one it is, what changed, and how much hangs on it."""
        changes = f" in a new {', '.join(self.changes)} namespace" if self.changes else ""
        return f"<node {self.pid} {self.name}{changes}, {len(self.children)} children>"


class ProcessTree:
    """Processes as a tree; `str()` draws it as ``pstree -S`` does.

    Attributes:
        root: The node at the top.
        notes: What could not be found out; empty if nothing is missing.
    """

    def __init__(self, processes: Iterable[Process], *, root: int | None = None, ns_changes: bool = True) -> None:
        """Put processes, as one pass found them, into a tree.

        Args:
            processes: In the order in which they were read.
            root: The PID at the top, by default 1.
            ns_changes: Whether `str()` shows changes of namespaces.

        Raises:
            ProcessLookupError: when there is no such PID.
        """
        processes = tuple(processes)
        self._nodes, self._parents = _grow({process.pid: process for process in processes})
        self._ns_changes = ns_changes
        top = (1 if 1 in self._nodes else 0) if root is None else root
        if top not in self._nodes:
            raise ProcessLookupError(3, f"no process has the PID {top}")
        self.root = self._nodes[top]
        self.notes = _notes(processes)

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
        node = self.find(pid)
        if node is None:
            raise ProcessLookupError(3, f"no process in this tree has the PID {pid}")
        tree = object.__new__(ProcessTree)
        tree.__dict__ |= self.__dict__ | {"root": node}
        return tree

    def ancestors(self, pid: int) -> tuple[Node, ...]:
        """Return the nodes above a process in this tree, the nearest first.

        Raises:
            ProcessLookupError: when the tree has no such PID.
        """
        if self.find(pid) is None:
            raise ProcessLookupError(3, f"no process in this tree has the PID {pid}")
        found = []
        while pid != self.root.pid:
            pid = self._parents[pid]
            found.append(self._nodes[pid])
        return tuple(found)

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
        compact: bool = True,
        threads: bool = True,
        thread_names: bool = False,
        numeric_sort: bool = False,
        ascii: bool = False,
        width: int | None = None,
        mark_unknown: bool = False,
    ) -> str:
        """Draw the tree, character for character as pstree(1).

        Args:
            ns_changes: Show in which namespaces a process differs from its parent (-S).
            show_pids: Show PIDs; nothing is compacted then (-p).
            show_pgids: Show process groups (-g).
            uid_changes: Show the user where it differs from the parent's (-u).
            arguments: Show arguments, on a line for each process (-a).
            compact: Draw equal siblings as one with a count (off: -c).
            threads: Show threads (off: -T).
            thread_names: Show the threads' own names instead of the process' (-t).
            numeric_sort: Order siblings by PID instead of name (-n).
            ascii: Draw the lines with ASCII characters (-A), not with box drawing ones (-U).
            width: Cut the lines after so many characters; never cut by default (-l).
            mark_unknown: Put a ``?`` where a process' namespaces could not be read; pstree shows nothing there.
        """
        options = _text.TreeOptions(
            ns_changes=self._ns_changes if ns_changes is None else ns_changes,
            show_pids=show_pids,
            show_pgids=show_pgids,
            user_name=_user_names() if uid_changes else None,
            arguments=arguments,
            compact=compact and not show_pids,
            threads=threads,
            thread_names=thread_names,
            numeric_sort=numeric_sort,
            ascii=ascii,
            width=width,
            mark_unknown=mark_unknown,
        )
        return _text.tree(self.root, options)

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
    proc: str | bytes | os.PathLike[str] | None = None,
    threads: bool = True,
    ns_changes: bool = True,
) -> ProcessTree:
    """Return the tree of all processes, or of those that a process in a box would see.

    Args:
        root: The process at the top, by default PID 1. Its PID is one of the proc that is read.
        of: Look from inside: a process, or anything with a `pid`. What a ``pstree`` in there would show is shown.
        proc: The proc directory to read instead of ``/proc``.
        threads: Whether threads are read, too.
        ns_changes: Whether `str()` shows changes of namespaces.

    Raises:
        ProcessLookupError: when there is no such root.
        OSError: when the proc directory cannot be read, or none is mounted there.
    """
    processes = _read(of, proc, threads=threads)
    return ProcessTree(processes, root=None if root is None else _pid(root), ns_changes=ns_changes)


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
    unreadable = [p for p in processes if p.state not in "ZX" and not any(p.namespaces)]
    if not unreadable:
        return ()
    some = ", ".join(f"{process.pid} {process.name}" for process in unreadable[:3])
    some += ", ..." if len(unreadable) > len(unreadable[:3]) else ""
    return (
        f"the namespaces of {len(unreadable)} of {len(processes)} processes could not be read ({some}); they and their "
        "children may be in new namespaces without a mark",
    )
