"""The PIDs of one process in several PID namespaces (pid_namespaces(7))."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from nsbox import _core, raw
from nsbox.errors import ProcessEndedError, SpecError
from nsbox.namespaces.handle import Namespace
from nsbox.records.status import fields_of, pids_of
from nsbox.spec.joins import JoinTarget

__all__ = ["translate_pid"]

# The errors of a kernel before 6.11 for requests that it does not know.
_UNKNOWN_REQUEST = (errno.ENOTTY, errno.EINVAL)


def translate_pid(pid: int, from_: JoinTarget | None = None, to: JoinTarget | None = None) -> int:
    """Return the PID that a process has in another PID namespace.

    ``translate_pid(1, box)`` is the PID by which the caller knows PID 1 of a box. ``translate_pid(os.getpid(),
    to=box)`` fails, as the caller is not in the box. The kernel translates (ioctl_nsfs(2), Linux 6.11); before Linux
    6.11 the PIDs are read in /proc.

    Args:
        pid: The PID of a process, or the id of a thread, in the first namespace.
        from_: The PID namespace of that PID: the namespace itself or a process in it, in the forms of `Join`; None for
            the caller's own.
        to: The PID namespace in which the PID is wanted; None for the caller's own.

    Raises:
        ProcessLookupError: when no such process is in the first namespace, or it is not in the second. A process is in
            its own PID namespace, and in all those in which that one is nested.
        SpecError: for arguments that make no sense.
        SpawnError: when a namespace cannot be opened.
    """
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        raise SpecError(f"pid: expected a positive number, got {pid!r}")
    with _opened("from_", from_) as source, _opened("to", to) as destination:
        ours = pid if source is None else _translate(raw.ns_get_pid_from_pidns, _from_proc, source, pid)
        if destination is None:
            return ours
        with _watched(ours) as check:
            translated = _translate(raw.ns_get_pid_in_pidns, _to_proc, destination, ours)
            check()
        return translated


@contextlib.contextmanager
def _opened(argument: str, target: JoinTarget | None) -> Iterator[Namespace | None]:
    """Open a PID namespace, and close it at the end of the block; None for the caller's own."""
    if target is None:
        yield None
        return
    try:
        namespace = Namespace.of(target, "pid")
    except ProcessEndedError as error:
        raise ProcessEndedError(errno.ESRCH, f"{argument}: {error}") from None
    except SpecError as error:
        raise SpecError(f"{argument}: {error}") from None
    with namespace:
        yield namespace


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[Callable[[], None]]:
    """Yield a function that raises if the process has ended: between two requests its PID may be given to another."""
    try:
        opened = _core.Descriptor(os.pidfd_open, pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise _no_process(pid) from None
        # PIDFD_THREAD: the id of a thread that is not the first of its process.
        opened = _core.Descriptor(os.pidfd_open, pid, os.O_EXCL)
    with opened:

        def check() -> None:
            fields = Path(f"/proc/thread-self/fdinfo/{opened.fileno()}").read_text().split("Pid:", 1)[-1].split()
            if fields and fields[0] == "-1":
                raise _no_process(pid)

        yield check


def _translate(
    kernel: Callable[[int, int], int], proc: Callable[[Namespace, int], int | None], namespace: Namespace, pid: int
) -> int:
    try:
        return kernel(namespace.fileno(), pid)
    except OSError as error:
        if error.errno in _UNKNOWN_REQUEST and (found := proc(namespace, pid)) is not None:
            return found
        if error.errno not in (*_UNKNOWN_REQUEST, errno.ESRCH):
            raise
    raise _no_process(pid, namespace)


def _no_process(pid: int, namespace: Namespace | None = None) -> ProcessLookupError:
    where = f" in PID namespace {namespace.id}, or it is in another one only" if namespace else ""
    return ProcessLookupError(errno.ESRCH, f"there is no process {pid}{where}")


def _from_proc(namespace: Namespace, pid: int) -> int | None:
    """Look for the process in all of /proc, which has the PIDs of the caller's namespace."""
    depth = _depth(namespace)
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            pids = _pids(int(name))
            if depth is not None and len(pids) > depth and pids[depth] == pid and _is_in(int(name), namespace):
                return int(name)
    return None


def _to_proc(namespace: Namespace, pid: int) -> int | None:
    """Read the PID in the process's status."""
    depth = _depth(namespace)
    with contextlib.suppress(OSError):
        pids = _pids(pid)
        if depth is not None and len(pids) > depth and _is_in(pid, namespace):
            return pids[depth]
    return None


def _pids(pid: int) -> list[int]:
    """Return the PIDs of a process, that of the caller's namespace first (proc_pid_status(5), NSpid)."""
    return pids_of(fields_of(Path(f"/proc/{pid}/status").read_bytes()))


def _ancestry(namespace: Namespace) -> Iterator[tuple[int, int]]:
    """Yield the identities of a PID namespace and of those in which it is nested, up to the caller's own."""
    with Namespace.of(os.getpid(), "pid") as own, contextlib.ExitStack() as stack:
        while True:
            yield namespace.identity
            if namespace == own:
                return
            namespace = stack.enter_context(namespace.parent)


def _depth(namespace: Namespace) -> int | None:
    """Return how many levels below the caller's own a namespace is; None if it is not below it."""
    try:
        return sum(1 for _ in _ancestry(namespace)) - 1
    except OSError:
        return None


def _is_in(pid: int, namespace: Namespace) -> bool:
    with Namespace.of(pid, "pid") as own:
        return namespace.identity in _ancestry(own)
