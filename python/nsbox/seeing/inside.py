"""The processes of another PID namespace, found in the caller's own proc.

The kernel gives a proc of that namespace only since Linux 6.17, or to a caller who may mount one there. But the status
file of each process has its PIDs in all namespaces inwards (NSpid, proc_pid_status(5)).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from nsbox.records.processes import Process, Reading, Thread
from nsbox.records.status import fields_of, pids_of
from nsbox.seeing.proc import BoxFiles, read_from, read_here
from nsbox.seeing.target import descendants

__all__ = ["both", "both_of_box", "read"]


def read(
    pid: int, sources: Sequence[str], pids: Iterable[int] | None, refused: OSError
) -> tuple[list[Process], tuple[int, ...]]:
    """Read the processes in the PID namespace of `pid`, with their PIDs in that namespace.

    Raises:
        OSError: `refused`, when the PID namespace of the process is unknown.
    """
    _, pairs, hidden = both(pid, sources, refused)
    # In the order of a proc of that namespace, which is another one where the PIDs of the caller have begun anew.
    found = sorted((inner for _, inner in pairs), key=lambda process: process.pid)
    if pids is not None:
        by_pid = {process.pid: process for process in found}
        found = [by_pid[wanted] for wanted in pids if wanted in by_pid]
    return found, hidden


def both(
    pid: int, sources: Sequence[str], refused: OSError
) -> tuple[list[Process], list[tuple[Process, Process]], tuple[int, ...]]:
    """Read all processes, and pair the records of those in the PID namespace of `pid`: as seen outside, and inside.

    Returns:
        All of them as the caller sees them, the pairs (outside, inside), and the PIDs of those that the caller may not
        read.

    Raises:
        OSError: `refused`, when the PID namespace of the process is unknown.
    """
    everything, hidden = read_here(list({*sources, "pids", "namespaces"}))
    target = next((process for process in everything if process.pid == pid), None)
    is_init = target is not None and target.pids[-1:] == (1,)
    if target is None or (target.namespaces.pid is None and not is_init):
        raise refused
    depth = len(target.pids) - 1
    deeper = [process for process in everything if len(process.pids) > depth]
    inside = set() if target.namespaces.pid is None else descendants(target.namespaces.pid, deeper)
    members = {process.pid for process in deeper if process.namespaces.pid in inside}
    if is_init:
        members |= _below(pid, deeper)
    numbers = {process.pid: process.pids[depth] for process in deeper if process.pid in members}
    reading = getattr(target, "reading", None) and replace(target.reading, pid_namespace=target.namespaces.pid)
    inner = functools.partial(_renumbered, reading, depth, numbers)
    pairs = [(process, inner(process)) for process in deeper if process.pid in numbers]
    return everything, pairs, hidden


def both_of_box(box: BoxFiles, sources: Sequence[str]) -> tuple[list[Process], list[tuple[Process, Process]], bool]:
    """Do the same for a box whose init the caller does not see (hidepid, proc(5)): init opens a proc of its own.

    Returns:
        All processes as the caller sees them, the pairs (outside, inside), and whether some of those inside are hidden
        from the caller outside.

    Raises:
        OSError: when nsbox-init cannot open a proc, or one of them cannot be read.
    """
    everything, _ = read_here(list({*sources, "pids", "namespaces"}))
    by_pid = {process.pid_outside: process for process in everything}
    inside, _ = read_from(box._open_proc("namespace"), list({*sources, "pids", "namespaces"}))
    pairs = [(by_pid[one.pid_outside], one) for one in inside if one.pid_outside in by_pid]
    return everything, pairs, len(pairs) < len(inside)


def _below(pid: int, processes: Sequence[Process]) -> set[int]:
    """Return a process and its descendants. Those of PID 1 are in its namespace, or in one that was made in it.

    This also finds processes whose namespaces the caller may not know, such as the init of a box (ptrace(2)).
    """
    children: dict[int, list[int]] = {}
    for process in processes:
        children.setdefault(process.ppid, []).append(process.pid)
    found = {pid}
    waiting = [pid]
    while waiting:
        new = [child for child in children.get(waiting.pop(), ()) if child not in found]
        found.update(new)
        waiting.extend(new)
    return found


def _renumbered(reading: Reading | None, depth: int, numbers: dict[int, int], process: Process) -> Process:
    """Return the record with all PIDs translated. A process outside has no PID inside; as in a proc, it becomes 0."""
    values = process._asdict()
    values |= {
        "pid": numbers[process.pid],
        "pids": process.pids[depth:],
        "ppid": numbers.get(process.ppid, 0),
        "pgid": numbers.get(process.pgid, 0),
        "sid": numbers.get(process.sid, 0),
        "tpgid": -1 if process.tpgid < 0 else numbers.get(process.tpgid, 0),
        "threads": tuple(_thread(process.pid, thread, depth) for thread in process.threads),
    }
    if reading:
        values["reading"] = reading
    return Process(**values)


def _thread(pid: int, thread: Thread, depth: int) -> Thread:
    """Return the record of a thread with its id translated; 0 if the thread has ended meanwhile."""
    try:
        tid = pids_of(fields_of(Path(f"/proc/{pid}/task/{thread.tid}/status").read_bytes()))[depth]
    except (OSError, IndexError):
        tid = 0
    return Thread(tid, thread.comm, thread.namespaces)
