"""The differences between two snapshots: `diff`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nsbox.errors import SpecError
from nsbox.records.changes import Changes, compared
from nsbox.records.ipc import IpcObject
from nsbox.records.mountinfo import Mount
from nsbox.records.namespaces import NamespaceRecord
from nsbox.records.processes import Process
from nsbox.records.recording import loaded, recorded
from nsbox.seeing.namespaces import NamespaceTable
from nsbox.seeing.tree import ProcessTree
from nsbox.views import change_table as _view
from nsbox.views import mime
from nsbox.views.legend import Mark
from nsbox.views.svg import Document, Theme

if TYPE_CHECKING:
    from nsbox.seeing.snapshot import Snapshot

__all__ = ["Diff", "diff"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Diff(mime.Table, mime.Drawable):
    """What came, went and changed between two snapshots; `str()` lists it. It is true if there is any difference.

    Attributes:
        before: The first snapshot.
        after: The second snapshot.
        processes: The differences of processes. A process is identified by its PID and start time. CPU time and memory,
            and whether it runs or sleeps, are not compared.
        namespaces: The differences of namespaces. One has changed if something else keeps it alive.
        mounts: The differences of mounts.
        ipc: The differences of ipc objects.
        hostname: The host name before and after, if it has changed; else None.
    """

    before: Snapshot
    after: Snapshot
    processes: Changes[Process]
    namespaces: Changes[NamespaceRecord]
    mounts: Changes[Mount]
    ipc: Changes[IpcObject]
    hostname: tuple[str, str] | None = None

    def __bool__(self) -> bool:
        """Return whether there is any difference."""
        return bool(self.processes or self.namespaces or self.mounts or self.ipc or self.hostname)

    @property
    def notes(self) -> tuple[str, ...]:
        """The parts that could not be compared."""
        parts = dict.fromkeys((*self.before.unknown, *self.after.unknown))
        kinds = dict.fromkeys((*self.before.ipc.unknown, *self.after.ipc.unknown))
        return tuple(f"{part}: unknown" for part in (*parts, *kinds))

    @property
    def tree(self) -> ProcessTree:
        """The tree of the processes that came, went or changed, with their ancestors."""
        processes = {one.pid: one for one in (*self.before.processes, *self.after.processes)}
        wanted: set[int] = set()
        for process in self._marked():
            above: Process | None = process
            while above is not None and above.pid not in wanted:
                wanted.add(above.pid)
                above = processes.get(above.ppid)
        return ProcessTree([one for pid, one in sorted(processes.items()) if pid in wanted or pid == 1])

    def _shown(self) -> _view.Differences:
        return _view.Differences(self.processes, self.namespaces, self.mounts, self.ipc, self.hostname, self.notes)

    def _marked(self) -> dict[Process, Mark]:
        marks: dict[Process, Mark] = dict.fromkeys(self.processes.went, "went")
        marks |= dict.fromkeys(self.processes.came, "came")
        marks |= dict.fromkeys((change.after for change in self.processes.changed), "changed")
        return marks

    def text(self, *, width: int | None = 80, color: bool | None = None) -> str:
        """Return a list of the differences.

        Args:
            width: Cut the lines after this number of columns.
            color: Whether lines are green, red and yellow; by default if standard output is a terminal and NO_COLOR is
                not set.
        """
        return _view.text(self._shown(), width=width, color=_view.is_colored() if color is None else color)

    def html(self) -> str:
        """Return a table as HTML, without classes, ids or scripts."""
        return _view.html(self._shown())

    def drawn(
        self, *, compact: bool | None = None, legend: bool = True, width: int = mime.MAX_WIDTH
    ) -> Document:  # fmt: skip
        """Draw the tree of what came, went or changed; see `ProcessTree.drawn`."""
        marks = {process.identity: mark for process, mark in self._marked().items()}
        return self.tree.drawn(compact=compact, marks=marks, legend=legend, width=width)

    def svg(
        self, *, compact: bool | None = None, legend: bool = True, width: int = mime.MAX_WIDTH, theme: Theme = "auto"
    ) -> str:
        """Draw the tree of what came, went or changed as SVG; see `ProcessTree.svg`."""
        return self.drawn(compact=compact, legend=legend, width=width).svg(theme)

    def to_dict(self) -> dict[str, Any]:
        """Return both snapshots as data that fit into JSON."""
        return recorded("diff", before=self.before.to_dict(), after=self.after.to_dict())

    @classmethod
    def from_dict(cls, data: object) -> Diff:
        """Return the difference of which `to_dict` made these data.

        Raises:
            SpecError: when the data are not those of a difference.
        """
        from nsbox.seeing.snapshot import Snapshot  # noqa: PLC0415 - a circle if at the top

        parts = loaded(data, "diff", before=dict, after=dict)
        return diff(Snapshot.from_dict(parts["before"]), Snapshot.from_dict(parts["after"]))

    def __str__(self) -> str:
        """Return a list of the differences in 80 columns."""
        return self.text(color=False)

    def __repr__(self) -> str:
        """Return the numbers of differences."""
        parts = ("processes", self.processes), ("namespaces", self.namespaces), ("mounts", self.mounts), (
            "ipc objects", self.ipc
        )  # fmt: skip
        counts = [f"{name} +{len(one.came)} -{len(one.went)} ~{len(one.changed)}" for name, one in parts if one]
        counts += ["host name"] if self.hostname else []
        return f"<diff: {', '.join(counts) or 'nothing changed'}>"


def diff(before: Snapshot, after: Snapshot) -> Diff:
    """Compare two snapshots that were taken for the same process, or both for the caller.

    A part that is unknown in one of them is not compared: else all of it would come or go.

    Raises:
        SpecError: when they were taken for different processes, or in different PID namespaces.
    """
    if before.of != after.of:
        raise SpecError("after: the snapshots were taken for different processes")
    seen = [one.pid_namespace for taken in (before, after) for one in taken.processes[:1] if one.pid_namespace]
    if len(set(seen)) > 1:
        raise SpecError(
            f"after: its PIDs are of PID namespace {seen[1]}, and those in before of {seen[0]}. To see both sides of a "
            "box: nsbox.compare(box)"
        )
    unknown = {*before.unknown, *after.unknown}
    kinds = {*before.ipc.unknown, *after.ipc.unknown}
    old_ipc, new_ipc = ([one for one in taken.ipc if one.kind not in kinds] for taken in (before, after))
    namespaces = _namespaces(before.namespaces, after.namespaces)
    mounts = compared(before.mounts, after.mounts, _mount_key, _MOUNT)
    ipc = compared(old_ipc, new_ipc, _ipc_key, _IPC)
    return Diff(
        before,
        after,
        compared(before.processes, after.processes, lambda one: one.identity, _process),
        Changes() if "namespaces" in unknown else namespaces,
        Changes() if "mounts" in unknown else mounts,
        Changes() if "ipc" in unknown else ipc,
        _hostname(before.hostname, after.hostname),
    )


def _hostname(before: str | None, after: str | None) -> tuple[str, str] | None:
    return None if before is None or after is None or before == after else (before, after)


def _namespaces(before: NamespaceTable, after: NamespaceTable) -> Changes[NamespaceRecord]:
    """Compare by ids. The kernel reuses ids: a namespace whose members are all other processes is another one.

    It is the same one if it is still mounted at the same place, as that keeps it alive.
    """
    old, new = before.members, after.members
    mounted = {one.id: set(one.mounts) for one in before}
    others = {
        one.id
        for one in after
        if old.get(one.id) and new.get(one.id) and old[one.id].isdisjoint(new[one.id])
        and mounted.get(one.id, set()).isdisjoint(one.mounts)
    }  # fmt: skip
    found = compared(before, after, lambda one: one.id, _by("kept_by"))
    return Changes(
        (*found.came, *(one for one in after if one.id in others)),
        (*found.went, *(one for one in before if one.id in others)),
        tuple(change for change in found.changed if change.after.id not in others),
    )


def _by(*attributes: str) -> Callable[[Any, Any], tuple[str, ...]]:
    def what(before: object, after: object) -> tuple[str, ...]:
        return tuple(name for name in attributes if getattr(before, name) != getattr(after, name))

    return what


_RELATIONS = _by("ppid", "pgid", "sid")
_KNOWN = ("uids", "gids", "groups", "capabilities", "no_new_privs", "seccomp")
_MOUNT = _by("point", "options", "propagation", "super_options")
_IPC = _by("uid", "gid", "mode", "size", "count")


def _process(before: Process, after: Process) -> tuple[str, ...]:
    """Return the names of attributes that differ and are known in both. Of a zombie only the state is compared."""
    if after.state in "ZX":
        return ("state",) if before.state not in "ZX" else ()
    found = [*_RELATIONS(before, after)]
    if (before.state in "Tt") != (after.state in "Tt"):
        found.append("state")
    for name in _KNOWN:
        was, now = getattr(before, name), getattr(after, name)
        if was is not None and now is not None and was != now:
            found.append(name)
    pairs = zip(before.namespaces, after.namespaces, strict=True)
    if any(was and now and was != now for was, now in pairs):
        found.append("namespaces")
    # Threads of the kernel are renamed with their work.
    if (before.comm, before.cmdline) != (after.comm, after.cmdline) and not after.kernel_thread:
        found.append("command")
    return tuple(found)


def _mount_key(mount: Mount) -> Hashable:
    """Return what identifies a mount. Its number alone does not, as the kernel reuses numbers."""
    return mount.id, mount.device, mount.root


def _ipc_key(one: IpcObject) -> Hashable:
    return one.kind, one.id, one.key, one.name
