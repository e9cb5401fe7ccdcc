"""Which /proc is read, and one pass over it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

from nsbox.errors import SpecError
from nsbox.records.processes import CLASSES, NamespaceIds, Process
from nsbox.seeing.target import Target, pid_of, with_outside

if TYPE_CHECKING:
    from nsbox import _core
    from nsbox.seeing.ipc import IpcTable

__all__ = ["BoxFiles", "ProcSource", "View", "as_box", "completed", "open_proc", "read_from", "read_here"]


class BoxFiles(Protocol):
    """What a box offers to those who look at it: its nsbox-init, which an ordinary user may not trace, opens files."""

    @property
    def pid(self) -> int:
        """The PID of its nsbox-init."""
        ...

    @property
    def namespace_ids(self) -> NamespaceIds:
        """The namespaces of its nsbox-init."""
        ...

    def open(self, path: str, *, max_bytes: int = ..., any_type: bool = ...) -> Any:
        """Open a copy of a file for reading, as a binary file."""
        ...

    def ipcs(self) -> IpcTable:
        """Return what is in its IPC namespace."""
        ...

    def _open_proc(self, view: View) -> _core.Proc:
        """Open the proc that shows its processes."""
        ...

    def _open_own(self, path: str, *, link: bool = ...) -> Any:
        """Open a file of the proc that nsbox-init keeps from before any program ran."""
        ...

    def _pids_in_its_proc(self) -> list[int]:
        """Return the PIDs of nsbox-init as the proc on /proc shows them; none if that does not show it."""
        ...


View: TypeAlias = Literal["namespace", "proc"]
"""How processes are looked at: through their PID namespace, or through the proc that is mounted there."""

ProcSource: TypeAlias = "str | bytes | os.PathLike[str] | _core.Proc"
"""A proc: its directory, or one that is open already."""


def as_box(target: object) -> BoxFiles | None:
    """Return the target if it is a box, else None. It is known by a method that only boxes have."""
    return cast("BoxFiles", target) if hasattr(target, "_open_proc") else None


def open_proc(of: Target | None, view: View, proc: ProcSource | None) -> _core.Proc:
    """Open the proc that is to be read; see `ps` for the arguments.

    Raises:
        SpecError: for arguments that make no sense.
        OSError: when it cannot be opened.
    """
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    if view not in ("namespace", "proc"):
        raise SpecError(f"view: expected 'namespace' or 'proc', got {view!r}")
    if of is None:
        return proc if isinstance(proc, _core.Proc) else _core.open_proc(os.fsencode("/proc" if proc is None else proc))
    if proc is not None:
        raise TypeError("of and proc cannot be combined, as each of them selects a proc")
    pid = pid_of(of, "of")
    try:
        return _core.open_proc_of(pid) if view == "namespace" else _core.open_proc(b"/proc").seen_by(pid, b"/proc")
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        # An ordinary user may not trace the init of a box, and may not even see it (hidepid, proc(5)), but that can
        # open a proc itself.
        if (box := as_box(of)) is None:
            raise
        return _opened_by(box, view)


def _opened_by(box: BoxFiles, view: View) -> _core.Proc:
    """Have the init of a box open its proc; where it has the PID namespace of the caller's /proc, that is the one."""
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    own = _core.open_proc(b"/proc")
    is_own = view == "namespace" and own.namespace() is not None and box.namespace_ids.pid == own.namespace()
    return own if is_own else box._open_proc(view)


def completed(processes: list[Process], target: Target | None, pid: int | None) -> list[Process]:
    """Fill in the namespaces of the init of a box: an ordinary user may not trace it, but it can read them itself.

    Args:
        processes: What was read.
        target: The box; for other targets nothing is filled in.
        pid: The PID of its init among these processes, if they do not say themselves which of them is its init.
    """
    if (box := as_box(target)) is None:
        return processes
    pid = next((one.pid for one in processes if getattr(one, "pid_outside", None) == box.pid), pid)
    if not any(one.pid == pid and not any(one.namespaces) for one in processes):
        return processes
    ids = box.namespace_ids
    return [Process(**one._asdict() | {"namespaces": ids}) if one.pid == pid else one for one in processes]


def read_from(
    proc: _core.Proc, sources: Sequence[str], pids: Sequence[int] | None = None
) -> tuple[list[Process], tuple[int, ...]]:
    """Read processes in an open proc, and the PIDs of those that the caller may not read.

    Raises:
        OSError: when it cannot be read.
    """
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    records, hidden = _core.read_processes(proc, CLASSES, list(sources), pids=None if pids is None else list(pids))
    return with_outside(records), tuple(hidden)


def read_here(
    sources: Sequence[str], pids: Sequence[int] | None = None, proc: ProcSource | None = None
) -> tuple[list[Process], tuple[int, ...]]:
    """Read processes in /proc or another directory, and the PIDs of those that the caller may not read.

    Raises:
        OSError: when it cannot be read, or no proc is mounted there.
    """
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    records, hidden = read_from(open_proc(None, "namespace", proc), sources, pids)
    if not records and not hidden and pids is None:
        # An empty mount point, as in a new root: an empty table would look like a result.
        path = "/proc" if proc is None or isinstance(proc, _core.Proc) else os.fsdecode(proc)
        raise FileNotFoundError(2, "no process is listed; is proc mounted there?", path)
    return records, hidden
