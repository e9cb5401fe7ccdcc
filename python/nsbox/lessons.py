"""Lessons about PID and IPC namespaces, carried out in a box (pid_namespaces(7), ipc_namespaces(7)).

Each lesson is a function of a `Box`. It returns a record, whose `str()` is the explanation with the values of this run.
A notebook shows that text.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO

from nsbox import _core
from nsbox.box.box import Box
from nsbox.errors import SpawnError, SpecError
from nsbox.seeing.processes import ps
from nsbox.views import mime

__all__ = [
    "Adoption",
    "Exhaustion",
    "Reuse",
    "SharedMemory",
    "SignalsToInit",
    "adopt",
    "exhaust_pids",
    "reuse_a_pid",
    "share_memory",
    "signal_init",
]

_MAX_PID_MAX = 5000
"""A lesson that uses more PIDs would take too much of the machine."""
_SLEEP = ["sleep", "1000"]
# After the numbers have been handed out once, the kernel begins again here (kernel/pid.c, RESERVED_PIDS).
FIRST_REUSED_PID = 300
_SHARED_MEMORY = "/dev/shm"


@dataclass(frozen=True, slots=True)
class Exhaustion(mime.Text):
    """All PIDs of a namespace in use.

    Attributes:
        pid_max: The limit (proc_sys_kernel(5)).
        started: How many processes could be started.
        highest: The highest PID any of them had.
        errno: The errno with which the next start failed (errno(3)).
        freed: The PID of a process that was then ended.
        next: The PID of the process that was started after that.
        limit: ``"pid_max"``; or, when PIDs were still free, the other limit that was reached before, in words:
            RLIMIT_NPROC (getrlimit(2)), or pids.max of a cgroup, which is TasksMax= in systemd.
    """

    pid_max: int
    started: int
    highest: int
    errno: int
    freed: int
    next: int
    limit: str = "pid_max"

    def __str__(self) -> str:
        """Return the explanation."""
        name = errno.errorcode.get(self.errno, str(self.errno))
        if self.limit != "pid_max":
            again = (
                "the same: PIDs had been given out up to pid_max before"
                if self.next == self.freed
                else "another: the kernel goes on upwards, as long as it has not reached pid_max"
            )
            return (
                f"{self.started} processes were started, up to PID {self.highest}. The next start failed with {name}.\n"
                f"PIDs were still free, as pid_max is {self.pid_max}. Another limit was reached before: {self.limit}.\n"
                f"Then process {self.freed} was ended; the next process got PID {self.next}, {again}.\n"
                "The same happens where all PIDs are in use: no process can be started until one has ended."
            )
        return (
            f"{self.started} processes were started, up to PID {self.highest}: pid_max is {self.pid_max}.\n"
            f"The next start failed with {name}: no PID was free.\n"
            f"Then process {self.freed} was ended; the next process got PID {self.next}.\n"
            "PIDs are used again: a PID that was remembered can belong to another process later."
        )


@dataclass(frozen=True, slots=True)
class Reuse(mime.Text):
    """Two processes that had the same PID, one after the other.

    Attributes:
        pid: The PID.
        between: How many other processes were started before the second process got it.
        by_number: Which process a signal to the PID ended: ``"the second"``.
        by_pidfd: The result of a signal through a pidfd of the first process: the name of an errno.
    """

    pid: int
    between: int
    by_number: str
    by_pidfd: str

    def __str__(self) -> str:
        """Return the explanation."""
        return (
            f"PID {self.pid} was used again after {self.between} other processes, for another process.\n"
            f"kill({self.pid}, SIGTERM) ended {self.by_number}. The same by a pidfd of the first: {self.by_pidfd}.\n"
            "A pidfd always refers to the same process; a PID only until the process is reaped (pidfd_open(2))."
        )


@dataclass(frozen=True, slots=True)
class SignalsToInit(mime.Text):
    """The effect of signals that were sent to PID 1 from inside.

    Attributes:
        sent: The signals.
        survived: Whether PID 1 is still alive.
    """

    sent: tuple[signal.Signals, ...]
    survived: bool

    def __str__(self) -> str:
        """Return the explanation."""
        names = ", ".join(one.name for one in self.sent)
        return (
            f"Sent to PID 1 from inside: {names}. It {'is still alive' if self.survived else 'has ended'}.\n"
            "From inside, PID 1 receives only signals for which it has a handler, and never SIGKILL or SIGSTOP.\n"
            "SIGKILL from the parent namespace ends PID 1 and all other processes of the namespace."
        )


@dataclass(frozen=True, slots=True)
class Adoption(mime.Text):
    """The parent of a process before and after that parent has ended.

    Attributes:
        pid: The PID of the process in the box.
        before: The PID of the parent that started it.
        after: The PID of its parent after that one has ended.
    """

    pid: int
    before: int
    after: int

    def __str__(self) -> str:
        """Return the explanation."""
        return (
            f"Process {self.pid} was started by process {self.before}, which ended. Now its parent is {self.after}.\n"
            "The init of the PID namespace becomes the parent of an orphan. It must wait for it, or it stays a zombie."
        )


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """Whether a POSIX shared memory object of the caller exists in a box (shm_overview(7)).

    Attributes:
        new_ipc: Whether the box has an IPC namespace of its own.
        before: Whether the object existed in the box, under the same name, before `Box.mount_shm`.
        after: Whether it existed after a new file system was mounted on /dev/shm.
    """

    new_ipc: bool
    before: bool
    after: bool

    def __str__(self) -> str:
        """Return the explanation."""
        ipc = "has" if self.new_ipc else "does not have"
        return (
            f"The box {ipc} an IPC namespace of its own. POSIX shared memory of the caller "
            f"{'was visible in it' if self.before else 'was not: another file system is mounted on /dev/shm'}.\n"
            f"With a new file system on /dev/shm it {'was still visible' if self.after else 'was not visible'}.\n"
            "An IPC namespace contains System V objects and POSIX message queues. POSIX shared memory and\n"
            "semaphores are files in /dev/shm; a mount of its own separates them (Box.mount_shm)."
        )


def exhaust_pids(box: Box) -> Exhaustion:
    """Start processes until none can be started any more; end one, and start another. All are ended afterwards.

    Raises:
        SpecError: unless the box has a PID namespace of its own with a pid_max of at most 5000.
        SpawnError: when not even one process could be started.
        ClosedError: when the box has ended.
    """
    pid_max = _small(box)
    with _Crowd(box) as crowd:
        refusal = crowd.grow(pid_max)
        numbers = [child.pid_inside for child in crowd.children]
        limit = "pid_max" if _all_in_use(box, pid_max) else _limit_in(refusal)
        # Below that PID the kernel gives no number out a second time.
        freed = next((number for number in numbers if number > FIRST_REUSED_PID), numbers[0])
        crowd.end(freed)
        following = crowd.start().pid_inside
        return Exhaustion(pid_max, len(numbers), max(numbers), refusal.errno or 0, freed, following, limit)


def reuse_a_pid(box: Box) -> Reuse:
    """End a process and start others until one has the same PID; then send a signal to the PID and to a pidfd.

    Raises:
        SpecError: unless the box has a PID namespace of its own with a pid_max of at most 5000.
        ClosedError: when the box has ended.
    """
    _small(box)
    with _Crowd(box) as crowd:
        first = crowd.start()
        while first.pid_inside <= FIRST_REUSED_PID:
            crowd.end(first.pid_inside)
            first = crowd.start()
        number = first.pid_inside
        # A duplicate: the pidfd of the handle is closed when the process has ended.
        kept = os.dup(first.pidfd)
        try:
            crowd.end(number)
            second, between = crowd.start(), 0
            while second.pid_inside != number:
                crowd.end(second.pid_inside)
                second, between = crowd.start(), between + 1
            try:
                signal.pidfd_send_signal(kept, signal.SIGTERM)
                by_pidfd = "no error"
            except OSError as error:
                by_pidfd = errno.errorcode.get(error.errno or 0, str(error))
            _kill(box, signal.SIGTERM, number)
            end = second.wait(5)
            ended = end is not None and end.returncode == -signal.SIGTERM
            return Reuse(number, between, "the second" if ended else "no process", by_pidfd)
        finally:
            os.close(kept)


def signal_init(box: Box) -> SignalsToInit:
    """Send PID 1 from inside the signals that end other processes, including SIGKILL.

    Raises:
        SpecError: unless the box has a PID namespace of its own.
        ClosedError: when the box has ended.
    """
    _own_pids("signal_init", box)
    sent = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL)
    for one in sent:
        _kill(box, one, 1)
    return SignalsToInit(sent, box.alive)


def adopt(box: Box) -> Adoption:
    """Start a process whose parent ends, and read which process is its parent then. It is ended afterwards.

    Raises:
        SpecError: unless the box has a PID namespace of its own.
        ClosedError: when the box has ended.
    """
    _own_pids("adopt", box)
    script = "sleep 1000 > /dev/null & echo $! $$; read line; exit"
    with box.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        pid, before = map(int, _line(parent.stdout).split())
        orphan = next(process for process in ps() if process.ppid == parent.pid and process.pids[-1] == pid)
        # The parent exits at the end of its input. communicate() closes that and waits.
        parent.communicate()
        after = ps(pids=[orphan.pid])[0].ppid
        _kill(box, signal.SIGKILL, pid)
    return Adoption(pid, before, 1 if after == box.pid else after)


def share_memory(box: Box) -> SharedMemory:
    """Make a POSIX shared memory object outside and check for it inside, before and after `Box.mount_shm`.

    Both the object and the mount are removed afterwards.

    Raises:
        SpecError: unless the box has a mount namespace of its own.
        ClosedError: when the box has ended.
    """
    if "mount" not in box.namespaces:
        raise SpecError("box: share_memory needs one with a mount namespace of its own")
    # As shm_open(3) does in the C library; Python has no function for it.
    with tempfile.NamedTemporaryFile(prefix="nsbox-", dir=_SHARED_MEMORY) as file:

        def exists_inside() -> bool:
            return box.run(["test", "-e", file.name]).returncode == 0

        before = exists_inside()
        box.mount_shm()
        try:
            after = exists_inside()
        finally:
            box.unmount(_SHARED_MEMORY)
    return SharedMemory("ipc" in box.namespaces, before, after)


def _kill(box: Box, number: signal.Signals, pid: int) -> None:
    """Send a signal from inside, to the PID that a process has there."""
    box.run(["sh", "-c", f"kill -{number.value} {pid}"], check=True)


def _line(stream: IO[str] | None) -> str:
    return stream.readline() if stream is not None else ""


def _own_pids(lesson: str, box: Box) -> None:
    if "pid" not in box.namespaces:
        raise SpecError(f"box: {lesson} needs one with a PID namespace of its own")


def _small(box: Box) -> int:
    _own_pids("the lesson", box)
    if box.pid_max > _MAX_PID_MAX:
        raise SpecError(f"box: its pid_max is {box.pid_max}; make it with pid_max=400, or at most {_MAX_PID_MAX}")
    return box.pid_max


def _all_in_use(box: Box, pid_max: int) -> bool:
    """Return whether the kernel has no PID left to give out in a box."""
    used = {process.pids[-1] for process in box.ps()}
    return used.issuperset(range(FIRST_REUSED_PID + 1, pid_max))


def _limit_in(refusal: SpawnError) -> str:
    """Return the limit that the evidence of an error shows."""
    if refusal.cause == "task-limit":
        return refusal.evidence.partition(": ")[2]
    return "which one cannot be read from here, such as pids.max of an outer cgroup"


class _Crowd:
    """Processes that sleep in a box, each known by its PID there; all end with the ``with`` block."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self.children: list[_core.Child] = []

    def __enter__(self) -> _Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children:
            child.kill()
        for child in self.children:
            child.wait(5)

    def start(self) -> _core.Child:
        child = self._box.fork_exec(_SLEEP)
        self.children.append(child)
        return child

    def grow(self, limit: int) -> SpawnError:
        """Start processes until the kernel refuses, and return the error.

        Raises:
            SpawnError: when it refuses the first one.
        """
        while len(self.children) <= limit:
            try:
                self.start()
            except SpawnError as error:
                if not self.children:
                    raise
                return error
        raise AssertionError(f"more than {limit} processes are in the box, which is its pid_max")

    def end(self, pid: int) -> None:
        child = next(child for child in self.children if child.pid_inside == pid)
        self.children.remove(child)
        child.kill()
        child.wait(5)
