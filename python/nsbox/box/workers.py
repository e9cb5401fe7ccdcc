"""Which processes in boxes belong to nsbox itself: `belongs_to_worker`."""

from __future__ import annotations

from nsbox.records.processes import Process
from nsbox.remote.idle import ask_idle_worker, idle_workers
from nsbox.seeing.leftovers import is_helper
from nsbox.start.stdlib_hooks import multiprocessing_helpers

__all__ = ["belongs_to_worker"]


def belongs_to_worker(process: Process) -> bool:
    """Return whether a process is a worker of `nsbox.Box.call` that waits for the next call, or a helper of one.

    A helper is the resource tracker or the fork server of Python's multiprocessing, which ends with the worker. The
    worker is asked for their PIDs: a process that only calls itself one is none.
    """
    workers = idle_workers()
    if process.pid in workers:
        return True
    if process.ppid not in workers or not is_helper(process):
        return False
    helpers = ask_idle_worker(process.ppid, multiprocessing_helpers)
    # What a worker replies is data of the functions that it has run. A PID there is that of its own namespace.
    return isinstance(helpers, set) and process.pids[-1] in helpers
