"""The table of processes, as ``ps aux`` shows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nsbox.records.names import Users, terminal
from nsbox.records.processes import command
from nsbox.views import grid
from nsbox.views import html as _html

if TYPE_CHECKING:
    from nsbox.records.processes import Process

__all__ = ["html", "table"]

_DAY = 24 * 60 * 60
_USER_WIDTH = 8
_LEFT = ("USER", "TTY", "STAT")


def table(
    processes: Sequence[Process], *, boot: float, now: float, memory: int, users: Users, width: int | None = None
) -> str:
    """Return a table of processes.

    Args:
        processes: The rows, in this order.
        boot: The time at which the machine was booted, in seconds since the epoch.
        now: The time at which the processes were read, in seconds since the epoch.
        memory: The bytes of memory of the machine.
        users: The names of users.
        width: The length in characters at which lines are cut.
    """
    rows = _rows(processes, boot, now, memory, users)
    left = {column for column, name in enumerate(rows[0]) if name in _LEFT}
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(size) if column in left else cell.rjust(size)
                 for column, (cell, size) in enumerate(zip(row, widths, strict=False))]  # fmt: skip
        lines.append(" ".join([*cells, row[-1]])[:width])
    return "\n".join(lines)


def html(processes: Sequence[Process], *, boot: float, now: float, memory: int, users: Users) -> str:
    """Return the same as an HTML table."""
    head, *rows = _rows(processes, boot, now, memory, users)
    columns = [grid.Column(name, right=name not in {*_LEFT, "COMMAND"}) for name in head]
    return _html.table(columns, [grid.Row(row) for row in rows])


def _rows(processes: Sequence[Process], boot: float, now: float, memory: int, users: Users) -> list[list[str]]:
    """Return the headings, and the cells of all rows."""
    inner = any(len(getattr(process, "pids", ())) > 1 for process in processes)
    inside = ["INSIDE"] if inner else []
    rows = [["USER", "PID", *inside, "PPID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND"]]
    for process in processes:
        uids = getattr(process, "uids", None)
        user = users[uids[1] if uids else process.owner]
        cpu = process.utime + process.stime
        started = boot + process.start_seconds
        rows.append([
            user if len(user) <= _USER_WIDTH else user[: _USER_WIDTH - 1] + "+",
            str(process.pid),
            *([",".join(map(str, getattr(process, "pids", ())[1:])) or "-"] if inner else []),
            str(process.ppid),
            _share(cpu, now - started, 10_000),
            _share(process.rss, memory, 999),
            str(process.vsize // 1024),
            str(process.rss // 1024),
            terminal(process.tty_nr) or "?",
            _stat(process),
            _start(started, now),
            f"{int(cpu) // 60}:{int(cpu) % 60:02}",
            command(process),
        ])  # fmt: skip
    return rows


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
