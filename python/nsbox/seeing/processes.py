"""The table of processes, with their namespaces: `ps`.

One pass over a proc reads everything (proc(5)); no external tool is run. The records are frozen: they do not change
when the processes change.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

from nsbox.errors import SpecError
from nsbox.records.names import Users
from nsbox.records.processes import ALWAYS, SOURCE_OF, SOURCES, Process
from nsbox.records.recording import loaded, recorded
from nsbox.seeing.proc import View, completed, open_proc, read_from, read_here
from nsbox.seeing.target import Target, names_ended, pid_of
from nsbox.views import mime
from nsbox.views import process_table as _view

__all__ = ["ProcessTable", "ps", "read"]

_DEFAULT = ("pids", "status", "cmdline", "namespaces")


def _sources(wanted: str | Iterable[str] | None) -> list[str]:
    if wanted is None:
        return list(_DEFAULT)
    words = wanted.replace(",", " ").split() if isinstance(wanted, str) else list(wanted)
    if words == ["all"]:
        return list(SOURCES)
    for word in words:
        if word not in SOURCE_OF and word not in ALWAYS:
            raise SpecError(f"fields: a process has no {word!r}; it has {', '.join(sorted(SOURCE_OF.keys() | ALWAYS))}")
    return list(dict.fromkeys(SOURCE_OF[word] for word in words if word in SOURCE_OF))


def read(
    sources: Sequence[str],
    *,
    of: Target | None = None,
    view: View = "namespace",
    proc: str | bytes | os.PathLike[str] | None = None,
    pids: Iterable[int] | None = None,
) -> tuple[list[Process], tuple[int, ...]]:
    """Read processes, and the PIDs of those that the caller may not read; see `ps` for the arguments.

    Raises:
        OSError: when the proc cannot be read, or none is mounted there.
    """
    wanted = None if pids is None else [pid for pid in pids if 0 < pid < 1 << 31]
    if of is None:
        return read_here(sources, wanted, proc)
    try:
        opened_proc = open_proc(of, view, proc)
    except OSError as error:
        if view == "proc":
            raise
        from nsbox.seeing import inside  # noqa: PLC0415 - only needed if the kernel gives no proc of that namespace

        records, hidden = inside.read(pid_of(of, "of"), sources, wanted, error)
        return completed(records, of, 1), hidden
    records, hidden = read_from(opened_proc, sources, wanted)
    return completed(records, of, 1) if "namespaces" in sources and view == "namespace" else records, hidden


class ProcessTable(mime.Table, Sequence[Process]):
    """Processes, in the order in which they were read; `str()` shows a table as `ps aux` does.

    Attributes:
        boot: The time at which this machine was booted, in seconds since the epoch.
        read_at: The time at which the processes were read, in seconds since the epoch.
        memory: The bytes of memory of this machine.
        hidden: PIDs of processes that exist, but that the caller may not read (hidepid, proc(5)).
        users: The names of users, by their ids.
    """

    def __init__(
        self,
        processes: Iterable[Process],
        *,
        boot: float,
        read_at: float,
        memory: int = 0,
        hidden: Iterable[int] = (),
        users: Mapping[int, str] | None = None,
    ) -> None:
        """Keep what was read. Names of users that are not given are looked up in the system."""
        self._processes = tuple(processes)
        self.boot = boot
        self.read_at = read_at
        self.memory = memory
        self.hidden = tuple(hidden)
        self.users = Users(users or {})

    @overload
    def __getitem__(self, index: int) -> Process: ...
    @overload
    def __getitem__(self, index: slice) -> ProcessTable: ...
    def __getitem__(self, index: int | slice) -> Process | ProcessTable:
        """Return the process at a position in the table; `find` takes a PID."""
        if isinstance(index, slice):
            return self._with(self._processes[index])
        return self._processes[index]

    def __len__(self) -> int:
        """Count the processes."""
        return len(self._processes)

    def find(self, pid: int) -> Process | None:
        """Return the process with this PID; None if it is not in the table."""
        return next((process for process in self._processes if process.pid == pid), None)

    def _with(self, processes: Iterable[Process]) -> ProcessTable:
        return ProcessTable(
            processes, boot=self.boot, read_at=self.read_at, memory=self.memory, hidden=self.hidden, users=self.users
        )

    def text(self, *, columns: Iterable[str] | None = None, width: int | None = None) -> str:
        """Return the table as text.

        Args:
            columns: The columns, in this order, such as ``["pid", "outside", "command"]``; by default those of ``ps
                aux``, and INSIDE if a process has PIDs further in. OUTSIDE is `Process.pid_outside`, PIDNS the PID
                namespace of the PIDs. A ``?`` stands for what is not known.
            width: Cut the lines after this number of characters.

        Raises:
            SpecError: for an unknown column.
        """
        return _view.table(
            self._processes, boot=self.boot, now=self.read_at, memory=self.memory, users=self.users, columns=columns,
            width=width,
        )  # fmt: skip

    def json(self, *, columns: Iterable[str] | None = None) -> str:
        """Return the table as JSON: ``{"processes": [{"user": "root", "pid": 1, ...}, ...]}``.

        Names are those of the columns in lower case. What is not known is null.

        Raises:
            SpecError: for an unknown column.
        """
        return _view.json(
            self._processes, boot=self.boot, now=self.read_at, memory=self.memory, users=self.users, columns=columns
        )

    def html(self, *, columns: Iterable[str] | None = None) -> str:
        """Return the table as HTML, without classes, ids or scripts.

        Raises:
            SpecError: for an unknown column.
        """
        return _view.html(
            self._processes, boot=self.boot, now=self.read_at, memory=self.memory, users=self.users, columns=columns
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as data that fit into JSON."""
        users = {uid: self.users[uid] for one in self for uid in (one.owner, *(getattr(one, "uids", None) or ()))}
        return recorded(
            "processes", boot=self.boot, read_at=self.read_at, memory=self.memory, hidden=self.hidden, users=users,
            processes=self._processes,
        )  # fmt: skip

    @classmethod
    def from_dict(cls, data: object) -> ProcessTable:
        """Return the table of which `to_dict` made these data.

        Raises:
            SpecError: when the data are not those of such a table.
        """
        parts = loaded(
            data, "processes", boot=float, read_at=float, memory=int, hidden=tuple[int, ...], users=dict[int, str],
            processes=tuple[Process, ...],
        )  # fmt: skip
        return cls(parts.pop("processes"), **parts)

    def __str__(self) -> str:
        """Return the table as text, uncut."""
        return self.text()

    def __repr__(self) -> str:
        """Return the number of processes."""
        hidden = f", and {len(self.hidden)} that may not be read" if self.hidden else ""
        return f"<table of {len(self)} processes{hidden}>"


@names_ended("of")
def ps(
    *,
    of: Target | None = None,
    view: View = "namespace",
    proc: str | bytes | os.PathLike[str] | None = None,
    pids: Iterable[int] | None = None,
    fields: str | Iterable[str] | None = None,
) -> ProcessTable:
    """Return all processes, or those in the PID namespace of a process.

    Args:
        of: The process whose PID namespace is shown: its PID, or a record or handle with one. Nothing is entered or
            mounted for it, and no proc need be mounted inside.
        view: With `of`: ``"namespace"`` shows the PID namespace of the process, with the PIDs inside; ``"proc"`` shows
            what the process's own ``/proc`` has, as a ``ps`` inside would.
        proc: The proc directory to read instead of ``/proc``.
        pids: Only these processes, in this order, if they exist.
        fields: The attributes of `Process` to read, as words in a string or an iterable; ``"all"`` for all. Files that
            are not needed for them are not read. By default everything from stat, status and cmdline, and the
            namespaces.

    Raises:
        SpecError: for an argument that makes no sense.
        OSError: when the proc directory cannot be read, or none is mounted there.
    """
    processes, hidden = read(_sources(fields), of=of, view=view, proc=proc, pids=pids)
    now = time.time()
    # Start times are on this clock, which includes offsets of time namespaces (time_namespaces(7)).
    boot = now - time.clock_gettime(time.CLOCK_BOOTTIME)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    return ProcessTable(processes, boot=boot, read_at=now, memory=memory, hidden=hidden)
