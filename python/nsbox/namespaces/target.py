"""Opening the namespaces of a target: a PID, a pidfd, a path, or an object that has one of these."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from nsbox import _core, raw
from nsbox._core import Descriptor
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import ProcessEndedError, SpawnError, SpecError
from nsbox.seeing.target import number_in_proc, pidfd_of
from nsbox.spec.joins import JoinTarget, Pidfd
from nsbox.spec.kinds import KINDS

__all__ = [
    "is_dead_pid_namespace",
    "is_process",
    "of_this_thread",
    "open_directory",
    "open_namespace",
    "open_path_directory",
    "pid_in_proc",
]

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def open_namespace(target: JoinTarget, kind: str | None) -> Descriptor:
    """Open a namespace.

    Raises:
        SpecError: when the target is no process and no namespace, or `kind` is missing.
        SpawnError: when it cannot be opened.
    """
    if isinstance(target, str | bytes | os.PathLike):
        return _open_path(os.fsencode(target))
    if kind is not None and (open_handle := _namespace_method(target)):
        with open_handle(kind) as handle:
            return Descriptor(fcntl.fcntl, handle.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    if (fd := _namespace_fd(target)) is not None:
        return Descriptor(fcntl.fcntl, fd, fcntl.F_DUPFD_CLOEXEC, 3)
    with _process(target) as pidfd:
        if kind is None:
            raise SpecError(f"kind: is needed, as {target!r} is a process with a namespace of each kind")
        return _of_process(pidfd, kind, target)


def is_process(target: JoinTarget) -> bool:
    """Return whether the target is a process, which has a namespace of each kind, and not a single namespace."""
    if isinstance(target, str | bytes | os.PathLike):
        return False
    return _namespace_method(target) is not None or _namespace_fd(target) is None


def open_path_directory(path: str | bytes | os.PathLike[str]) -> Descriptor:
    """Open a directory.

    Raises:
        SpawnError: when it cannot be opened.
    """
    try:
        return Descriptor(os.open, path, _DIRECTORY)
    except OSError as error:
        _refuse(error, _core.Call("open", path=os.fsdecode(path)), path)


def open_directory(target: JoinTarget, which: str) -> Descriptor:
    """Open the ``root`` or the ``cwd`` of a process (proc_pid_root(5), proc_pid_cwd(5)).

    Raises:
        SpecError: when the target is no process.
        SpawnError: when it cannot be opened.
    """
    with _process(target) as pidfd:
        path = f"/proc/{pid_in_proc(pidfd, target)}/{which}"
        try:
            return _still_alive(Descriptor(os.open, path, _DIRECTORY), pidfd)
        except OSError as error:
            _refuse(error, _core.Call("open", path=path), target)


def of_this_thread(kind: str) -> tuple[int, int] | None:
    """Return device and inode of a namespace of the calling thread; None where they cannot be read."""
    try:
        status = os.stat(f"/proc/thread-self/ns/{KINDS[kind].link}")
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_dead_pid_namespace(fd: int) -> bool:
    """Return whether PID 1 of a PID namespace has ended; False before Linux 6.11, and outside of the caller's own."""
    try:
        # Only those below the caller's own have a parent that it may know.
        Descriptor(fcntl.ioctl, fd, raw.NS_GET_PARENT).close()
        raw.ns_get_pid_from_pidns(fd, 1)
    except OSError as error:
        return error.errno == errno.ESRCH
    return False


def _namespace_method(target: JoinTarget) -> Callable[[str], Any] | None:
    """Return the method by which the target, such as a box, opens a new handle of a namespace; None without one."""
    method = getattr(target, "namespace", None)
    return method if callable(method) else None


def _namespace_fd(target: JoinTarget) -> int | None:
    """Return the descriptor of the open namespace that the target is; None if it is a process."""
    if isinstance(target, Pidfd) or not callable(method := getattr(target, "fileno", None)):
        return None
    fd = int(method())
    try:
        raw.ns_get_nstype(fd)
    except OSError:
        return None
    return fd


@contextlib.contextmanager
def _process(target: Any) -> Iterator[int]:
    """Yield a pidfd of a process, open during the block."""
    pid = target if isinstance(target, int) else getattr(target, "pid", getattr(target, "pidfd", None))
    if not isinstance(target, Pidfd) and (isinstance(pid, bool) or not isinstance(pid, int)):
        raise SpecError(f"target: {target!r} is neither a process nor a namespace")
    with contextlib.ExitStack() as kept:
        try:
            pidfd = kept.enter_context(pidfd_of(target, "target"))
        except OSError as error:
            if isinstance(error, ProcessEndedError) or error.filename is not None:
                raise
            _refuse(error, _core.Call("pidfd_open", pid=pid), target)
        yield pidfd


def _of_process(pidfd: int, kind: str, target: JoinTarget) -> Descriptor:
    try:
        return Descriptor(fcntl.ioctl, pidfd, raw.PIDFD_NAMESPACES[kind])
    except OSError as error:
        # ENOTTY, and EINVAL from a pidfd that knows other requests: a kernel before 6.11.
        if error.errno not in (errno.ENOTTY, errno.EINVAL):
            _refuse(error, _core.Call("ioctl", op=(f"PIDFD_GET_{KINDS[kind].link.upper()}_NAMESPACE",)), target)
    path = f"/proc/{pid_in_proc(pidfd, target)}/ns/{KINDS[kind].link}"
    try:
        return _still_alive(Descriptor(os.open, path, os.O_RDONLY | os.O_CLOEXEC), pidfd)
    except OSError as error:
        _refuse(error, _core.Call("open", path=path), target)


def pid_in_proc(pidfd: int, target: JoinTarget) -> int:
    """Return the PID of a process in /proc, which may show another PID namespace (proc_pid_fdinfo(5)).

    Raises:
        SpecError: when the target is no process.
        SpawnError: when it has ended, or is not in the PID namespace of that /proc.
    """
    try:
        pid = number_in_proc(pidfd)
    except (OSError, ValueError) as error:
        raise SpecError(f"target: {target!r} is no process that /proc shows") from error
    if pid <= 0:
        call = _core.Call("read", path=f"/proc/thread-self/fdinfo/{pidfd}")
        _refuse(ProcessLookupError(errno.ESRCH, ""), call, target)
    return pid


def _still_alive(fd: Descriptor, pidfd: int) -> Descriptor:
    """Return the descriptor if the process has not ended: else its PID may have been given to another process."""
    if select.select([pidfd], [], [], 0)[0]:
        fd.close()
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return fd


def _open_path(path: bytes) -> Descriptor:
    try:
        fd = Descriptor(os.open, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            _refuse(error, _core.Call("open", path=os.fsdecode(path)), path)
        raise SpecError(f"target: {path!r} is no path") from error
    try:
        raw.ns_get_nstype(fd.fileno())
    except OSError:
        fd.close()
        raise SpecError(f"target: {os.fsdecode(path)} is no namespace") from None
    return fd


def _refuse(error: OSError, call: _core.Call, target: JoinTarget) -> NoReturn:
    failure: SpawnError = spawn_error(
        error.errno or 0,
        "open target",
        "caller",
        [call],
        f"the target is {_named(target)}",
    )
    raise failure from None


def _named(target: JoinTarget) -> str:
    """Return the words for a target in an error: of a bare pidfd, the process behind it."""
    if isinstance(target, Pidfd):
        with contextlib.suppress(OSError, ValueError):
            if (pid := number_in_proc(target.fd)) > 0:
                return f"process {pid}"
    return os.fsdecode(target) if isinstance(target, bytes) else repr(target)
