"""Which /proc is read, and one pass over it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

from nsbox.errors import SpecError
from nsbox.records.processes import (
    Capabilities,
    NamespaceIds,
    Process,
    Thread,
)

if TYPE_CHECKING:
    from nsbox import _core
    from nsbox.seeing.ipc import IpcTable

__all__ = ["BoxFiles", "Target", "View", "as_box", "completed", "open_proc", "pid_of", "read_from", "read_here"]


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

    def open(self, path: str) -> Any:
        """Open a file for reading, as a binary file."""
        ...

    def ipcs(self) -> IpcTable:
        """Return what is in its IPC namespace."""
        ...

    def _open_proc(self, view: View) -> _core.Proc:
        """Open the proc that shows its processes."""
        ...


class _HasPid(Protocol):
    @property
    def pid(self) -> int: ...


Target: TypeAlias = "int | _HasPid"
"""A process: its PID as the caller sees it, or anything with such a ``pid``, such as a `Shell`, `Popen`, `Process` or
`Box`. The process of a box is its nsbox-init."""


View: TypeAlias = Literal["namespace", "proc"]
"""From where a process is looked at: its PID namespace, or the proc that it has mounted."""


_CLASSES = (Process, Thread, NamespaceIds, Capabilities)


def as_box(target: object) -> BoxFiles | None:
    """Return the target if it is a box, else None."""
    return cast("BoxFiles", target) if hasattr(target, "_open_proc") else None


def pid_of(target: Target, name: str) -> int:
    """Return the PID of a target; `name` is what the argument is called in an error.

    Raises:
        SpecError: when it is none.
    """
    pid = target if isinstance(target, int) else getattr(target, "pid", None)
    # The kernel's pid_t; no process has a PID beyond.
    if isinstance(pid, bool) or not isinstance(pid, int) or not 0 < pid < 1 << 31:
        raise SpecError(f"{name}: expected a PID or something with a pid, got {target!r}")
    return pid


def open_proc(of: Target | None, view: View, proc: str | bytes | os.PathLike[str] | None) -> _core.Proc:
    """Open the proc that is to be read; `ps` says what the arguments mean.

    Raises:
        SpecError: for arguments that make no sense.
        OSError: when it cannot be opened.
    """
    from nsbox import _core  # noqa: PLC0415 - what was read can be shown without it

    if view not in ("namespace", "proc"):
        raise SpecError(f"view: expected 'namespace' or 'proc', got {view!r}")
    if of is None:
        return _core.open_proc(os.fsencode("/proc" if proc is None else proc))
    if proc is not None:
        raise TypeError("of and proc both say which /proc to read; give one of them")
    pid = pid_of(of, "of")
    try:
        return _core.open_proc_of(pid) if view == "namespace" else _core.open_proc(b"/proc").seen_by(pid, b"/proc")
    except PermissionError:
        # An ordinary user may not look through the init of a box. The box can ask it.
        if (box := as_box(of)) is None:
            raise
        return box._open_proc(view)


def completed(processes: list[Process], target: Target | None, pid: int | None) -> list[Process]:
    """Fill in the namespaces of the init of a box, which an ordinary user may not trace: the box can ask it.

    Args:
        processes: What was read.
        target: The box; nothing is done for anything else.
        pid: The PID of its init there.
    """
    if not any(one.pid == pid and not any(one.namespaces) for one in processes):
        return processes
    if (box := as_box(target)) is None:
        return processes
    ids = box.namespace_ids
    return [Process(**one._asdict() | {"namespaces": ids}) if one.pid == pid else one for one in processes]


def read_from(
    proc: _core.Proc, sources: Sequence[str], pids: Sequence[int] | None = None
) -> tuple[list[Process], tuple[int, ...]]:
    """Read processes of an open proc, and the PIDs of those that may not be looked at.

    Raises:
        OSError: when it cannot be read.
    """
    from nsbox import _core  # noqa: PLC0415 - what was read can be shown without it

    records, hidden = _core.read_processes(proc, _CLASSES, list(sources), pids=None if pids is None else list(pids))
    return records, tuple(hidden)


def read_here(
    sources: Sequence[str], pids: Sequence[int] | None = None, proc: str | bytes | os.PathLike[str] | None = None
) -> tuple[list[Process], tuple[int, ...]]:
    """Read processes of the caller's /proc or of another directory, and the PIDs of those that may not be looked at.

    Raises:
        OSError: when it cannot be read, or no proc is mounted there.
    """
    records, hidden = read_from(open_proc(None, "namespace", proc), sources, pids)
    if not records and not hidden and pids is None:
        # An empty mount point, as in a fresh root: a table of nothing would look like an answer.
        path = "/proc" if proc is None else os.fsdecode(proc)
        raise FileNotFoundError(2, "no process is listed; is proc mounted there?", path)
    return records, hidden
