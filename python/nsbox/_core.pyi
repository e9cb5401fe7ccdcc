from _typeshed import Incomplete, SupportsGetItem
from typing import Any, Final, SupportsFloat, SupportsIndex, final

__all__ = [
    "__version__",
    "Child",
    "Exit",
    "Facts",
    "IpcFiles",
    "Kind",
    "Plan",
    "Probe",
    "Proc",
    "Relation",
    "Step",
    "compile",
    "facts",
    "kinds",
    "namespace_relations",
    "open_proc",
    "open_proc_of",
    "probe",
    "read_ipc",
    "read_processes",
    "run",
    "spawn",
]

__version__: Final[str]

@final
class Child:
    """
    A running payload with its nsbox-init.
    """
    def __repr__(self, /) -> str: ...
    @property
    def init_pid(self, /) -> int:
        """
        The PID of nsbox-init as the caller sees it.
        """
    @property
    def init_pidfd(self, /) -> int:
        """
        A pidfd of nsbox-init, readable when everything is over; -1 once that is known. It belongs to this object.
        """
    @property
    def is_own(self, /) -> bool:
        """
        Whether this process has started it, and so may wait for it: not so in a child of os.fork.
        """
    def kill(self, /) -> None:
        """
        SIGKILL to PID 1 of the new PID namespace, and so to everything in it; without one, to the payload, after
        which nsbox-init ends the rest.
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
class IpcFiles:
    """
    The files of an IPC namespace; nothing for what could not be read.
    """
    @property
    def ids_inside(self, /) -> bool:
        """
        Whether the ids of the first three are those of the process's user namespace instead of the caller's.
        """
    @property
    def msg(self, /) -> bytes | None:
        """
        /proc/sysvipc/msg.
        """
    @property
    def queues(self, /) -> list[tuple[bytes, int, int, int, bytes | None]] | None:
        """
        POSIX message queues: name, uid, gid, mode, and the file's text if it may be read (mq_overview(7)).
        """
    @property
    def sem(self, /) -> bytes | None:
        """
        /proc/sysvipc/sem.
        """
    @property
    def shm(self, /) -> bytes | None:
        """
        /proc/sysvipc/shm.
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
    What the three calls answered, as error numbers.
    """
    @property
    def clone3(self, /) -> int:
        """
        `clone3(NULL, 1)`: EINVAL from the kernel.
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
class Proc:
    """
    A proc, to be read; mounted somewhere or nowhere.
    """
    def __repr__(self, /) -> str: ...
    def descriptor(self, /, path: SupportsGetItem[int, SupportsIndex]) -> int:
        """
        A new descriptor of a file in it, for the caller to close.
        """
    def file(self, /, path: SupportsGetItem[int, SupportsIndex]) -> bytes:
        """
        The contents of a file in it.
        """
    def mount_id(self, /) -> int | None:
        """
        The mount it is in, as mountinfo numbers them; nothing before Linux 5.8.
        """
    def namespace(self, /) -> int | None:
        """
        The PID namespace it belongs to; nothing if that may not be known.
        """
    def seen_by(self, /, pid: SupportsIndex, path: SupportsGetItem[int, SupportsIndex]) -> Proc:
        """
        The proc that its process `pid` finds at `path`.
        """

@final
class Relation:
    """
    A namespace and its relations; nothing where there is none, or where it lies outside of what the caller may know.
    """
    @property
    def id(self, /) -> int:
        """
        The inode number.
        """
    @property
    def kind(self, /) -> str:
        """
        The kind's name.
        """
    @property
    def owner(self, /) -> int | None:
        """
        The user namespace that owns it; a user namespace is owned by its parent.
        """
    @property
    def owner_uid(self, /) -> int | None:
        """
        The user who made the owning user namespace, or this one if it is one, as the caller's has them.
        """
    @property
    def parent(self, /) -> int | None:
        """
        The parent, for user and PID namespaces.
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

def compile(spec: Incomplete, launch: Incomplete, facts: Facts) -> Plan:
    """
    Make a plan.
    """

def facts() -> Facts:
    """
    The calling thread's situation.
    """

def kinds() -> list[Kind]:
    """
    The table, for the Python side.
    """

def namespace_relations(
    proc: Proc, handles: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsGetItem[int, SupportsIndex]]]
) -> list[Relation]:
    """
    Find the relations of namespaces of processes in a proc, and those of the parents and owners that come up. A handle that has gone, or that
    leads to something else by now, is left out.
    """

def open_proc(path: SupportsGetItem[int, SupportsIndex]) -> Proc:
    """
    Open the proc at `path`.
    """

def open_proc_of(pid: SupportsIndex) -> Proc:
    """
    Open a proc of the PID namespace of process `pid` of our /proc, whatever it has mounted itself.
    """

def probe() -> Probe:
    """
    Ask. A filter answers EPERM or ENOSYS before the kernel looks at the arguments.
    """

def read_ipc(pid: SupportsIndex | None) -> IpcFiles:
    """
    Read what is in the IPC namespace of process `pid`, or of the calling thread.
    """

def read_processes(
    proc: Proc,
    classes: tuple[Any, Any, Any, Any],
    sources: SupportsGetItem[int, str],
    *,
    pids: SupportsGetItem[int, SupportsIndex] | None = None,
) -> tuple[list[Any], list[int]]:
    """
    Read all processes of a proc in the order in which it lists them, or only `pids`, in that order.

    `classes` are those of the records, `sources` the files besides stat. Returned are the records and the PIDs of
    processes that are listed but may not be looked at (hidepid). Processes that end meanwhile are left out.
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
