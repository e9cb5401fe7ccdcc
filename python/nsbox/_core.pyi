from _typeshed import Incomplete, SupportsGetItem
from typing import Final, SupportsFloat, SupportsIndex, final

__all__ = [
    "__version__",
    "Box",
    "Child",
    "Errand",
    "Event",
    "Exit",
    "Facts",
    "Kind",
    "Outcome",
    "Plan",
    "Probe",
    "ProcessRecord",
    "Step",
    "ThreadRecord",
    "compile",
    "compile_box",
    "compile_process",
    "facts",
    "kinds",
    "landlock_layers",
    "open_box",
    "probe",
    "read_processes",
    "run",
    "spawn",
]

__version__: Final[str]

@final
class Box:
    """
    The handle of a box.
    """
    def __repr__(self, /) -> str: ...
    def events(self, /) -> list[Event]:
        """
        What happened since the box was made.
        """
    @property
    def is_own(self, /) -> bool:
        """
        Whether this process has made it: not so in a child of os.fork.
        """
    @property
    def is_stopped(self, /) -> bool:
        """
        Whether nsbox-init is stopped (SIGSTOP).
        """
    def kill(self, /) -> None:
        """
        End everything in it.
        """
    @property
    def method(self, /) -> str:
        """
        The system call that made it.
        """
    def perform(self, /, plan: Plan) -> Outcome:
        """
        Have nsbox-init do something.
        """
    @property
    def pid(self, /) -> int:
        """
        nsbox-init's PID as the caller sees it.
        """
    @property
    def pidfd(self, /) -> int:
        """
        A pidfd of nsbox-init; it belongs to this object.
        """
    @property
    def plan(self, /) -> Plan:
        """
        The plan by which it was made.
        """
    def run(self, /, plan: Plan, fds: SupportsGetItem[int, SupportsIndex], token: SupportsIndex) -> Exit:
        """
        Start a process here, and wait for its end: `start` and `wait` in one, for when there is nothing to do in between.
        """
    def start(self, /, plan: Plan, fds: SupportsGetItem[int, SupportsIndex]) -> Child:
        """
        Start a process here. `fds` are the descriptors it gets, in the order of the plan.
        """
    @property
    def times(self, /) -> list[tuple[int, int]]:
        """
        How long each step of the plan took that nsbox-init carried out: its number, and nanoseconds.
        """
    def token(self, /) -> int:
        """
        The token to put into the plan for `run`.
        """
    def wait(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> Exit | None:
        """
        Wait for its end: with a new PID namespace, of every process in it. `timeout` is in seconds; nothing is returned
        when it passes first.
        """

@final
class Child:
    """
    A running payload with its nsbox-init.
    """
    def __repr__(self, /) -> str: ...
    @property
    def end_fd(self, /) -> int:
        """
        A descriptor that is readable when everything is over; -1 once that is known. It belongs to this object, and is
        only for waiting (poll(2)).
        """
    @property
    def init_pid(self, /) -> int:
        """
        The PID of nsbox-init as the caller sees it.
        """
    @property
    def init_pidfd(self, /) -> int:
        """
        A pidfd of nsbox-init; -1 once it is known how the payload ended. It belongs to this object.
        """
    @property
    def is_own(self, /) -> bool:
        """
        Whether this process has started it, and so may wait for it: not so in a child of os.fork.
        """
    def kill(self, /) -> None:
        """
        SIGKILL to PID 1 of the new PID namespace, and so to everything in it; without one, to the payload, after
        which nsbox-init ends the rest. In a box, to the payload alone.
        """
    @property
    def method(self, /) -> str:
        """
        The system call that made it: `clone3`, or `clone` where clone3 is missing.
        """
    @property
    def pid(self, /) -> int:
        """
        The payload's PID as the caller sees it.
        """
    @property
    def pid_inside(self, /) -> int:
        """
        The payload's PID in its own PID namespace.
        """
    @property
    def pidfd(self, /) -> int:
        """
        A pidfd of the payload; -1 once it is known how that ended. It belongs to this object.
        """
    @property
    def plan(self, /) -> Plan:
        """
        The plan by which it was started.
        """
    def send_signal(self, /, signal: SupportsIndex) -> None:
        """
        Send a signal to the payload, through its pidfd.
        """
    def wait(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> Exit | None:
        """
        Wait for the end of everything: with a new PID namespace, of every process in it. `timeout` is in seconds;
        nothing is returned when it passes first.
        """

@final
class Errand:
    """
    Plans for errands.
    """
    @staticmethod
    def abort(token: SupportsIndex) -> Plan:
        """
        End a process that was started with this token.
        """
    @staticmethod
    def detached(fstype: bytes) -> Plan:
        """
        A file system that is mounted nowhere.
        """
    @staticmethod
    def domainname(name: bytes) -> Plan:
        """
        setdomainname(2).
        """
    @staticmethod
    def hostname(name: bytes) -> Plan:
        """
        sethostname(2).
        """
    @staticmethod
    def loopback() -> Plan:
        """
        Bring the loopback interface up.
        """
    @staticmethod
    def mount(source: bytes | None, target: bytes, fstype: bytes | None, flags: SupportsIndex) -> Plan:
        """
        mount(2).
        """
    @staticmethod
    def mount_proc(target: bytes) -> Plan:
        """
        A new proc.
        """
    @staticmethod
    def open(path: bytes) -> Plan:
        """
        Open a file for reading.
        """
    @staticmethod
    def read(path: bytes) -> Plan:
        """
        Read a short file.
        """
    @staticmethod
    def reap(always: bool, now: bool) -> Plan:
        """
        Reap orphans: from now on, and those that wait.
        """
    @staticmethod
    def unmount(target: bytes, flags: SupportsIndex) -> Plan:
        """
        umount2(2).
        """
    @staticmethod
    def write(path: bytes, data: bytes) -> Plan:
        """
        Write a file, in one write(2).
        """

@final
class Event:
    """
    Something that happened in a box.
    """
    def __repr__(self, /) -> str: ...
    @property
    def kind(self, /) -> str:
        """
        `started`, `exited`, `reaped` or `signalled`.
        """
    @property
    def number(self, /) -> int:
        """
        Its number. Where one is missing, the event got lost: too many came before anybody looked.
        """
    @property
    def pid(self, /) -> int:
        """
        The PID in the box; 0 for a signal.
        """
    @property
    def status(self, /) -> int | None:
        """
        The exit status, negative for a signal; the number of a signal; nothing for a start.
        """
    @property
    def time(self, /) -> float:
        """
        CLOCK_MONOTONIC, in seconds.
        """

@final
class Exit:
    """
    How something ended.
    """
    @property
    def returncode(self, /) -> int:
        """
        The exit status, or the negative number of the signal that ended it.
        """
    @property
    def rusage(self, /) -> tuple[float, float, list[int]] | None:
        """
        Resource usage as `resource.struct_rusage` takes it; nothing if nsbox-init could not report it.
        """

@final
class Facts:
    """
    What the plan depends on besides the wish: the caller's own situation.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(
        cls,
        /,
        *,
        euid: SupportsIndex,
        egid: SupportsIndex,
        effective: SupportsIndex = 0,
        permitted: SupportsIndex = 0,
        inheritable: SupportsIndex = 0,
        ambient: SupportsIndex = 0,
        sigmask: SupportsIndex = 0,
        kernel: tuple[SupportsIndex, SupportsIndex] = ...,
    ) -> Facts: ...
    @property
    def ambient(self, /) -> int:
        """
        Ambient capabilities.
        """
    @property
    def effective(self, /) -> int:
        """
        Effective capabilities (capabilities(7)).
        """
    @property
    def egid(self, /) -> int:
        """
        Effective group id.
        """
    @property
    def euid(self, /) -> int:
        """
        Effective user id.
        """
    @property
    def inheritable(self, /) -> int:
        """
        Inheritable capabilities.
        """
    @property
    def kernel(self, /) -> tuple[int, int]:
        """
        The kernel's version.
        """
    @property
    def permitted(self, /) -> int:
        """
        Permitted capabilities.
        """
    @property
    def sigmask(self, /) -> int:
        """
        Signals blocked in the calling thread.
        """

@final
class Kind:
    """
    One kind of namespace.
    """
    def __repr__(self, /) -> str: ...
    @property
    def flag(self, /) -> int:
        """
        The CLONE_NEW* flag.
        """
    @property
    def flag_name(self, /) -> str:
        """
        The name of that flag.
        """
    @property
    def letter(self, /) -> str:
        """
        The letter of unshare(1)'s short option.
        """
    @property
    def link(self, /) -> str:
        """
        The link in /proc/PID/ns; also accepted as a name.
        """
    @property
    def name(self, /) -> str:
        """
        The name used throughout nsbox.
        """

@final
class Outcome:
    """
    What an errand brought.
    """
    @property
    def data(self, /) -> bytes | None:
        """
        What a file says.
        """
    @property
    def fd(self, /) -> int | None:
        """
        A descriptor, which now belongs to the caller.
        """
    @property
    def nanoseconds(self, /) -> int:
        """
        How long it took, in nanoseconds.
        """

@final
class Plan:
    """
    An ordered list of steps, and what they amount to.
    """
    def __repr__(self, /) -> str: ...
    def __str__(self, /) -> str: ...
    @property
    def added(self, /) -> list[tuple[str, str]]:
        """
        Namespaces that were not asked for, with the reason why they are there.
        """
    def encode(self, /) -> bytes:
        """
        The bytes nsbox-init is given.
        """
    @property
    def namespaces(self, /) -> list[str]:
        """
        The names of the new namespaces.
        """
    @property
    def steps(self, /) -> list[Step]:
        """
        The steps, in order.
        """

@final
class Probe:
    """
    What the calls answered, as error numbers. A filter answers EPERM or ENOSYS before the kernel looks at the
    arguments, which are chosen so that the kernel refuses them for another reason.
    """
    @property
    def clone3(self, /) -> int:
        """
        `clone3(NULL, 1)`: EINVAL from the kernel.
        """
    @property
    def clone_refused(self, /) -> list[str]:
        """
        The kinds of namespaces that clone(2) is not even asked for: the kernel would say EINVAL.
        """
    @property
    def execveat(self, /) -> int:
        """
        `execveat(-1, NULL, NULL, NULL, 0)`: EFAULT from the kernel.
        """
    @property
    def mount(self, /) -> int:
        """
        `mount(NULL, NULL, NULL, 0, NULL)`: EFAULT from the kernel.
        """
    @property
    def setns(self, /) -> int:
        """
        `setns(-1, 0)`: EBADF from the kernel.
        """
    @property
    def unshare(self, /) -> int:
        """
        `unshare(0)`: 0 from the kernel.
        """

@final
class ProcessRecord:
    """
    A process, as one pass over /proc found it.
    """
    def __repr__(self, /) -> str: ...
    @property
    def cmdline(self, /) -> list[bytes] | None:
        """
        The arguments; nothing if not asked for.
        """
    @property
    def comm(self, /) -> bytes:
        """
        The name, any bytes.
        """
    @property
    def kernel_thread(self, /) -> bool:
        """
        Whether it is a thread of the kernel.
        """
    @property
    def namespaces(self, /) -> list[int | None] | None:
        """
        The namespaces in the order of `kinds()`; nothing if not asked for.
        """
    @property
    def nice(self, /) -> int:
        """
        From -20 to 19.
        """
    @property
    def owner(self, /) -> int:
        """
        The owner of the process' directory: the effective user, or root for a process that is not dumpable.
        """
    @property
    def pgid(self, /) -> int:
        """
        The process group.
        """
    @property
    def pid(self, /) -> int:
        """
        The PID in the PID namespace of this proc.
        """
    @property
    def pids(self, /) -> list[int]:
        """
        The PIDs from that namespace inwards (NSpid); only the first one if they are not known.
        """
    @property
    def ppid(self, /) -> int:
        """
        The parent's PID, 0 if the parent is outside.
        """
    @property
    def rss(self, /) -> int:
        """
        Bytes in memory.
        """
    @property
    def sid(self, /) -> int:
        """
        The session.
        """
    @property
    def start_seconds(self, /) -> float:
        """
        Seconds from boot to start.
        """
    @property
    def start_ticks(self, /) -> int:
        """
        Clock ticks from boot to start.
        """
    @property
    def state(self, /) -> str:
        """
        One letter, as in proc_pid_stat(5).
        """
    @property
    def stime(self, /) -> float:
        """
        Seconds in kernel mode.
        """
    @property
    def thread_count(self, /) -> int:
        """
        How many threads it has.
        """
    @property
    def threads(self, /) -> list[ThreadRecord]:
        """
        The threads besides the first one; empty if not asked for.
        """
    @property
    def tpgid(self, /) -> int:
        """
        The foreground process group of that terminal, -1 without one.
        """
    @property
    def tty_nr(self, /) -> int:
        """
        The controlling terminal as a device number, 0 without one.
        """
    @property
    def uids(self, /) -> tuple[int, int, int, int] | None:
        """
        Real, effective, saved and file system user id; nothing if not asked for or not told.
        """
    @property
    def utime(self, /) -> float:
        """
        Seconds in user mode.
        """
    @property
    def vsize(self, /) -> int:
        """
        Bytes of virtual memory.
        """

@final
class Step:
    """
    One step as Python sees it.
    """
    def __repr__(self, /) -> str: ...
    @property
    def actor(self, /) -> str:
        """
        `caller`, `init` or `payload`.
        """
    @property
    def call(self, /) -> str:
        """
        The system call with its arguments.
        """
    @property
    def index(self, /) -> int:
        """
        Its number.
        """
    @property
    def manual(self, /) -> str:
        """
        The manual page that describes it.
        """
    @property
    def name(self, /) -> str:
        """
        A stable name, such as `mount proc`.
        """
    @property
    def why(self, /) -> str:
        """
        Why it is done.
        """

@final
class ThreadRecord:
    """
    A thread besides the first one of its process.
    """
    def __repr__(self, /) -> str: ...
    @property
    def comm(self, /) -> bytes:
        """
        Its own name, any bytes.
        """
    @property
    def namespaces(self, /) -> list[int | None] | None:
        """
        Its namespaces, as for a process.
        """
    @property
    def tid(self, /) -> int:
        """
        Its id in the PID namespace of this proc.
        """

def compile(spec: Incomplete, launch: Incomplete, facts: Facts) -> Plan:
    """
    Make a plan.
    """

def compile_box(spec: Incomplete, facts: Facts, directory: bytes | None = None) -> Plan:
    """
    Make a plan for a box.
    """

def compile_process(spec: Incomplete, launch: Incomplete, facts: Facts, home: Plan, token: SupportsIndex = 0) -> Plan:
    """
    Make a plan for another process in the box that `home` made.
    """

def facts() -> Facts:
    """
    The calling thread's situation.
    """

def kinds() -> list[Kind]:
    """
    The table, for the Python side.
    """

def landlock_layers() -> int | None:
    """
    In how many Landlock domains the calling thread is: any of them forbids all mounts (landlock(7)). Nothing, where the
    kernel has no Landlock.

    It is found out by a thread that enters as many more as the kernel allows, and ends: a domain belongs to a thread.
    """

def open_box(plan: Plan, outer: Box | None = None) -> Box:
    """
    Make a box by `plan`, and return when it waits for requests. `outer` is the box in which it is made.
    """

def probe() -> Probe:
    """
    Ask.
    """

def read_processes(
    proc: bytes | bytearray,
    *,
    of: SupportsIndex | None = None,
    pids: SupportsGetItem[int, SupportsIndex] | None = None,
    status: bool = True,
    cmdline: bool = True,
    namespaces: bool = True,
    threads: bool = False,
) -> list[ProcessRecord]:
    """
    Read the processes in the /proc directory `proc`, in the order in which it lists them, or only `pids`, in that
    order; or in what the process `of` of our /proc finds under that path. Processes that end meanwhile are left out, as are those whose directory may not be entered (hidepid).
    """

def run(plan: Plan) -> Exit:
    """
    Carry out `plan` and wait for the end of everything: `spawn` and `wait` in one, for when nobody has anything to do in
    between.
    """

def spawn(plan: Plan, encoded: SupportsGetItem[int, SupportsIndex] | None = None) -> Child:
    """
    Carry out `plan` until its payload runs.

    `encoded` replaces what nsbox-init is given, for tests of how it defends itself.
    """
