"""What PID and IPC namespaces teach, done in a box and told as records (pid_namespaces(7), ipc_namespaces(7)).

Each lesson is a function of a `Box`; `str()` of what it returns is the explanation, with the figures of this very run,
and a notebook shows that.
"""

from __future__ import annotations

import contextlib
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

_LARGEST = 5000
"""With more PIDs than this the lesson would strain the machine."""
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
        errno: The number of the error by which the next one was refused (errno(3)).
        freed: The PID of a process that was then ended.
        next: The PID of the process that was started after that.
    """

    pid_max: int
    started: int
    highest: int
    errno: int
    freed: int
    next: int

    def __str__(self) -> str:
        """Tell it."""
        name = errno.errorcode.get(self.errno, str(self.errno))
        return (
            f"{self.started} processes were started, up to PID {self.highest}: pid_max is {self.pid_max}.\n"
            f"The next one was refused with {name}: there was no number left.\n"
            f"Then process {self.freed} was ended; the next process got the number {self.next}.\n"
            "Numbers are used again. Who remembers a PID may find another process under it."
        )


@dataclass(frozen=True, slots=True)
class Reuse(mime.Text):
    """Two processes that had the same PID, one after the other.

    Attributes:
        pid: The number.
        between: How many other processes were started until it came back.
        by_number: Whom a signal by that number reaches: ``"the second"``.
        by_pidfd: What a signal by a pidfd of the first leads to: the name of an error number.
    """

    pid: int
    between: int
    by_number: str
    by_pidfd: str

    def __str__(self) -> str:
        """Tell it."""
        return (
            f"PID {self.pid} came back after {self.between} other processes, for another process.\n"
            f"kill({self.pid}, SIGTERM) ended {self.by_number}. The same by a pidfd of the first: {self.by_pidfd}.\n"
            "A pidfd stands for one process, for ever; a number only as long as nobody reaps it (pidfd_open(2))."
        )


@dataclass(frozen=True, slots=True)
class SignalsToInit(mime.Text):
    """What became of signals that were sent to PID 1 from inside.

    Attributes:
        sent: The signals.
        survived: Whether PID 1 is still there.
    """

    sent: tuple[signal.Signals, ...]
    survived: bool

    def __str__(self) -> str:
        """Tell it."""
        names = ", ".join(one.name for one in self.sent)
        return (
            f"Sent to PID 1 from inside: {names}. It {'is still there' if self.survived else 'is gone'}.\n"
            "From inside, PID 1 gets only signals for which it has a handler, and SIGKILL and SIGSTOP never.\n"
            "From the parent namespace SIGKILL works, and takes the whole namespace along."
        )


@dataclass(frozen=True, slots=True)
class Adoption(mime.Text):
    """A process before and after its parent's end.

    Attributes:
        pid: Its PID in the box.
        before: The PID of its parent while that was there.
        after: The PID of its parent since.
    """

    pid: int
    before: int
    after: int

    def __str__(self) -> str:
        """Tell it."""
        return (
            f"Process {self.pid} was started by process {self.before}. That ended; now the parent is {self.after}.\n"
            "An orphan is given to the init of its PID namespace, which has to wait for it, or it stays a zombie."
        )


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """A POSIX shared memory object that was made outside, looked for inside (shm_overview(7)).

    Attributes:
        new_ipc: Whether the box has an IPC namespace of its own.
        before: Whether it was there, under the same name, with the /dev/shm that the box had.
        after: Whether it was there when a new file system was mounted on /dev/shm.
    """

    new_ipc: bool
    before: bool
    after: bool

    def __str__(self) -> str:
        """Tell it."""
        ipc = "has" if self.new_ipc else "does not have"
        return (
            f"The box {ipc} an IPC namespace of its own. POSIX shared memory from outside "
            f"{'was there all the same' if self.before else 'was not there: something else is mounted on /dev/shm'}.\n"
            f"With a new file system on /dev/shm it {'was still there' if self.after else 'was not there any more'}.\n"
            "An IPC namespace has the objects of System V, and POSIX message queues. POSIX shared memory and\n"
            "semaphores are files in /dev/shm; what separates those is a mount of its own (Box.mount_shm)."
        )


def exhaust_pids(box: Box) -> Exhaustion:
    """Start processes until no PID is left; end one, and see which number comes back. All are ended afterwards.

    Raises:
        SpecError: unless the box has a PID namespace of its own with a pid_max of at most 5000.
        ClosedError: when the box has ended.
    """
    pid_max = _small(box)
    with _Crowd(box) as crowd:
        refusal = crowd.grow(pid_max)
        numbers = [child.pid_inside for child in crowd.children]
        # Below this the kernel gives no number out a second time.
        freed = next(number for number in numbers if number > FIRST_REUSED_PID)
        crowd.end(freed)
        following = crowd.start().pid_inside
        return Exhaustion(pid_max, len(numbers), max(numbers), refusal, freed, following)


def reuse_a_pid(box: Box) -> Reuse:
    """End a process and start others until one has its number; then signal both, by number and by pidfd.

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
        # A number of its own: that of the handle is closed with the process.
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
            return Reuse(number, between, "the second" if ended else "nobody", by_pidfd)
        finally:
            os.close(kept)


def signal_init(box: Box) -> SignalsToInit:
    """Send PID 1 the signals that would end any other process, SIGKILL included, from inside.

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
    """Start a process whose parent ends, and see who its parent is then. It is ended afterwards.

    Raises:
        SpecError: unless the box has a PID namespace of its own.
        ClosedError: when the box has ended.
    """
    _own_pids("adopt", box)
    script = "sleep 1000 > /dev/null & echo $! $$; read line; exit"
    with box.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        pid, before = map(int, _line(parent.stdout).split())
        orphan = next(process for process in ps() if process.ppid == parent.pid and process.pids[-1] == pid)
        # The end of its input is what it waits for; that it has ended is what we do.
        parent.communicate()
        after = ps(pids=[orphan.pid])[0].ppid
        _kill(box, signal.SIGKILL, pid)
    return Adoption(pid, before, 1 if after == box.pid else after)


def share_memory(box: Box) -> SharedMemory:
    """Make a POSIX shared memory object outside and look for it inside, before and after `Box.mount_shm`.

    Both the object and the mount are removed afterwards.

    Raises:
        SpecError: unless the box has a mount namespace of its own.
        ClosedError: when the box has ended.
    """
    if "mount" not in box.namespaces:
        raise SpecError("box: share_memory needs one with a mount namespace of its own")
    # What shm_open(3) does in the C library, which has no function for it in Python.
    with tempfile.NamedTemporaryFile(prefix="nsbox-", dir=_SHARED_MEMORY) as file:

        def there() -> bool:
            return box.run(["test", "-e", file.name]).returncode == 0

        before = there()
        box.mount_shm()
        try:
            after = there()
        finally:
            box.unmount(_SHARED_MEMORY)
    return SharedMemory("ipc" in box.namespaces, before, after)


def _kill(box: Box, number: signal.Signals, pid: int) -> None:
    """Send a signal from inside, by the number a process has there."""
    box.run(["sh", "-c", f"kill -{number.value} {pid}"], check=True)


def _line(stream: IO[str] | None) -> str:
    return stream.readline() if stream is not None else ""


def _own_pids(lesson: str, box: Box) -> None:
    if "pid" not in box.namespaces:
        raise SpecError(f"box: {lesson} needs one with a PID namespace of its own")


def _small(box: Box) -> int:
    _own_pids("the lesson", box)
    if box.pid_max > _LARGEST:
        raise SpecError(f"box: its pid_max is {box.pid_max}; make it with pid_max=400, or at most {_LARGEST}")
    return box.pid_max


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

    def grow(self, limit: int) -> int:
        """Start until the kernel refuses, and return the error number."""
        with contextlib.suppress(SpawnError):
            while len(self.children) <= limit:
                self.start()
        try:
            self.start()
        except SpawnError as error:
            return error.errno or 0
        return 0

    def end(self, pid: int) -> None:
        child = next(child for child in self.children if child.pid_inside == pid)
        self.children.remove(child)
        child.kill()
        child.wait(5)
