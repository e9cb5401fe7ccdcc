"""What a process sees and what the caller sees, side by side: `compare`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, get_type_hints, overload

from nsbox.errors import SpecError
from nsbox.records.changes import Changes, compared
from nsbox.records.comparison import Compared, Pair
from nsbox.records.ipc import IpcObject
from nsbox.records.mountinfo import Mount
from nsbox.records.processes import NamespaceIds
from nsbox.records.recording import loaded, recorded
from nsbox.seeing.ipc import ipcs
from nsbox.seeing.mounts import mounts
from nsbox.seeing.proc import as_box
from nsbox.seeing.target import Target, names_ended, pid_of
from nsbox.spec.kinds import KINDS
from nsbox.views import comparison_picture as _picture
from nsbox.views import comparison_table as _view
from nsbox.views import mime
from nsbox.views.svg import Document

if TYPE_CHECKING:
    from nsbox.seeing.missing import MissingSteps

__all__ = ["Comparison", "compare"]


class _HasSteps(Protocol):
    @property
    def steps(self) -> Iterable[Any]: ...


Steps: TypeAlias = "Iterable[Any] | _HasSteps"
"""A list of steps, or what has one, such as a plan."""

_SOURCES = ("pids", "cmdline", "namespaces")


class Comparison(Compared, mime.Picture):
    """What the caller sees and what a process sees, side by side; `str()` shows tables, a notebook shows a picture.

    Attributes:
        pid: The PID of that process, as the caller sees it.
        outside: The namespaces of the caller.
        inside: The namespaces of that process.
        pairs: The processes that both see.
        others: The processes that only the caller sees.
        only_outside: The mounts that only the caller sees.
        only_inside: The mounts that only that process sees.
        ipc_only_outside: The ipc objects that only the caller sees.
        ipc_only_inside: The ipc objects that only that process sees.
        unknown: The parts that could not be read, and so are not compared. ``hidden processes`` are in the box, and not
            visible to the caller outside (hidepid, proc(5)).
    """

    __slots__ = ()

    def text(self, *, width: int | None = 80) -> str:
        """Return tables as text.

        Args:
            width: Cut the lines after this number of columns.
        """
        return _view.text(self, width=width)

    def html(self) -> str:
        """Return tables as HTML, without classes, ids or scripts."""
        return _view.html(self)

    def drawn(self, *, legend: bool = True, width: int = mime.MAX_WIDTH) -> Document:
        """Draw both sides, each process with both PIDs; the width is that of the processes."""
        del width
        return _picture.picture(self, legend=legend)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as data that fit into JSON."""
        return recorded("comparison", **{name: getattr(self, name) for name in _TYPES})

    @classmethod
    def from_dict(cls, data: object) -> Comparison:
        """Return the comparison of which `to_dict` made these data.

        Raises:
            SpecError: when the data are not those of a comparison.
        """
        return cls(**loaded(data, "comparison", **_TYPES))

    def __str__(self) -> str:
        """Return tables in 80 columns."""
        return self.text()

    def __repr__(self) -> str:
        """Return the PID, the kinds of namespaces that differ, and the number of processes on both sides."""
        own = f"own {', '.join(self.own)}" if self.own else "no namespaces of its own"
        return f"<comparison with process {self.pid}, {own}: {len(self.pairs)} processes on both sides>"


_TYPES = get_type_hints(Compared)


@overload
def compare(box: Target) -> Comparison: ...
@overload
def compare(box: Target | Steps, model: Target | Steps) -> MissingSteps: ...
@names_ended("box", "model")
def compare(box: Any, model: Any = None) -> Comparison | MissingSteps:
    """Compare what the caller sees with what is seen in a box; or a box with a model, and name the missing steps.

    Without a model nothing is entered. Each process is read once, with its PIDs on both sides (NSpid,
    proc_pid_status(5)), so both sides show the same process.

    With a model, the result is a sentence for each step that is missing or wrong: namespaces that are not those of the
    caller, mounts, what /proc shows, the host name, the network, id maps, clocks and rights. Both can be lists of steps
    as well: a plan, the `steps` of a box, or those of `explain`.

    >>> print(nsbox.compare(mine, model))
    process 4711 differs from the box of process 4700:
        - no proc was mounted after the PID namespace was made: mount -t proc proc /proc

    Args:
        box: The box, or any other process: its PID, or an object with a `pid`.
        model: What it should be like: a process, too.

    Raises:
        SpecError: when it is no process; and for a process beside a list of steps.
        ProcessLookupError: when there is no such process, or it has ended (`ProcessEndedError`).
        PermissionError: when the caller may not know its namespaces (ptrace(2), PTRACE_MODE_READ).
    """
    if model is not None:
        return _with_model(box, model)
    from nsbox.seeing import inside as _inside  # noqa: PLC0415 - not needed to show what was read
    from nsbox.seeing.namespaces import namespaces_of  # noqa: PLC0415

    pid = pid_of(box, "box")
    inside, outside = namespaces_of(box), _own()
    unknown: list[str] = []
    try:
        everything, pairs, _ = _inside.both(pid, _SOURCES, ProcessLookupError(3, f"no process has the PID {pid}"))
    except ProcessLookupError:
        if (files := as_box(box)) is None:
            raise
        everything, pairs, are_hidden = _inside.both_of_box(files, _SOURCES)
        unknown += ["hidden processes"] if are_hidden else []
    seen = {outer.pid for outer, _ in pairs}
    mounted = _mounts(unknown, box)
    # Not Changes[IpcObject](): Python 3.11 would try to set an attribute of the frozen object.
    objects: Changes[IpcObject] = Changes() if inside.ipc == outside.ipc else _objects(unknown, box)
    return Comparison(
        pid,
        outside,
        inside,
        tuple(Pair(*pair) for pair in pairs),
        tuple(process for process in everything if process.pid not in seen),
        mounted.went,
        mounted.came,
        objects.went,
        objects.came,
        tuple(unknown),
    )


def _with_model(student: Any, model: Any) -> MissingSteps:
    from nsbox.seeing import missing  # noqa: PLC0415 - not needed to show what was read

    steps, wanted = missing.steps_of(student), missing.steps_of(model)
    if steps is not None and wanted is not None:
        return missing.between_steps(steps, wanted)
    if steps is not None or wanted is not None:
        raise SpecError(f"model: expected two processes or two lists of steps, got {student!r} and {model!r}")
    return missing.between_processes(student, model)


def _own() -> NamespaceIds:
    """Return the namespaces of the calling thread, as a thread can unshare most kinds for itself."""
    found = {}
    for kind in KINDS.values():
        with contextlib.suppress(OSError):  # this kernel does not have that kind
            found[kind.name] = os.stat(f"/proc/thread-self/ns/{kind.link}").st_ino
    return NamespaceIds(**found)


def _mounts(unknown: list[str], box: Target) -> Changes[Mount]:
    try:
        return compared(mounts(), mounts(box), _mount_key, _no_difference)
    except PermissionError:
        unknown.append("mounts")
        return Changes()


def _objects(unknown: list[str], box: Target) -> Changes[IpcObject]:
    """Compare the objects of the kinds that could be read on both sides."""
    try:
        outside, inside = ipcs(), ipcs(box)
    except PermissionError:
        unknown.append("ipc objects")
        return Changes()
    kinds = {*outside.unknown, *inside.unknown}
    unknown.extend(sorted(kinds))
    out, inner = ([one for one in table if one.kind not in kinds] for table in (outside, inside))
    return compared(out, inner, _ipc_key, _no_difference)


def _no_difference(_outside: object, _inside: object) -> tuple[str, ...]:
    return ()


def _mount_key(mount: Mount) -> Hashable:
    """Return what identifies a mount. Its number does not: a copy in another mount namespace has another one."""
    return mount.point, mount.device, mount.root, mount.options


def _ipc_key(one: IpcObject) -> Hashable:
    return one.kind, one.id, one.key, one.name
