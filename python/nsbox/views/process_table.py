"""The table of processes, as ``ps aux`` shows it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nsbox.errors import SpecError
from nsbox.records.names import Users, terminal
from nsbox.records.processes import command
from nsbox.spec.nearest import did_you_mean
from nsbox.views import grid
from nsbox.views import html as _html

if TYPE_CHECKING:
    from nsbox.records.processes import Process

__all__ = ["COLUMNS", "html", "json", "table"]

_DAY = 24 * 60 * 60
_USER_WIDTH = 8
_LEFT = ("USER", "TTY", "STAT")
COLUMNS = (
    "USER", "PID", "INSIDE", "OUTSIDE", "PIDNS", "PPID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME",
    "COMMAND",
)  # fmt: skip
"""The columns. OUTSIDE is the PID for the process that has read, INSIDE those in the PID namespaces further in."""
_NUMBERS = ("PID", "OUTSIDE", "PIDNS", "PPID", "%CPU", "%MEM", "VSZ", "RSS")
_UNKNOWN = {"INSIDE": "-", "OUTSIDE": "?", "PIDNS": "?", "TTY": "?"}
"""The text of a cell that is not known, which is null in JSON."""
_ASKED_FOR = ("OUTSIDE", "PIDNS")


def table(
    processes: Sequence[Process],
    *,
    boot: float,
    now: float,
    memory: int,
    users: Users,
    columns: Iterable[str] | None = None,
    width: int | None = None,
) -> str:
    """Return a table of processes.

    Args:
        processes: The rows, in this order.
        boot: The time at which the machine was booted, in seconds since the epoch.
        now: The time at which the processes were read, in seconds since the epoch.
        memory: The bytes of memory of the machine.
        users: The names of users.
        columns: The columns, in this order; by default those of ``ps aux``, and INSIDE where a process has such PIDs.
        width: The length in characters at which lines are cut.

    Raises:
        SpecError: for an unknown column.
    """
    rows = _rows(processes, boot, now, memory, users, columns)
    left = {column for column, name in enumerate(rows[0]) if name in _LEFT}
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(size) if column in left else cell.rjust(size)
                 for column, (cell, size) in enumerate(zip(row, widths, strict=False))]  # fmt: skip
        lines.append(" ".join([*cells, row[-1]])[:width])
    return "\n".join(lines)


def html(
    processes: Sequence[Process],
    *,
    boot: float,
    now: float,
    memory: int,
    users: Users,
    columns: Iterable[str] | None = None,
) -> str:
    """Return the same as an HTML table."""
    head, *rows = _rows(processes, boot, now, memory, users, columns)
    cells = [grid.Column(name, right=name not in {*_LEFT, "COMMAND"}) for name in head]
    return _html.table(cells, [grid.Row(row) for row in rows])


def json(
    processes: Sequence[Process],
    *,
    boot: float,
    now: float,
    memory: int,
    users: Users,
    columns: Iterable[str] | None = None,
) -> str:
    """Return the same as JSON: an object for each process, by the names of the columns in lower case."""
    head, *rows = _rows(processes, boot, now, memory, users, columns)
    cells = [grid.Column(name, number=name in _NUMBERS) for name in head]
    shown = [
        grid.Row([None if cell == _UNKNOWN.get(name) else cell for name, cell in zip(head, row, strict=True)])
        for row in rows
    ]
    return grid.json("processes", cells, shown)


def _rows(
    processes: Sequence[Process], boot: float, now: float, memory: int, users: Users, columns: Iterable[str] | None
) -> list[list[str]]:
    """Return the headings, and the cells of all rows."""
    chosen = _chosen(processes, columns)
    rows = [chosen]
    for process in processes:
        uids = getattr(process, "uids", None)
        user = users[uids[1] if uids else process.owner]
        cpu = process.utime + process.stime
        started = boot + process.start_seconds
        cells = {
            "USER": user if len(user) <= _USER_WIDTH else user[: _USER_WIDTH - 1] + "+",
            "PID": str(process.pid),
            "INSIDE": ",".join(map(str, getattr(process, "pids", ())[1:])) or "-",
            "OUTSIDE": _known(getattr(process, "pid_outside", None)),
            "PIDNS": _known(process.pid_namespace),
            "PPID": str(process.ppid),
            "%CPU": _share(cpu, now - started, 10_000),
            "%MEM": _share(process.rss, memory, 999),
            "VSZ": str(process.vsize // 1024),
            "RSS": str(process.rss // 1024),
            "TTY": terminal(process.tty_nr) or "?",
            "STAT": _stat(process),
            "START": _start(started, now),
            "TIME": f"{int(cpu) // 60}:{int(cpu) % 60:02}",
            "COMMAND": command(process),
        }
        rows.append([cells[name] for name in chosen])
    return rows


def _chosen(processes: Sequence[Process], columns: Iterable[str] | None) -> list[str]:
    if columns is None:
        inner = any(len(getattr(process, "pids", ())) > 1 for process in processes)
        return [name for name in COLUMNS if name not in _ASKED_FOR and (inner or name != "INSIDE")]
    chosen = [name.upper() for name in columns]
    for name in chosen:
        if name not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise SpecError(f"columns: there is no {name!r}; there are {known}{did_you_mean(name, COLUMNS)}")
    if not chosen:
        raise SpecError("columns: name at least one")
    return chosen


def _known(number: int | None) -> str:
    return "?" if number is None else str(number)


def _share(part: float, whole: float, most: int) -> str:
    """Return a share in per cent, rounded down to one digit after the point, as in ps."""
    thousandths = min(int(part * 1000 / whole), most) if whole > 0 else 0
    return f"{thousandths // 10}.{thousandths % 10}" if thousandths < 1000 else str(thousandths // 10)


def _stat(process: Process) -> str:
    """Return the state and the flags of a process (ps(1), PROCESS STATE CODES)."""
    flags = [
        (process.nice < 0, "<"),
        (process.nice > 0, "N"),
        (getattr(process, "locked", 0) > 0, "L"),
        (process.sid == process.pid, "s"),
        (process.thread_count > 1, "l"),
        (process.tpgid == process.pgid, "+"),
    ]
    return process.state + "".join(letter for is_set, letter in flags if is_set)


def _start(started: float, now: float) -> str:
    """Return hour and minute within the last day, month and day within this year, and else the year."""
    then, today = time.localtime(started), time.localtime(now)
    if now - started < _DAY:
        return time.strftime("%H:%M", then)
    return time.strftime("%b%d" if then.tm_year == today.tm_year else "%Y", then)
