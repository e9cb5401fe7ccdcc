"""All processes, namespaces, mounts and IPC objects at one moment: `snapshot`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from nsbox.records.names import safe
from nsbox.records.recording import loaded, recorded
from nsbox.seeing.ipc import IpcTable, ipcs
from nsbox.seeing.mounts import MountTable, mounts
from nsbox.seeing.namespaces import NamespaceTable, lsns
from nsbox.seeing.processes import ProcessTable, ps
from nsbox.seeing.state import hostname_of
from nsbox.seeing.target import Target, names_ended, pid_of
from nsbox.seeing.tree import ProcessTree
from nsbox.views import html as _html
from nsbox.views import mime

__all__ = ["Snapshot", "snapshot"]

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Snapshot(mime.Table):
    """Everything that was read at one moment; `str()` shows all of it.

    The parts are read one after the other, and the machine may change meanwhile.

    Attributes:
        processes: The processes.
        namespaces: The namespaces that were found through them.
        mounts: The mounts that the process sees for which the snapshot was taken.
        ipc: The objects in its IPC namespace.
        unknown: The parts that could not be read; they are empty.
        of: The PID of that process; None for the caller.
        hostname: The host name that it sees; None if unknown.
    """

    processes: ProcessTable
    namespaces: NamespaceTable
    mounts: MountTable
    ipc: IpcTable
    unknown: tuple[str, ...] = ()
    of: int | None = None
    hostname: str | None = None

    @property
    def tree(self) -> ProcessTree:
        """The tree of the processes."""
        return ProcessTree(self.processes)

    def html(self) -> str:
        """Return all tables as HTML, without classes, ids or scripts."""
        parts = [f"<p><b>{_html.cell(title)}</b></p>\n{part.html()}" for title, part in self._titled()]
        return "\n".join([*parts, *(f"<p>{_html.cell(note)}</p>" for note in self._notes())])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as data that fit into JSON."""
        parts = {name: getattr(self, name).to_dict() for name in _PARTS}
        return recorded("snapshot", of=self.of, unknown=self.unknown, hostname=self.hostname, **parts)

    @classmethod
    def from_dict(cls, data: object) -> Snapshot:
        """Return the snapshot of which `to_dict` made these data.

        Raises:
            SpecError: when the data are not those of a snapshot.
        """
        if isinstance(data, dict):
            data = {"hostname": None, **data}  # older recordings have none
        types = dict.fromkeys(_PARTS, dict)
        parts = loaded(data, "snapshot", of=int | None, unknown=tuple[str, ...], hostname=str | None, **types)
        return cls(**parts | {name: kind.from_dict(parts[name]) for name, kind in _PARTS.items()})

    def _titled(self) -> list[tuple[str, ProcessTable | NamespaceTable | MountTable | IpcTable]]:
        return [
            (f"{len(self.processes)} processes", self.processes),
            (f"{len(self.namespaces)} namespaces", self.namespaces),
            (f"{len(self.mounts)} mounts", self.mounts),
            (f"{len(self.ipc)} ipc objects", self.ipc),
        ]

    def _notes(self) -> list[str]:
        hostname = [] if self.hostname is None else [f"host name {safe(self.hostname)}"]
        return hostname + ([f"({', '.join(self.unknown)}: could not be read)"] if self.unknown else [])

    def __str__(self) -> str:
        """Return all tables as text."""
        return "\n\n".join([*(f"{title}\n{part}".rstrip() for title, part in self._titled()), *self._notes()])

    def __repr__(self) -> str:
        """Return the numbers of processes, namespaces, mounts and IPC objects."""
        of = "" if self.of is None else f" from process {self.of}"
        return f"<snapshot{of}: {', '.join(title for title, _ in self._titled())}>"


_PARTS: dict[str, Any] = {
    "processes": ProcessTable, "namespaces": NamespaceTable, "mounts": MountTable, "ipc": IpcTable,
}  # fmt: skip


@names_ended("of")
def snapshot(of: Target | None = None) -> Snapshot:
    """Read everything: processes, namespaces, mounts and ipc objects.

    Args:
        of: The process from whose view everything is read, such as a box: its PID, or an object with a `pid`. By
            default the caller.

    Raises:
        SpecError: when `of` is no process.
        ProcessLookupError: when there is no such process.
        OSError: when the processes cannot be read.
    """
    pid = None if of is None else pid_of(of, "of")
    unknown: list[str] = []

    def part(name: str, read: Callable[[], _Part], empty: _Part) -> _Part:
        try:
            return read()
        except ProcessLookupError:
            raise
        except OSError:
            unknown.append(name)
            return empty

    try:
        processes = ps(of=of)
    except FileNotFoundError as error:
        if pid is None or os.path.exists(f"/proc/{pid}"):
            raise
        raise ProcessLookupError(3, f"no process has the PID {pid}") from error
    try:
        hostname = hostname_of(of)
    except (AssertionError, OSError):
        hostname = None
        unknown.append("host name")
    return Snapshot(
        processes,
        part("namespaces", lambda: lsns(of=of), NamespaceTable(())),
        part("mounts", lambda: mounts(of), MountTable(())),
        part("ipc", lambda: ipcs(of), IpcTable(())),
        tuple(unknown),
        pid,
        hostname,
    )
