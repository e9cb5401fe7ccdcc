"""A process beside the caller that ends what a child leaves behind where no PID namespace does: `Keeper`.

It is a fork of the caller that stays outside of the box, and the parent of the child. It adopts orphans (a subreaper,
prctl(2)), and stays in a mount namespace where /proc shows all of them. It has a pidfd of the caller, and exits with
it. It has no other descriptors of the caller.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import time
from typing import NoReturn

from nsbox import _core
from nsbox.tasks.entry import STACK_SIGNAL, Entry, fork

__all__ = ["start", "write_stack"]

_STACK_SECONDS = 2.0
_END_SECONDS = 5.0


def start(entry: Entry, caller: int, lifeline: int, others: tuple[int, ...]) -> int:
    """Fork the keeper, with all signals blocked, and return its PID: Ctrl-C is for the caller and the child.

    Args:
        entry: The start of the child. The keeper writes the status of the child to its `error`.
        caller: A pidfd of the caller.
        lifeline: A pipe that the caller closes when everything has to end.
        others: Descriptors of the caller that the keeper must not have.
    """
    keeper = fork()
    if keeper == 0:
        _be_keeper(entry, caller, lifeline, others)
    return keeper


def _be_keeper(entry: Entry, caller: int, lifeline: int, others: tuple[int, ...]) -> NoReturn:
    status = 1
    try:
        # Garbage of the caller must not be collected here, as its finalizers would run in this process too.
        gc.freeze()
        for fd in others:
            os.close(fd)
        _core.set_child_subreaper(True)
        entry.others += [caller, lifeline]
        child = entry.fork()
        _close_all_but(entry.error, entry.stack, caller, lifeline, entry.start_writer)
        _watch(entry, child, caller, lifeline)
        status = 0
    except OSError as error:
        where = error.filename or "in the keeper, the parent process of the child"
        _send(entry.error, f"{error.strerror} ({where})")
    finally:
        os._exit(status)


def _watch(entry: Entry, child: int, caller: int, lifeline: int) -> None:
    """Wait until the child exits, then until the caller closes the lifeline; then kill all remaining processes."""
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    for fd in (pidfd, caller, lifeline):
        poll.register(fd, select.POLLIN)
    if pidfd in {fd for fd, _ in poll.poll()}:
        _send(entry.error, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        poll.unregister(pidfd)
        poll.poll()
    else:
        write_stack(pidfd, entry.stack)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    _end_children()


def write_stack(pidfd: int, stack: int) -> None:
    """Have the child write its stacks, and wait until the file is complete."""
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd, STACK_SIGNAL)
    deadline = time.monotonic() + _STACK_SECONDS
    size = 0
    while time.monotonic() < deadline and (size == 0 or size != os.fstat(stack).st_size):
        size = os.fstat(stack).st_size
        time.sleep(0.02)


def _send(fd: int, result: str | int) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, json.dumps(result).encode() + b"\n")


def _end_children() -> None:
    """Kill all children until there are none: the children of a killed one become children of this process."""
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        # As bytes: text could need a codec to be imported, from a directory that this user cannot read.
        with open("/proc/thread-self/children", "rb") as file:
            for pid in map(int, file.read().split()):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _close_all_but(*kept: int) -> None:
    """Close all descriptors of this process but the standard ones and these. Nothing may use the others any more."""
    for name in os.listdir("/proc/thread-self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):  # that of the directory itself
                os.close(int(name))
