"""The objects in an IPC namespace: `ipcs`, System V objects and POSIX message queues (ipc_namespaces(7)).

The caller enters nothing: a short-lived child process opens the files of another namespace.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, overload

from nsbox.records.ipc import IpcKind, IpcObject
from nsbox.records.names import Users
from nsbox.records.recording import loaded, recorded
from nsbox.seeing.proc import as_box
from nsbox.seeing.target import Target, names_ended, pid_of
from nsbox.spec.id_maps import IdRange, parse_id_map
from nsbox.views import ipc_table as _view
from nsbox.views import mime

__all__ = ["IpcTable", "ipcs", "parse", "table_of"]


class IpcTable(mime.Table, Sequence[IpcObject]):
    """IPC objects, by kind; `str()` shows a table.

    Attributes:
        unknown: The kinds that could not be read.
        users: The names of users, by their ids.
    """

    def __init__(
        self,
        objects: Iterable[IpcObject],
        unknown: Iterable[IpcKind] = (),
        users: Mapping[int, str] | None = None,
    ) -> None:
        """Keep what was read. Names of users that are not given are looked up in the system."""
        self._objects = tuple(objects)
        self.unknown = tuple(unknown)
        self.users = Users(users or {})

    @overload
    def __getitem__(self, index: int) -> IpcObject: ...
    @overload
    def __getitem__(self, index: slice) -> IpcTable: ...
    def __getitem__(self, index: int | slice) -> IpcObject | IpcTable:
        """Return the object at a position."""
        if isinstance(index, slice):
            return IpcTable(self._objects[index], self.unknown, self.users)
        return self._objects[index]

    def __len__(self) -> int:
        """Count the objects."""
        return len(self._objects)

    def of_kind(self, kind: IpcKind) -> tuple[IpcObject, ...]:
        """Return the objects of a kind."""
        return tuple(one for one in self._objects if one.kind == kind)

    def html(self) -> str:
        """Return the table as HTML, without classes, ids or scripts."""
        return _view.html(self._objects, self.users, self.unknown)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as data that fit into JSON."""
        users = {one.uid: self.users[one.uid] for one in self if one.uid is not None}
        return recorded("ipc objects", users=users, unknown=self.unknown, objects=self._objects)

    @classmethod
    def from_dict(cls, data: object) -> IpcTable:
        """Return the table of which `to_dict` made these data.

        Raises:
            SpecError: when the data are not those of such a table.
        """
        types = {"users": dict[int, str], "unknown": tuple[IpcKind, ...], "objects": tuple[IpcObject, ...]}
        return cls(**loaded(data, "ipc objects", **types))

    def __str__(self) -> str:
        """Return the table as text."""
        return _view.table(self._objects, self.users, self.unknown)

    def __repr__(self) -> str:
        """Return the number of objects, and the unknown kinds."""
        unknown = f", {', '.join(self.unknown)} unknown" if self.unknown else ""
        return f"<table of {len(self)} ipc objects{unknown}>"


@names_ended("of")
def ipcs(of: Target | None = None) -> IpcTable:
    """Return the objects in the IPC namespace of a process, or of the calling thread.

    POSIX queues are read in a new mqueue file system, which is attached to no directory. That takes CAP_SYS_ADMIN over
    the namespace. Root has it, and so has the owner of a user namespace over all namespaces made in it. Otherwise POSIX
    queues are unknown.

    Args:
        of: The process: its PID, or an object with a `pid`.

    Raises:
        SpecError: when `of` is no process, or one that the caller cannot find.
        ProcessLookupError: when there is no such process, or it has ended (`ProcessEndedError`).
        PermissionError: when the caller may not know its namespaces, or not enter them.
    """
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    try:
        files = _core.read_ipc(None if of is None else pid_of(of, "of"))
    except (FileNotFoundError, PermissionError) as error:
        # An ordinary user may not trace the init of a box, or not even see it, but that can open these files itself.
        if (box := as_box(of)) is not None:
            return box.ipcs()
        if isinstance(error, FileNotFoundError):
            raise ProcessLookupError(3, "no such process, or it has ended", error.filename) from error
        raise
    texts: dict[IpcKind, bytes | None] = {"shm": files.shm, "sem": files.sem, "msg": files.msg}
    return table_of(texts, files.queues, pid_of(of, "of") if files.ids_inside and of is not None else None)


def table_of(
    texts: Mapping[IpcKind, bytes | None],
    queues: Sequence[tuple[bytes, int, int, int, bytes | None]] | None,
    member: int | None,
) -> IpcTable:
    """Return the table of the objects in these files.

    Args:
        texts: The files of /proc/sysvipc, by kind; None for a file that could not be read.
        queues: POSIX queues: name, uid, gid, mode, text; None if they could not be listed.
        member: A process in the user namespace whose ids are in the files; None if it is the caller's.
    """
    to_uid: _Translation = _unchanged
    to_gid: _Translation = _unchanged
    if member is not None:
        to_uid, to_gid = (_translation(member, file) for file in ("uid_map", "gid_map"))
    found: list[IpcObject] = []
    for kind, text in texts.items():
        found += parse(kind, text or b"", to_uid, to_gid)
    for name, uid, gid, mode, contents in sorted(queues or []):
        size = None if contents is None else _queue_size(contents)
        found.append(IpcObject(kind="mqueue", name=os.fsdecode(name), uid=uid, gid=gid, mode=mode, size=size))
    unknown = [kind for kind, text in texts.items() if text is None]
    if queues is None:
        unknown.append("mqueue")
    return IpcTable(found, unknown)


_Translation: TypeAlias = Callable[[int], "int | None"]


def _unchanged(id_: int) -> int | None:
    return id_


def _translation(pid: int, file: str) -> _Translation:
    """Return a function that translates ids of the user namespace of a process to the caller's, by its map in /proc."""
    ranges: tuple[IdRange, ...] = ()
    with contextlib.suppress(OSError):
        ranges = parse_id_map(Path(f"/proc/{pid}/{file}").read_text())

    def translate(id_: int) -> int | None:
        return next((outside + id_ - inside for inside, outside, n in ranges if inside <= id_ < inside + n), None)

    return translate


_FIELDS: dict[str, tuple[str, str | None, str | None, str | None]] = {
    "shm": ("shmid", "size", "nattch", "cpid"),
    "sem": ("semid", None, "nsems", None),
    "msg": ("msqid", "cbytes", "qnum", "lspid"),
}
"""The columns of /proc/sysvipc with the id, the size, the count and the creator, by kind."""


def parse(
    kind: IpcKind,
    text: bytes,
    to_uid: _Translation = _unchanged,
    to_gid: _Translation = _unchanged,
) -> list[IpcObject]:
    """Parse a file of /proc/sysvipc (proc_sysvipc(5)): a line of column names, and a line for each object.

    Lines in any other form are left out.
    """
    names, *lines = text.decode("ascii", "replace").split("\n")
    columns = names.split()
    found = []
    for line in lines:
        row = dict(zip(columns, line.split(), strict=False))
        id_, size, count, creator = (None if name is None else row.get(name) for name in _FIELDS[kind])
        try:
            found.append(
                IpcObject(
                    kind=kind,
                    id=int(id_ or ""),
                    # The kernel prints it as a signed number; ipcs(1) shows it as an unsigned one, in hexadecimal.
                    key=int(row["key"]) & 0xFFFFFFFF,
                    uid=to_uid(int(row["uid"])),
                    gid=to_gid(int(row["gid"])),
                    mode=int(row["perms"], 8) & 0o7777,
                    size=None if size is None else int(size),
                    count=None if count is None else int(count),
                    creator=None if creator is None else int(creator),
                )
            )
        except (KeyError, ValueError):
            continue
    return found


def _queue_size(contents: bytes) -> int | None:
    """Return the number after ``QSIZE:``, the bytes of all messages in a queue (mq_overview(7))."""
    for field in contents.split():
        name, _, value = field.partition(b":")
        if name == b"QSIZE" and value.isdigit():
            return int(value)
    return None
