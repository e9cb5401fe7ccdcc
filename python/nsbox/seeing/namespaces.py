"""All namespaces, whatever keeps them alive: `lsns`; and the namespaces of a process.

A namespace exists as long as something refers to it (namespaces(7)): a process or thread in it, a process whose future
children will be in it, an open descriptor, an open socket, a bind mount of its file, or another namespace that descends
from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

from nsbox.errors import ProcessEndedError, SpecError
from nsbox.records.mountinfo import nsfs_mounts
from nsbox.records.names import Users
from nsbox.records.namespaces import NamespaceRecord, TreeOf
from nsbox.records.processes import NamespaceIds, Process, unpadded
from nsbox.records.recording import loaded, recorded
from nsbox.seeing import netns_ids as network_ids
from nsbox.seeing.proc import View, as_box, open_proc, read_from
from nsbox.seeing.target import Target, names_ended, pid_of
from nsbox.spec.kinds import KINDS, KINDS_BY_WORD
from nsbox.views import mime
from nsbox.views import namespace_table as _view

if TYPE_CHECKING:
    from nsbox import _core
    from nsbox.spec.kinds import Namespaces

__all__ = ["NamespaceTable", "lsns", "namespaces_of", "same_namespace"]

_SOURCES = ("namespaces", "for_children", "descriptors", "sockets", "threads")


class NamespaceTable(mime.Table, Sequence[NamespaceRecord]):
    """Namespaces, in the order of their ids; `str()` shows a table as ``lsns`` does.

    Attributes:
        users: The names of users, by their ids.
    """

    def __init__(
        self,
        namespaces: Iterable[NamespaceRecord],
        processes: Iterable[Process] = (),
        users: Mapping[int, str] | None = None,
    ) -> None:
        """Keep what was read.

        Args:
            namespaces: The namespaces, in any order.
            processes: The processes that were found in them.
            users: The names of users, by their ids; others are looked up in the system.
        """
        self._namespaces = tuple(sorted(namespaces, key=lambda namespace: namespace.id))
        self._processes = tuple(processes)
        self.users = Users(users or {})

    @overload
    def __getitem__(self, index: int) -> NamespaceRecord: ...
    @overload
    def __getitem__(self, index: slice) -> NamespaceTable: ...
    def __getitem__(self, index: int | slice) -> NamespaceRecord | NamespaceTable:
        """Return the namespace at a position in the table; `find` takes an id."""
        if isinstance(index, slice):
            return self._with(self._namespaces[index])
        return self._namespaces[index]

    def __len__(self) -> int:
        """Count the namespaces."""
        return len(self._namespaces)

    def find(self, id: int) -> NamespaceRecord | None:
        """Return the namespace with this id; None if it is not in the table."""
        return next((namespace for namespace in self._namespaces if namespace.id == id), None)

    def of_kind(self, kinds: Namespaces) -> NamespaceTable:
        """Return the namespaces of some kinds, named as for `run`.

        Raises:
            SpecError: for anything that is no kind of namespace.
        """
        from nsbox.spec.kinds import namespace_names  # noqa: PLC0415 - not needed to show what was read

        names = namespace_names(kinds)
        return self._with(n for n in self._namespaces if n.kind in names)

    def of_process(self, pid: int) -> NamespaceTable:
        """Return the namespaces of a process; none if the process was not found."""
        ids = {id_ for process in self._processes if process.pid == pid for id_ in process.namespaces}
        return self._with(n for n in self._namespaces if n.id in ids)

    @property
    def members(self) -> dict[int, set[tuple[int, int]]]:
        """The identities of the processes in each namespace, by its id."""
        found: dict[int, set[tuple[int, int]]] = {}
        for process in self._processes:
            for id_ in process.namespaces:
                if id_ is not None:
                    found.setdefault(id_, set()).add(process.identity)
        return found

    def processes_in(self, id: int) -> tuple[Process, ...]:
        """Return the processes in a namespace."""
        return tuple(process for process in self._processes if id in process.namespaces)

    def _with(self, namespaces: Iterable[NamespaceRecord]) -> NamespaceTable:
        return NamespaceTable(namespaces, self._processes, self.users)

    def text(
        self,
        *,
        tree: TreeOf | None = "process",
        columns: Sequence[str] | None = None,
        ascii: bool = False,
        width: int | None = None,
    ) -> str:
        """Return the table as lsns(8) prints it.

        Args:
            tree: The relation by which it is a tree; None for a list.
            columns: The columns, by their names in lsns.
            ascii: Draw the tree with ASCII characters, not with box drawing ones.
            width: Cut the commands so that no line is longer, if possible.

        Raises:
            SpecError: for an unknown column.
        """
        return _view.table(self._namespaces, tree=tree, columns=columns, ascii=ascii, width=width, users=self.users)

    def json(self, *, tree: TreeOf | None = None, columns: Sequence[str] | None = None) -> str:
        """Return the table as JSON with lsns's names; with `tree`, rows have ``"children"``.

        Raises:
            SpecError: for an unknown column.
        """
        return _view.table(self._namespaces, tree=tree, columns=columns, form="json", users=self.users)

    def html(self, *, tree: TreeOf | None = "process", columns: Sequence[str] | None = None) -> str:
        """Return the table as HTML, without classes, ids or scripts.

        Raises:
            SpecError: for an unknown column.
        """
        return _view.table(self._namespaces, tree=tree, columns=columns, form="html", users=self.users)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as data that fit into JSON."""
        uids = {uid for one in self for uid in (one.uid, one.owner_uid, 0) if uid is not None}
        users = {uid: self.users[uid] for uid in sorted(uids)}
        return recorded("namespaces", users=users, namespaces=self._namespaces, processes=self._processes)

    @classmethod
    def from_dict(cls, data: object) -> NamespaceTable:
        """Return the table of which `to_dict` made these data.

        Raises:
            SpecError: when the data are not those of such a table.
        """
        types = {"users": dict[int, str], "namespaces": tuple[NamespaceRecord, ...], "processes": tuple[Process, ...]}
        return cls(**loaded(data, "namespaces", **types))

    def __str__(self) -> str:
        """Return the table as text, uncut."""
        return self.text()

    def __repr__(self) -> str:
        """Return the numbers of namespaces and processes."""
        return f"<table of {len(self)} namespaces of {len(self._processes)} processes>"


@dataclass(slots=True)
class _Found:
    """What keeps a namespace alive, and where it can be opened: PIDs, and paths (`_core.Proc.open_namespace`).

    Two places, if there are two processes in it: the caller may know the namespaces of nsbox-init from itself, and not
    be allowed to open them in /proc.
    """

    kind: str
    handle: tuple[int, bytes]
    other: tuple[int, bytes] | None = None
    count: int = 0
    lowest: Process | None = None
    threads: list[tuple[int, int]] = field(default_factory=list)
    for_children: list[int] = field(default_factory=list)
    descriptors: list[tuple[int, int]] = field(default_factory=list)
    sockets: list[tuple[int, int]] = field(default_factory=list)
    mounts: dict[str, None] = field(default_factory=dict)


@names_ended("of")
def lsns(
    *,
    of: Target | None = None,
    view: View = "namespace",
    proc: str | bytes | os.PathLike[str] | None = None,
    kinds: Namespaces | None = None,
) -> NamespaceTable:
    """Return all namespaces that can be found, or those that can be found through the processes of a PID namespace.

    They include namespaces without processes. Without the permission to trace a process (ptrace(2)) no namespace is
    found through it.

    Args:
        of: Use the processes in the PID namespace of this process: its PID, or an object with a `pid`.
        view: As for `ps`.
        proc: The proc directory to read instead of ``/proc``.
        kinds: Only namespaces of these kinds, named as for `run`.

    Raises:
        SpecError: for an argument that makes no sense.
        OSError: when the proc directory cannot be read, or the PID namespace of the process is unknown.
    """
    try:
        opened_proc = open_proc(of, view, proc)
    except OSError as error:
        if of is None or view == "proc":
            raise
        from nsbox.seeing import inside  # noqa: PLC0415 - only needed if the kernel gives no proc of that namespace

        # Below a masked /proc, for one: the processes are found in the caller's, and shown with their PIDs inside.
        opened_proc = open_proc(None, "namespace", None)
        _, pairs, _ = inside.both(pid_of(of, "of"), _SOURCES, error)
        found = _records(opened_proc, [outer for outer, _ in pairs])
        numbers = {outer.pid: inner for outer, inner in pairs}
        table = NamespaceTable([_renumbered(one, numbers) for one in found], [inner for _, inner in pairs])
    else:
        processes, _ = read_from(opened_proc, _SOURCES)
        table = NamespaceTable(_records(opened_proc, processes), processes)
    return table if kinds is None else table.of_kind(kinds)


def _records(opened_proc: _core.Proc, processes: Sequence[Process]) -> list[NamespaceRecord]:
    """Return the namespaces that are found through these processes of a proc."""
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    found = dict(_in_processes(processes))
    by_pid = {process.pid: process for process in processes}
    for id_, kept in list(found.items()):
        if kept.kind == "mount" and kept.lowest is not None:
            _add_mounts(opened_proc, id_, kept.lowest.pid, found)
    handles = [(id_, *handle) for id_, kept in found.items() for handle in (kept.handle, kept.other) if handle]
    relations = {relation.id: relation for relation in _core.namespace_relations(opened_proc, handles)}
    lowest = {kept.lowest.pid for kept in found.values() if kept.lowest}
    commands = {
        process.identity: b" ".join(unpadded(process.cmdline)) or process.comm
        for process in read_from(opened_proc, ["cmdline"], sorted(lowest))[0]
    }
    networks = {id_: kept.handle for id_, kept in found.items() if kept.kind == "net"}
    netns_ids = network_ids.of(opened_proc, networks)
    records = []
    for id_ in found.keys() | relations.keys():
        relation = relations.get(id_)
        # A namespace that nothing was found to keep alive is a parent or an owner of another one.
        ancestor = _Found(relation.kind if relation else "", (0, b""))
        record = _record(id_, found.get(id_, ancestor), relation, by_pid, commands)
        records.append(replace(record, netns_id=netns_ids[id_]) if id_ in netns_ids else record)
    return records


def _renumbered(record: NamespaceRecord, inside: Mapping[int, Process]) -> NamespaceRecord:
    """Return the record with the PIDs of another PID namespace, in which all of its processes are."""
    first = None if record.pid is None else inside[record.pid]
    return replace(
        record,
        pid=None if first is None else first.pid,
        ppid=None if first is None else first.ppid,
        creator=None if record.creator is None else inside[record.creator].pid,
        threads=tuple((inside[pid].pid, tid) for pid, tid in record.threads),
        for_children=tuple(inside[pid].pid for pid in record.for_children),
        descriptors=tuple((inside[pid].pid, fd) for pid, fd in record.descriptors),
        sockets=tuple((inside[pid].pid, fd) for pid, fd in record.sockets),
        pid_outside=None if first is None else first.pid_outside,
        reading=getattr(first, "reading", None),
    )


def _in_processes(processes: Sequence[Process]) -> Iterator[tuple[int, _Found]]:
    found: dict[int, _Found] = {}
    for kind, position in zip(NamespaceIds._fields, range(len(NamespaceIds._fields)), strict=True):
        path = b"ns/" + KINDS[kind].link.encode()
        for process in processes:
            id_ = process.namespaces[position]
            if id_ is None:
                continue
            kept = found.get(id_)
            if kept is None:
                kept = found[id_] = _Found(kind, (process.pid, path))
            kept.count += 1
            if kept.lowest is None or process.pid < kept.lowest.pid:
                kept.lowest = process
                kept.other, kept.handle = kept.handle, (process.pid, path)
            else:
                kept.other = (process.pid, path)
    for process in processes:
        _add_others(process, found)
    return iter(found.items())


def _add_others(process: Process, found: dict[int, _Found]) -> None:
    """Add the other namespaces that a process keeps alive: by threads, for children, by descriptors and sockets."""
    own, pid = process.namespaces, process.pid
    for thread in process.threads:
        if thread.namespaces != own:
            for kind, id_, first in zip(NamespaceIds._fields, thread.namespaces, own, strict=True):
                if id_ is not None and id_ != first:
                    handle = (pid, b"task/%d/ns/%b" % (thread.tid, KINDS[kind].link.encode()))
                    found.setdefault(id_, _Found(kind, handle)).threads.append((pid, thread.tid))
    for kind, id_, first in (("pid", process.pid_for_children, own.pid), ("time", process.time_for_children, own.time)):
        if id_ is not None and id_ != first:
            found.setdefault(id_, _Found(kind, (pid, b"ns/%b_for_children" % kind.encode()))).for_children.append(pid)
    for fd, kind, id_ in process.namespace_descriptors or ():
        found.setdefault(id_, _Found(kind, (pid, b"fd/%d" % fd))).descriptors.append((pid, fd))
    for fd, id_ in process.socket_namespaces or ():
        # Most sockets are in the network namespace of their process, which keeps it anyway.
        if id_ != own.net:
            handle = (process.pid_outside or 0, b"socket/%d" % fd)
            found.setdefault(id_, _Found("net", handle)).sockets.append((pid, fd))


def _add_mounts(proc: _core.Proc, namespace: int, pid: int, found: dict[int, _Found]) -> None:
    """Add the namespaces whose files are mounted in the mount namespace of this process."""
    try:
        text = proc.file(b"%d/mountinfo" % pid)
    except OSError:
        return
    for link, id_, point in nsfs_mounts(text):
        if (kind := KINDS_BY_WORD.get(link)) is not None:
            found.setdefault(id_, _Found(kind.name, (pid, os.fsencode(point)))).mounts[point] = None


def _record(
    id_: int,
    kept: _Found,
    relation: _core.Relation | None,
    by_pid: dict[int, Process],
    commands: dict[tuple[int, int], bytes],
) -> NamespaceRecord:
    lowest, creator = kept.lowest, None
    if lowest is not None and (parent := by_pid.get(lowest.ppid)) is not None and id_ not in parent.namespaces:
        # A parent whose namespaces are unknown may be in this one.
        creator = parent.pid if getattr(parent.namespaces, kept.kind) is not None else None
    return NamespaceRecord(
        id=id_,
        kind=kept.kind,
        parent=relation.parent if relation else None,
        owner=relation.owner if relation else None,
        owner_uid=relation.owner_uid if relation else None,
        process_count=kept.count,
        pid=lowest.pid if lowest else None,
        ppid=lowest.ppid if lowest else None,
        uid=lowest.owner if lowest else None,
        command=commands.get(lowest.identity, lowest.comm) if lowest else None,
        creator=creator,
        threads=tuple(kept.threads),
        for_children=tuple(kept.for_children),
        descriptors=tuple(kept.descriptors),
        sockets=tuple(kept.sockets),
        mounts=tuple(kept.mounts),
        pid_outside=getattr(lowest, "pid_outside", None),
        start_ticks=lowest.start_ticks if lowest else None,
        reading=getattr(lowest, "reading", None),
    )


@names_ended("target")
def namespaces_of(target: Target) -> NamespaceIds:
    """Return the namespaces of a process, given by its PID or as an object with a `pid`.

    Raises:
        SpecError: when the target is no process, or one that the caller cannot find.
        ProcessLookupError: when there is no such process, or it has ended (`ProcessEndedError`).
        PermissionError: when the caller may know none of its namespaces (ptrace(2), PTRACE_MODE_READ).
    """
    pid = pid_of(target, "target")
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    processes, hidden = read_from(_core.open_proc(b"/proc"), ["namespaces"], [pid])
    unreadable = hidden or (processes and processes[0].state not in "ZX" and not any(processes[0].namespaces))
    if (unreadable or not processes) and (box := as_box(target)) is not None:
        # An ordinary user may not trace the init of a box, and may not even see it (hidepid, proc(5)).
        return box.namespace_ids
    if unreadable:
        raise PermissionError(
            1, f"the namespaces of process {pid} can only be read by a caller who may trace it (ptrace(2))"
        )
    if not processes:
        raise ProcessLookupError(3, f"no process has the PID {pid}")
    return processes[0].namespaces


def same_namespace(a: Target, b: Target, kinds: Namespaces) -> bool:
    """Return whether two processes are in the same namespaces, of all these kinds.

    Args:
        a: A process: its PID, or an object with a `pid`.
        b: Another process.
        kinds: The kinds, named as for `run`: ``"ipc"``, ``"mip"``, ``"pid mount"``.

    Raises:
        SpecError: for anything that is no kind of namespace.
        ProcessLookupError: when there is no such process, or it has ended.
        PermissionError: when the caller may not know it.
    """
    from nsbox.spec.kinds import namespace_names  # noqa: PLC0415 - not needed to show what was read

    names = namespace_names(kinds)
    if not names:
        raise SpecError("kinds: name at least one kind of namespace")
    both = namespaces_of(a), namespaces_of(b)
    for namespaces, target in zip(both, (a, b), strict=True):
        for name in names:
            if getattr(namespaces, name) is None:
                raise ProcessEndedError(3, f"process {pid_of(target, 'target')} has no {name} namespace (any more)")
    return all(getattr(both[0], name) == getattr(both[1], name) for name in names)
