"""One process, several numbers: from one PID namespace to another (pid_namespaces(7))."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from nsbox import raw
from nsbox.errors import SpecError
from nsbox.namespaces.handle import Namespace
from nsbox.records.status import fields_of, pids_of
from nsbox.spec.joins import Target

__all__ = ["translate_pid"]

# What a kernel before 6.11 answers to the requests it does not know.
_UNKNOWN = (errno.ENOTTY, errno.EINVAL)


def translate_pid(pid: int, from_: Target | None = None, to: Target | None = None) -> int:
    """Return the number that a process has in another PID namespace.

    ``translate_pid(1, box)`` is what the caller calls PID 1 of a box, ``translate_pid(os.getpid(), to=box)`` fails, as
    the caller is not in there. The kernel is asked (ioctl_nsfs(2), Linux 6.11), and before that its /proc.

    Args:
        pid: The number of a process or thread in the first namespace.
        from_: The PID namespace in which that is its number: of a process, or itself, in the forms of `Join`; None for
            the caller's own.
        to: The PID namespace whose number is wanted; None for the caller's own.

    Raises:
        ProcessLookupError: when there is no such process in the one, or it is not in the other; a process is in its own
            PID namespace and in all that this one is nested in.
        SpecError: for arguments that make no sense.
        SpawnError: when a namespace cannot be opened.
    """
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        raise SpecError(f"pid: expected a positive number, got {pid!r}")
    with _opened("from_", from_) as source, _opened("to", to) as destination:
        ours = pid if source is None else _ask(raw.ns_get_pid_from_pidns, _from_proc, source, pid)
        if destination is None:
            return ours
        with _held(ours) as check:
            translated = _ask(raw.ns_get_pid_in_pidns, _to_proc, destination, ours)
            check()
        return translated


@contextlib.contextmanager
def _opened(argument: str, target: Target | None) -> Iterator[Namespace | None]:
    """The PID namespace that is meant, open meanwhile; None for the caller's own."""
    if target is None:
        yield None
        return
    try:
        namespace = Namespace.of(target, "pid")
    except SpecError as error:
        raise SpecError(f"{argument}: {error}") from None
    with namespace:
        yield namespace


@contextlib.contextmanager
def _held(pid: int) -> Iterator[Callable[[], None]]:
    """Keep an eye on a process between two questions: its number may become another's meanwhile."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise _nobody(pid) from None
        pidfd = os.pidfd_open(pid, os.O_EXCL)  # PIDFD_THREAD: it is no process, but a thread of one
    try:

        def check() -> None:
            fields = Path(f"/proc/self/fdinfo/{pidfd}").read_text().split("Pid:", 1)[-1].split()
            if fields and fields[0] == "-1":
                raise _nobody(pid)

        yield check
    finally:
        os.close(pidfd)


def _ask(
    kernel: Callable[[int, int], int], proc: Callable[[Namespace, int], int | None], namespace: Namespace, pid: int
) -> int:
    try:
        return kernel(namespace.fileno(), pid)
    except OSError as error:
        if error.errno in _UNKNOWN and (found := proc(namespace, pid)) is not None:
            return found
        if error.errno not in (*_UNKNOWN, errno.ESRCH):
            raise
    raise _nobody(pid, namespace)


def _nobody(pid: int, namespace: Namespace | None = None) -> ProcessLookupError:
    where = f" in PID namespace {namespace.id}, or it is in another one only" if namespace else ""
    return ProcessLookupError(errno.ESRCH, f"there is no process {pid}{where}")


def _from_proc(namespace: Namespace, pid: int) -> int | None:
    """Look for it in all of /proc, whose numbers are the caller's."""
    depth = _depth(namespace)
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            numbers = _numbers(int(name))
            if depth is not None and len(numbers) > depth and numbers[depth] == pid and _is_in(int(name), namespace):
                return int(name)
    return None


def _to_proc(namespace: Namespace, pid: int) -> int | None:
    """Look into its status."""
    depth = _depth(namespace)
    with contextlib.suppress(OSError):
        numbers = _numbers(pid)
        if depth is not None and len(numbers) > depth and _is_in(pid, namespace):
            return numbers[depth]
    return None


def _numbers(pid: int) -> list[int]:
    """The numbers of a process, the caller's own first (proc_pid_status(5), NSpid)."""
    return pids_of(fields_of(Path(f"/proc/{pid}/status").read_bytes()))


def _line(namespace: Namespace) -> Iterator[tuple[int, int]]:
    """The identities of a PID namespace and of those it is nested in, up to the caller's own."""
    with Namespace.of(os.getpid(), "pid") as own, contextlib.ExitStack() as stack:
        while True:
            yield namespace.identity
            if namespace == own:
                return
            namespace = stack.enter_context(namespace.parent)


def _depth(namespace: Namespace) -> int | None:
    """How far below the caller's own a namespace is; None if it is not."""
    try:
        return sum(1 for _ in _line(namespace)) - 1
    except OSError:
        return None


def _is_in(pid: int, namespace: Namespace) -> bool:
    with Namespace.of(pid, "pid") as own:
        return namespace.identity in _line(own)
