"""Which process is meant by "a PID, or anything that has one".

A number alone is a PID of the caller's PID namespace, as for kill(2). The caller's /proc may show another one, and a
record has the PIDs of the proc from which it was read. So everything that takes a process asks here: the answer is the
PID of the same process in the caller's /proc, or a pidfd, or an error that says why there is none.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, Protocol, TypeAlias, TypeVar

from nsbox.errors import ProcessEndedError, SpecError
from nsbox.records.namespaces import NamespaceRecord
from nsbox.records.processes import CLASSES, Process, Reading
from nsbox.records.status import fields_of, pids_of
from nsbox.records.tree import Node
from nsbox.spec.joins import Pidfd

if TYPE_CHECKING:
    from nsbox import _core

__all__ = [
    "Target",
    "descendants",
    "names_ended",
    "number_in_proc",
    "own_number_in_proc",
    "pid_of",
    "pidfd_of",
    "with_outside",
]


_P = ParamSpec("_P")
_T = TypeVar("_T")

_GONE = (errno.ENOENT, errno.ESRCH, errno.EINVAL, errno.EPERM, errno.EACCES)
"""The errors that files of a process give when it has ended. A zombie gives the last three: it has no mount namespace,
and no memory whose owner could be asked (ptrace(2))."""


class _HasPid(Protocol):
    @property
    def pid(self) -> int | None: ...


Target: TypeAlias = "int | Pidfd | _HasPid"
"""A process: its PID as the caller sees it, or anything that has one, such as a `Shell`, `Popen`, `Process` or `Box`.
The process of a box is its nsbox-init. A record knows of which PID namespace its PID is."""


def pid_of(target: Target, argument: str) -> int:
    """Return the PID that a process has in the caller's /proc.

    Args:
        target: The process.
        argument: The name of the argument, for errors.

    Raises:
        SpecError: when the target is no process, or one that the caller cannot find.
        ProcessEndedError: when it has ended.
    """
    if isinstance(target, Node) and target.thread is not None:
        return _thread_of(target, argument)
    if (record := _record_of(target)) is not None:
        return _found(record, argument).pid
    if (pidfd := _pidfd_in(target, argument)) is not None:
        return _shown(pidfd, target, argument)
    pid = _number_of(target, argument)
    try:
        _, _, is_callers = _proc().numbers_of()
    except OSError:
        # No /proc: what reads it says so.
        return pid
    if not is_callers:
        return _number_in_other_proc(pid, target, argument)
    if not _exists(pid):
        raise _none(pid, argument)
    return pid


def names_ended(*arguments: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Make a reader raise `ProcessEndedError` with the reason where it did not find the files of a process.

    The traceback ends in the reader: the lines of nsbox below it say nothing about why.

    Args:
        *arguments: The names of the arguments that are processes; the first one may be positional.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def read(*args: _P.args, **keywords: _P.kwargs) -> _T:
            try:
                return function(*args, **keywords)
            except OSError as error:
                ended = error if isinstance(error, ProcessEndedError) else None
                if ended is None and error.errno in _GONE:
                    given: dict[str, Any] = dict(zip(arguments, args, strict=False)) | keywords
                    if given.get("of") is not None or given.get("proc") is not None:
                        given.pop("root", None)  # a number is a PID in the proc that was read
                    ended = next(filter(None, (_why_ended(given.get(one), one) for one in arguments)), None)
                if ended is None:
                    raise
                found = ended.with_traceback(None)
            raise found

        return read

    return decorate


def _why_ended(target: Target | None, argument: str) -> ProcessEndedError | None:
    """Return that a process has ended, or is a zombie; None if it lives, or is none."""
    if target is None:
        return None
    try:
        pid = pid_of(target, argument)
        found = _read_one(pid)
    except ProcessEndedError as error:
        return error
    except (OSError, SpecError):
        return None
    if found is None:
        return _none(pid, argument)
    if found.state in "ZX":
        text = f"{argument}: process {pid} has ended; it is a zombie until its parent waits for it (wait(2))"
        return ProcessEndedError(errno.ESRCH, text)
    return None


@contextlib.contextmanager
def pidfd_of(target: Target, argument: str) -> Iterator[int]:
    """Yield a pidfd of a process, open during the block (pidfd_open(2)).

    Raises:
        SpecError: when the target is no process, or one that the caller cannot find.
        ProcessEndedError: when it has ended.
        OSError: when it cannot be opened.
    """
    if isinstance(target, Node) and target.thread is not None:
        raise SpecError(f"{argument}: {target!r} is a thread, and not a process")
    record = _record_of(target)
    if record is None:
        if (pidfd := _pidfd_in(target, argument)) is not None:
            yield pidfd
            return
        with _opened(_number_of(target, argument)) as opened:
            yield opened.fileno()
        return
    number = _found(record, argument).pid_outside
    if number is None:
        raise SpecError(f"{argument}: {record!r} is not in the caller's PID namespace, so it cannot be opened")
    with _opened(number) as opened:
        # In between its PID may have been given to another process.
        if not _is_same(record, _read_one(_shown(opened.fileno(), target, argument))):
            raise _ended(record, argument)
        yield opened.fileno()


def number_in_proc(pidfd: int) -> int:
    """Return the PID of a process in the caller's /proc (proc_pid_fdinfo(5)).

    Returns:
        The PID; 0 if that /proc does not show the process, -1 if it has ended.

    Raises:
        OSError: when that /proc does not show the caller.
        ValueError: when the descriptor is no pidfd.
    """
    with open(f"/proc/thread-self/fdinfo/{pidfd}") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    if "Pid" not in fields:
        raise ValueError(f"descriptor {pidfd} is no pidfd")
    return int(fields["Pid"])


def with_outside(processes: list[Process]) -> list[Process]:
    """Add the PIDs outside to what was read in another PID namespace, where the kernel has not told them.

    Before Linux 6.11 it does not translate PIDs (ioctl_nsfs(2)), but the caller's /proc has all PIDs of a process.
    """
    reading = next((one.reading for one in processes), None)
    if reading is None or reading.pid_namespace in (None, reading.outside):
        return processes
    if any(one.pid_outside is not None for one in processes):
        return processes
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    try:
        found = _inner(_core.read_processes(_proc(), CLASSES, ["pids", "namespaces"])[0], reading.pid_namespace)
    except OSError:
        return processes
    # With the start time: PIDs are used again.
    outside = {(number, one.start_ticks): one.pid_outside for number, one in found}
    known = [outside.get((one.pid, one.start_ticks)) for one in processes]
    return [Process(**one._asdict() | {"pid_outside": pid}) for one, pid in zip(processes, known, strict=True)]


def _inner(everything: Sequence[Process], namespace: int) -> list[tuple[int, Process]]:
    """Return the processes that are in a PID namespace, or further in, each with its PID there."""
    member = next((one for one in everything if one.namespaces.pid == namespace), None)
    if member is None:
        return []
    depth = len(member.pids) - 1
    deeper = [one for one in everything if len(one.pids) > depth]
    inside = descendants(namespace, deeper)
    return [(one.pids[depth], one) for one in deeper if one.namespaces.pid in inside]


def own_number_in_proc() -> int:
    """Return the PID of the caller in its /proc, which may show another PID namespace; without a /proc its own PID."""
    try:
        return int(os.readlink("/proc/self"))
    except OSError:
        return os.getpid()


def descendants(namespace: int, processes: Iterable[Process]) -> set[int]:
    """Return a PID namespace, and those that were made in it and have processes among these of the caller's /proc."""
    members = {process.namespaces.pid: process.pid for process in processes if process.namespaces.pid is not None}
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    relations = _core.namespace_relations(_proc(), [(id_, pid, b"ns/pid") for id_, pid in members.items()])
    parents = {relation.id: relation.parent for relation in relations if relation.kind == "pid"}
    found = {namespace}
    for id_ in members:
        path: list[int] = []
        above: int | None = id_
        while above is not None and above not in found:
            path.append(above)
            above = parents.get(above)
        if above is not None:
            found.update(path)
    return found


# What has a PID


class _Record(Protocol):
    """What identifies the process of a record."""

    @property
    def pid(self) -> int | None: ...
    @property
    def pid_outside(self) -> int | None: ...
    @property
    def start_ticks(self) -> int | None: ...
    @property
    def reading(self) -> Reading | None: ...


def _record_of(target: object) -> _Record | None:
    """Return the record by which a target identifies a process; None if it is no record."""
    if isinstance(process := getattr(target, "process", None), Process):
        return process
    return target if isinstance(target, Process | NamespaceRecord) else None


def _pidfd_in(target: Any, argument: str) -> int | None:
    """Return the pidfd that a target has, which stays its own; None without one."""
    fd = target.fd if isinstance(target, Pidfd) else getattr(target, "pidfd", None)
    if fd is None and (popen := getattr(target, "popen", None)) is not None:
        fd = getattr(popen, "pidfd", None)
    if not isinstance(fd, int) or isinstance(fd, bool):
        return None
    if fd < 0:
        raise _ended(target, argument)
    return fd


def _number_of(target: Any, argument: str) -> int:
    """Return the PID that a target has, which is one of the caller's PID namespace."""
    pid = target if isinstance(target, int) else getattr(target, "pid", None)
    # The range of the kernel's pid_t.
    if isinstance(pid, bool) or not isinstance(pid, int) or not 0 < pid < 1 << 31:
        raise SpecError(f"{argument}: expected a PID or something with a pid, got {target!r}")
    if isinstance(target, int):
        return pid
    if getattr(target, "returncode", None) is not None or _exit_code(target, argument) is not None:
        raise _ended(target, argument)
    if type(target).__module__.partition(".")[0] == "nsbox":
        raise SpecError(
            f"{argument}: {target!r} is no process: its pid was seen by a program inside. Use the shell or the box, or "
            f"a row of its ps()"
        )
    if callable(is_running := getattr(target, "is_running", None)):
        # psutil: it compares start times, and looks into /proc alone.
        if not is_running():
            raise _ended(target, argument)
        namespace, caller, is_callers = _proc().numbers_of()
        if not is_callers:
            raise SpecError(
                f"{argument}: {target!r} has a PID of {_named(namespace)}, which /proc shows, and not of yours, "
                f"{_named(caller)}. Use a row of nsbox.ps()"
            )
    return pid


def _exit_code(target: Any, argument: str) -> object:
    """Return the exit status of a `multiprocessing.Process`; None while it runs, and for other targets."""
    try:
        return getattr(target, "exitcode", None)
    except AssertionError:
        raise SpecError(
            f"{argument}: {target!r} is no child of this process, which cannot know whether its PID is still its own"
        ) from None


# Finding it


def _proc() -> _core.Proc:
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    return _core.open_proc(b"/proc")


def _opened(pid: int) -> _core.Descriptor:
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    try:
        return _core.Descriptor(os.pidfd_open, pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise
        # PIDFD_THREAD: the id of a thread that is not the first of its process (Linux 6.9).
        with contextlib.suppress(OSError):
            return _core.Descriptor(os.pidfd_open, pid, os.O_EXCL)
        raise


def _number_in_other_proc(pid: int, target: Target, argument: str) -> int:
    try:
        opened = _opened(pid)
    except ProcessLookupError:
        namespace, caller, _ = _proc().numbers_of()
        raise ProcessEndedError(
            errno.ESRCH,
            f"{argument}: no process has the PID {pid} in your PID namespace, {_named(caller)}. A PID of "
            f"{_named(namespace)}, which /proc shows, has to be given as a row of nsbox.ps(); nsbox ps -o pid,outside "
            "shows both",
        ) from None
    with opened:
        return _shown(opened.fileno(), target, argument)


def _shown(pidfd: int, target: object, argument: str) -> int:
    """Return the PID of an open process in the caller's /proc."""
    try:
        number = number_in_proc(pidfd)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError):
            raise SpecError(f"{argument}: {target!r} is no process") from None
        number = 0
    if number < 0:
        raise _ended(target, argument)
    if number == 0:
        namespace, caller, _ = _proc().numbers_of()
        raise SpecError(
            f"{argument}: {target!r} is not shown by /proc, which is of {_named(namespace)}; yours is "
            f"{_named(caller)}. Mount a proc of yours: mount -t proc proc /proc"
        )
    return number


def _found(record: _Record, argument: str) -> Process:
    """Read the process of a record again, in the caller's /proc."""
    # A record that was made by hand, or by an older nsbox, has no reading.
    reading, pid = getattr(record, "reading", None), record.pid
    if pid is None:
        raise SpecError(f"{argument}: {record!r} has no process")
    if reading is None:
        raise SpecError(
            f"{argument}: it is not known of which PID namespace the PID of {record!r} is. Use a row of nsbox.ps()"
        )
    if reading.received:
        raise SpecError(
            f"{argument}: {record!r} was sent by a program in a box, which may have made it up. Look for the process "
            f"yourself: box.ps().find({pid})"
        )
    if _is_of_another_boot(reading):
        raise SpecError(
            f"{argument}: {record!r} was read on another machine, or before this one was booted: its PID means nothing "
            "here"
        )
    proc = _proc()
    namespace, caller, is_callers = proc.numbers_of()

    def own(number: int) -> int:
        return number if is_callers else _number_in_other_proc(number, number, argument)

    # The record's PID in a PID namespace, the one that is easier to use first.
    ids = [(reading.pid_namespace, pid), (reading.outside, record.pid_outside)]
    known = [(id_, number) for id_, number in ids if id_ is not None and number is not None]
    try:
        if number := next((number for id_, number in known if id_ == namespace), None):
            shown: int | None = number
        elif number := next((number for id_, number in known if id_ == caller), None):
            shown = own(number)
        else:
            shown = _searched(proc, known, record, caller, argument)
    except ProcessLookupError:
        raise _ended(record, argument) from None
    now = None if shown is None else _read_one(shown)
    if now is None and reading.outside == caller and record.pid_outside is not None and _exists(record.pid_outside):
        # It, or a later process with this PID.
        raise _hidden(record.pid_outside)
    if not _is_same(record, now):
        raise _ended(record, argument)
    assert now is not None
    return now


def _searched(
    proc: _core.Proc, known: list[tuple[int, int]], record: _Record, caller: int | None, argument: str
) -> int | None:
    """Look for a process by its PID in a PID namespace that is nested in that of the caller's /proc."""
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    everything, _ = _core.read_processes(proc, CLASSES, ["pids", "namespaces"])
    for namespace, number in known:
        if found := _inner(everything, namespace):
            return next((one.pid for pid, one in found if pid == number), None)
    _refuse_foreign(record, caller, argument)


def _refuse_foreign(record: _Record, caller: int | None, argument: str) -> NoReturn:
    reading = record.reading
    assert reading is not None
    raise SpecError(
        f"{argument}: PID {record.pid} is of {_named(reading.pid_namespace)}, not of yours, {_named(caller)}, and none "
        "of your processes shows what it is there. Use the box or the shell itself, or the attribute pid_outside of a "
        "row of its ps()"
    )


def _read_one(pid: int) -> Process | None:
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    found, hidden = _core.read_processes(_proc(), CLASSES, [], pids=[pid])
    if hidden:
        raise _hidden(pid)
    return next(iter(found), None)


def _exists(pid: int) -> bool:
    try:
        _opened(pid).close()
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


def _is_same(record: _Record, now: Process | None) -> bool:
    """Return whether a process is the one of the record: a later process with the same PID has started later."""
    if now is None or record.start_ticks is None:
        return False
    assert record.reading is not None
    assert now.reading is not None
    before, after = record.reading.boottime_offset, now.reading.boottime_offset
    if before is None or after is None or before == after:
        return record.start_ticks == now.start_ticks
    # Start times are rounded down to ticks after the offset was added.
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return abs((record.start_ticks - now.start_ticks) * tick - (before - after)) < tick


def _is_of_another_boot(reading: Reading) -> bool:
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    here = _core.boot_id()
    return None not in (here, reading.boot_id) and here != reading.boot_id


def _thread_of(node: Node, argument: str) -> int:
    """Return the id of a thread in the caller's /proc."""
    assert node.process is not None
    assert node.thread is not None
    now = _found(node.process, argument)
    if now.pid == node.process.pid and now.reading == node.process.reading:
        return node.thread.tid
    with contextlib.suppress(OSError):
        for tid in os.listdir(f"/proc/{now.pid}/task"):
            with open(f"/proc/{now.pid}/task/{tid}/status", "rb") as status:
                numbers = pids_of(fields_of(status.read()))
            if numbers[-len(node.process.pids)] == node.thread.tid:
                return int(tid)
    raise _ended(node, argument)


def _hidden(pid: int) -> PermissionError:
    return PermissionError(errno.EPERM, "the process is hidden from you (hidepid, proc(5))", f"/proc/{pid}")


def _ended(target: object, argument: str) -> ProcessEndedError:
    is_record = isinstance(target, Process | Node | NamespaceRecord)
    pid = None if is_record else target if isinstance(target, int) else getattr(target, "pid", None)
    which = repr(target) if pid is None else f"process {pid}"
    return ProcessEndedError(errno.ESRCH, f"{argument}: {which} has ended{'' if is_record else _how(target)}")


def _how(target: object) -> str:
    """Return how a process has ended, as far as its handle knows it."""
    # A shell asks the kernel only when it is asked itself.
    with contextlib.suppress(OSError):
        getattr(target, "alive", None)
    status = getattr(target, "returncode", getattr(target, "_returncode", None))
    if type(status) is not int:
        return ""
    if status >= 0:
        return f" with exit status {status}"
    try:
        return f", killed by {signal.Signals(-status).name}"
    except ValueError:
        return f", killed by signal {-status}"


def _none(pid: int, argument: str) -> ProcessEndedError:
    return ProcessEndedError(
        errno.ESRCH,
        f"{argument}: no process has the PID {pid}: it has ended, or the number is one of another PID namespace. Use "
        "the handle of the process, or a row of nsbox.ps()",
    )


def _named(namespace: int | None) -> str:
    return "an unknown PID namespace" if namespace is None else f"PID namespace {namespace}"
