"""The mounts that a process sees: `mounts`, from its mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from nsbox.records.mountinfo import Mount, parse, visible_at
from nsbox.records.recording import loaded, recorded
from nsbox.seeing.proc import as_box
from nsbox.seeing.target import Target, names_ended, pid_of
from nsbox.views import mime
from nsbox.views import mount_table as _view

if TYPE_CHECKING:
    from nsbox import _core

__all__ = ["MountTable", "mounts"]


class MountTable(mime.Table, Sequence[Mount]):
    """Mounts, in the order of the kernel's list; later ones may hide earlier ones. `str()` shows a table."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        """Keep what was read."""
        self._mounts = tuple(mounts)

    @overload
    def __getitem__(self, index: int) -> Mount: ...
    @overload
    def __getitem__(self, index: slice) -> MountTable: ...
    def __getitem__(self, index: int | slice) -> Mount | MountTable:
        """Return the mount at a position in the table (not by its `id`)."""
        return MountTable(self._mounts[index]) if isinstance(index, slice) else self._mounts[index]

    def __len__(self) -> int:
        """Count the mounts."""
        return len(self._mounts)

    def at(self, point: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Mount | None:
        """Return the mount that a process finds at a mount point: the last one, if several are on each other.

        Args:
            point: An absolute path without ``..``; links are not followed.

        Returns:
            The mount; None if nothing is mounted there, or if a mount on a directory above hides it.

        Raises:
            SpecError: for any other path.
        """
        return visible_at(self._mounts, point)

    def html(self) -> str:
        """Return the table as HTML, without classes, ids or scripts."""
        return _view.html(self._mounts)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as data that fit into JSON."""
        return recorded("mounts", mounts=self._mounts)

    @classmethod
    def from_dict(cls, data: object) -> MountTable:
        """Return the table of which `to_dict` made these data.

        Raises:
            SpecError: when the data are not those of such a table.
        """
        return cls(**loaded(data, "mounts", mounts=tuple[Mount, ...]))

    def __str__(self) -> str:
        """Return the table as text, uncut."""
        return _view.table(self._mounts)

    def __repr__(self) -> str:
        """Return the number of mounts."""
        return f"<table of {len(self)} mounts>"


@names_ended("of")
def mounts(of: Target | None = None) -> MountTable:
    """Return the mounts that a process sees.

    Args:
        of: The process: its PID, or an object with a `pid`; by default the caller.

    Raises:
        SpecError: when `of` is no process, or one that the caller cannot find.
        ProcessLookupError: when there is no such process, or it has ended (`ProcessEndedError`).
        PermissionError: when the caller may not know its mounts.
    """
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    proc = _core.open_proc(b"/proc")
    pid = os.getpid() if of is None else pid_of(of, "of")
    directory = b"thread-self" if of is None else b"%d" % pid
    try:
        found = parse(proc.file(directory + b"/mountinfo"))
    except OSError as error:
        if (box := as_box(of)) is not None:
            # An ordinary user may not see the init of a box (hidepid, proc(5)).
            with box._open_own("self/mountinfo") as file:
                return MountTable(parse(file.read()))
        if isinstance(error, FileNotFoundError):
            raise ProcessLookupError(3, f"no process has the PID {pid}") from error
        if error.errno == 22:  # EINVAL: a zombie has no mount namespace any more
            raise ProcessLookupError(3, f"process {pid} has ended") from error
        raise
    return MountTable(_with_namespace(proc, None if of is None else pid, mount) for mount in found)


def _with_namespace(proc: _core.Proc, pid: int | None, mount: Mount) -> Mount:
    """Return a mount, for a proc with its PID namespace, if the proc can be opened: if nothing is mounted over it."""
    if mount.fstype != "proc" or mount.root != "/":
        return mount
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    path = os.fsencode(mount.point)
    try:
        mounted = _core.open_proc(path) if pid is None else proc.seen_by(pid, path)
    except OSError:
        return mount
    if mounted.mount_id() != mount.id:
        return mount
    return replace(mount, pid_namespace=mounted.namespace())
