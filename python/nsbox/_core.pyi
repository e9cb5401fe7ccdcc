from _typeshed import Incomplete, SupportsGetItem, SupportsLenAndGetItem
from os import PathLike
from pathlib import Path
from typing import Any, Final, SupportsFloat, SupportsIndex, final
from typing_extensions import disjoint_base

__all__ = [
    "__version__",
    "Box",
    "Call",
    "Cgroup",
    "Child",
    "Descriptor",
    "Event",
    "Exit",
    "Facts",
    "IpcFiles",
    "Kind",
    "Launch",
    "MountFlag",
    "Outcome",
    "Plan",
    "Probe",
    "Proc",
    "ProcFile",
    "Relation",
    "Request",
    "SpecRead",
    "Step",
    "ThreadScope",
    "block_signals",
    "boot_id",
    "change_ids",
    "clone3",
    "compile",
    "compile_box",
    "compile_process",
    "copied_tree",
    "die_with_parent",
    "facts",
    "forget_scopes",
    "give_up_rights",
    "id_map_lines",
    "idmap_tree",
    "in_foreign_mounts",
    "is_child_subreaper",
    "keep_capabilities",
    "kinds",
    "landlock_rule",
    "list_queues",
    "mount",
    "mount_flags",
    "namespace_relations",
    "open_box",
    "open_proc",
    "open_proc_of",
    "open_socket_namespace",
    "pivot_root",
    "probe",
    "read_ipc",
    "read_processes",
    "run",
    "set_child_subreaper",
    "set_dumpable",
    "set_signal_mask",
    "setdomainname",
    "sethostname",
    "setns",
    "shed_privileges",
    "spawn",
    "step_names",
    "this_process",
    "umount2",
    "unshare",
]

__version__: Final[str]

@final
class Box:
    """
    The handle of a box: nsbox-init in new namespaces, which carries out requests there.
    """
    def __repr__(self, /) -> str: ...
    def events(self, /) -> list[Event]:
        """
        What happened since the box was made.
        """
    @property
    def is_own(self, /) -> bool:
        """
        Whether this process has made it. A child of os.fork has not.
        """
    @property
    def is_stopped(self, /) -> bool:
        """
        Whether nsbox-init is stopped (SIGSTOP).
        """
    def kill(self, /) -> None:
        """
        End everything in the box.
        """
    @property
    def layer(self, /) -> int:
        """
        The directory in memory to which its new root is written; -1 without one. It belongs to this object, and stays
        when the box has ended.
        """
    @property
    def method(self, /) -> str:
        """
        The system call that made it.
        """
    def perform(self, /, plan: Plan) -> Outcome:
        """
        Have nsbox-init carry out a request by itself.
        """
    @property
    def pid(self, /) -> int:
        """
        The PID of nsbox-init as the caller sees it.
        """
    @property
    def pidfd(self, /) -> int:
        """
        A pidfd of nsbox-init; -1 once it is known that the box has ended. It belongs to this object.
        """
    @property
    def plan(self, /) -> Plan:
        """
        The plan by which it was made.
        """
    def run(self, /, plan: Plan, fds: SupportsGetItem[int, SupportsIndex], token: SupportsIndex) -> Exit:
        """
        Start a process here, and wait for its end: `start` and `wait` in one call.
        """
    def start(self, /, plan: Plan, fds: SupportsGetItem[int, SupportsIndex], token: SupportsIndex) -> Child:
        """
        Start a process here. `fds` are the descriptors it gets, in the order of the plan.
        """
    @property
    def times(self, /) -> list[tuple[int, int]]:
        """
        For each step that nsbox-init carried out: its number, and the time it took, in nanoseconds.
        """
    def token(self, /) -> int:
        """
        The token to put into the plan of a process.
        """
    def wait(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> Exit | None:
        """
        Wait for its end: with a new PID namespace, for the end of every process in it. `timeout` is in seconds; None is
        returned when it passes first.
        """

@final
class Call:
    """
    A system call, or a program that is run, with its arguments.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(cls, name: str, /, **arguments: "object") -> Call:
        """
        Make a system call; the keywords are the names of the arguments in its manual page. An int, None or a str is itself, a
        tuple of str are constants by name, a list is an array, a dict a structure, or with the key `file` alone a descriptor
        by the name of its file; a tuple of tuples of three ints are lines of an id map.

        Raises TypeError for other values.
        """
    def __repr__(self, /) -> str: ...
    def __str__(self, /) -> str: ...
    @property
    def arguments(self, /) -> list[tuple[str, Any]]:
        """
        The arguments in order: the name and the value of each.
        """
    @property
    def is_program(self, /) -> bool:
        """
        Whether it is a program.
        """
    @property
    def name(self, /) -> str:
        """
        The name of the system call or program.
        """
    @staticmethod
    def program(name: str, /, **arguments: "object") -> Call:
        """
        Make the start of a program; the keywords name its arguments.

        Raises TypeError for other values.
        """

@final
class Cgroup:
    """
    A cgroup for one payload or one box.
    """
    def __new__(cls, /, path: str | PathLike[str], settings: SupportsGetItem[int, tuple[str, str, bool]]) -> Cgroup:
        """
        Describe it; nothing is made yet. The settings are files, their texts, and whether they may be missing.
        """
    def make(self, /) -> None:
        """
        Make it.
        """
    @property
    def path(self, /) -> Path:
        """
        Its directory.
        """

@final
class Child:
    """
    A payload with its nsbox-init.
    """
    def __repr__(self, /) -> str: ...
    def changes(self, /, max_files: SupportsIndex | None = None) -> Any:
        """
        The files that its processes have created, changed and deleted in a root that is an `Overlay`, as
        `nsbox.Popen.changes` returns them. `max_files` is the number of files to read at most.

        Raises SpecError when the root is no overlay, and NsboxError when there are more files.
        """
    def check_executed(self, /) -> None:
        """
        Raise the error of the exec, if the payload has ended because a filter kills a process for that.
        """
    @property
    def end_fd(self, /) -> int:
        """
        A descriptor that is readable when everything has ended; -1 once it is known how the payload ended. It belongs
        to this object, and is only for polling (poll(2)).
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
        Whether this process has started it, and so may wait for it. A child of os.fork has not.
        """
    def keep(self, /, object: Any) -> None:
        """
        Keep a reference to an object, such as the box in which the payload is, as long as this handle exists.
        """
    def kill(self, /) -> None:
        """
        Send SIGKILL to PID 1 of the new PID namespace, which ends everything in it; without one to the payload, after
        which nsbox-init ends the rest. In a box, to the payload alone. If this process may not do that, as when it has
        changed its user since the start, nsbox-init is asked to do it.
        """
    @property
    def layer(self, /) -> int:
        """
        The directory in memory to which its new root is written; -1 without one. It belongs to this object, and stays
        when everything has ended.
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
        A pidfd of the payload; -1 once it is known how the payload ended. It belongs to this object.
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
    def started_by(self, /, spec: Any) -> None:
        """
        Keep what the caller asked for, an `nsbox.Spec` whose root is an overlay, for `changes`.
        """
    def wait(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> Exit | None:
        """
        Wait for the end of everything: with a new PID namespace, of every process in it. `timeout` is in seconds; None
        is returned when it passes first.
        """

@final
class Descriptor:
    """
    A descriptor that belongs to this object from the moment in which it was opened. A number would be lost if a signal
    handler raised between the call that opens it and the statement that keeps it.
    """
    def __enter__(self, /) -> Descriptor: ...
    def __exit__(self, /, *_exception: "object") -> None: ...
    def __new__(cls, function: "object", /, *arguments: "object") -> Descriptor:
        """
        Open it: `Descriptor(os.open, path, flags)`. The function has to be one that is not written in Python and returns
        a new descriptor. It will be greater than 2.
        """
    def __repr__(self, /) -> str: ...
    def close(self, /) -> None:
        """
        Close it, if it is open.
        """
    def fileno(self, /) -> int:
        """
        Its number; -1 after it was closed.
        """
    @staticmethod
    def pair(function: "object", /, *arguments: "object") -> tuple[Descriptor, Descriptor]:
        """
        The same for a function that returns two, such as `os.pipe`.
        """
    def socket(self, /, family: SupportsIndex, kind: SupportsIndex, protocol: SupportsIndex) -> Any:
        """
        The same descriptor as a `socket.socket`, to which it then belongs.
        """
    @staticmethod
    def sockets() -> tuple[Descriptor, Descriptor]:
        """
        Two connected sockets (unix(7), SOCK_STREAM), for what the first one sends. Nothing can be sent to it: with a message
        come descriptors, and a socket whose last descriptor is closed can keep the process waiting (socket(7), SO_LINGER).
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
        Its number. A gap in the numbers means that events were lost: the kernel's buffer was full.
        """
    @property
    def pid(self, /) -> int:
        """
        The PID in the box; 0 for a signal.
        """
    @property
    def status(self, /) -> int | None:
        """
        The exit status, negative for a signal; the number of a signal; None for a start.
        """
    @property
    def time(self, /) -> float:
        """
        CLOCK_MONOTONIC, in seconds.
        """

@final
class Exit:
    """
    How a payload or a box ended.
    """
    @property
    def returncode(self, /) -> int:
        """
        The exit status, or the negative number of the signal that ended it.
        """
    @property
    def rusage(self, /) -> tuple[float, float, list[int]] | None:
        """
        Resource usage as `resource.struct_rusage` takes it; None if nsbox-init could not report it.
        """

@final
class Facts:
    """
    What a plan depends on besides what is asked for.
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
        directory: str | PathLike[str] | None = ...,
    ) -> Facts: ...
    @property
    def ambient(self, /) -> int:
        """
        Ambient capabilities.
        """
    @property
    def directory(self, /) -> Path | None:
        """
        The path of the working directory (getcwd(2)); `None` if it has none, as when it was removed.
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
    The files of an IPC namespace; None for what could not be read.
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
class Launch:
    """
    A program and its surroundings, everything in the form in which the kernel takes it.
    """
    def __new__(
        cls,
        /,
        *,
        paths: SupportsGetItem[int, bytes | bytearray],
        argv: SupportsGetItem[int, bytes | bytearray],
        env: SupportsGetItem[int, bytes | bytearray] | None = None,
        cwd: bytes | bytearray | None = None,
        stdio: SupportsLenAndGetItem[SupportsIndex] = ...,
        pass_fds: SupportsGetItem[int, SupportsIndex] = ...,
        close_fds: bool = True,
        restore_signals: bool = True,
        start_new_session: bool = False,
        process_group: SupportsIndex | None = None,
        controlling_terminal: bool = False,
        umask: SupportsIndex | None = None,
        groups: SupportsGetItem[int, SupportsIndex] | None = None,
        gid: SupportsIndex | None = None,
        uid: SupportsIndex | None = None,
    ) -> Launch: ...
    @property
    def close_fds(self, /) -> bool:
        """
        Whether all others are closed.
        """
    @property
    def cwd(self, /) -> bytes | None:
        """
        The working directory; None for the caller's.
        """
    @property
    def pass_fds(self, /) -> list[int]:
        """
        Descriptors kept under their own number.
        """
    @pass_fds.setter
    def pass_fds(self, /, value: SupportsGetItem[int, SupportsIndex]) -> None:
        """
        Descriptors kept under their own number.
        """
    @property
    def stdio(self, /) -> list[int]:
        """
        What becomes descriptors 0, 1 and 2; -1 leaves one as it is.
        """
    @stdio.setter
    def stdio(self, /, value: SupportsLenAndGetItem[SupportsIndex]) -> None:
        """
        What becomes descriptors 0, 1 and 2; -1 leaves one as it is.
        """

@final
class MountFlag:
    """
    One flag.
    """
    def __repr__(self, /) -> str: ...
    @property
    def name(self, /) -> str:
        """
        Its name in C, such as `MS_RDONLY`.
        """
    @property
    def number(self, /) -> int:
        """
        Its number.
        """
    @property
    def word(self, /) -> str | None:
        """
        Its word among the options of mount(8), such as `ro`; for propagation the word of `--make-...`.
        """

@final
class Outcome:
    """
    The result of a request that nsbox-init carried out by itself.
    """
    @property
    def data(self, /) -> bytes | None:
        """
        The contents of a short file, or what was found about the descriptor.
        """
    @property
    def fd(self, /) -> int | None:
        """
        The descriptor that came with the reply; None if none came, or if it has been taken. It belongs to this object.
        """
    def file(self, /) -> Any:
        """
        The same, as a file to read bytes from.
        """
    @property
    def nanoseconds(self, /) -> int:
        """
        How long it took, in nanoseconds.
        """
    def take(self, /) -> Descriptor | None:
        """
        The same descriptor, which then belongs to the object that is returned.
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
        The bytes that are sent to nsbox-init.
        """
    @property
    def gid(self, /) -> int | None:
        """
        The same for the group.
        """
    @property
    def joined(self, /) -> list[str]:
        """
        The names of the namespaces that are joined.
        """
    @property
    def leaves_groups(self, /) -> bool:
        """
        Whether programs leave the supplementary groups of the caller by default.
        """
    @property
    def left_out(self, /) -> list[tuple[str, str]]:
        """
        The parts of `harden="best"` that are left out, with the reason why.
        """
    @property
    def namespaces(self, /) -> list[str]:
        """
        The names of the new namespaces.
        """
    @property
    def notes(self, /) -> list[str]:
        """
        What is to be known of the rights of its programs, such as that root inside is root outside: a sentence each.
        """
    @property
    def reaches_root(self, /) -> bool:
        """
        Whether a program can be root outside: 0 inside is 0 outside, or the caller's id is not mapped.
        """
    @property
    def steps(self, /) -> list[Step]:
        """
        The steps, in order.
        """
    @property
    def uid(self, /) -> int | None:
        """
        The user that programs become by default, since the caller's own is not mapped; None if it is.
        """

@final
class Probe:
    """
    The results of the calls, as error numbers. A filter returns EPERM or ENOSYS before the kernel checks the arguments,
    which are chosen so that the kernel refuses them for another reason. A call for which a filter kills the process
    counts as one that fails with EPERM.
    """
    @property
    def clone3(self, /) -> int:
        """
        `clone3(NULL, 1)`: EINVAL from the kernel.
        """
    @property
    def clone_refused(self, /) -> list[str]:
        """
        The kinds of namespaces for which clone(2) fails before the kernel checks the arguments: the kernel returns
        EINVAL.
        """
    @property
    def execveat(self, /) -> int:
        """
        `execveat(-1, NULL, NULL, NULL, 0)`: EFAULT from the kernel.
        """
    @property
    def killed(self, /) -> list[str]:
        """
        The calls for which a filter kills the process, among these and those of the steps of plans.
        """
    @property
    def landlock(self, /) -> int:
        """
        Number of Landlock domains that the caller is in: any of them forbids all mounts (landlock(7)). 0 if the kernel
        has no Landlock.
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
class Proc:
    """
    A proc, to be read; mounted somewhere or nowhere.
    """
    def __repr__(self, /) -> str: ...
    def exists_for(self, /, pid: SupportsIndex, path: SupportsGetItem[int, SupportsIndex]) -> bool:
        """
        Whether there is a file at `path` for its process `pid`; a symbolic link counts, wherever it leads.
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
    def numbers_of(self, /) -> tuple[int | None, int | None, bool]:
        """
        The PID namespace that it shows, that of the caller, and whether they are the same one. The last is known also
        where the first is not.
        """
    def open(self, /, path: SupportsGetItem[int, SupportsIndex]) -> ProcFile:
        """
        An open file in it.
        """
    def open_namespace(self, /, pid: SupportsIndex, path: SupportsGetItem[int, SupportsIndex]) -> ProcFile:
        """
        An open namespace of its process `pid`: at a path below its directory, below its root if the path begins with a
        slash, or that of a socket, as `socket/NUMBER`, for which `pid` is the caller's PID of the process.
        """
    def seen_by(self, /, pid: SupportsIndex, path: SupportsGetItem[int, SupportsIndex]) -> Proc:
        """
        The proc that its process `pid` finds at `path`.
        """

@final
class ProcFile:
    """
    An open file of a proc, which is closed with the last reference to it: no signal can come between.
    """
    def fileno(self, /) -> int:
        """
        Its descriptor, which remains its own.
        """

@final
class Relation:
    """
    A namespace and its relations; None where there is none, or where the caller may not know it.
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
        The user who made the owning user namespace (or this one, if it is a user namespace), as an id in the caller's
        user namespace.
        """
    @property
    def parent(self, /) -> int | None:
        """
        The parent, for user and PID namespaces.
        """

@final
class Request:
    """
    Plans for such requests.
    """
    @staticmethod
    def abort(token: SupportsIndex) -> Plan:
        """
        Kill the process that was started with this token.
        """
    @staticmethod
    def copy(path: bytes, max_bytes: SupportsIndex, any_type: bool) -> Plan:
        """
        Copy a file, at most so many bytes. `any_type` allows other files than regular ones.
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
    def mount_shm(target: bytes) -> Plan:
        """
        A new tmpfs for POSIX shared memory.
        """
    @staticmethod
    def open_own(path: bytes, link: bool) -> Plan:
        """
        Open a file of proc for reading; or, with `link`, a namespace (proc_pid_ns(5)).
        """
    @staticmethod
    def open_proc(path: bytes) -> Plan:
        """
        Open the proc that is mounted on a directory.
        """
    @staticmethod
    def read(path: bytes) -> Plan:
        """
        Read a short file of proc.
        """
    @staticmethod
    def reap(always: bool, now: bool) -> Plan:
        """
        Reap orphans: `always` from now on, `now` those that have ended.
        """
    @staticmethod
    def send_tree(source: bytes, recursive: bool) -> Plan:
        """
        Copy what is mounted at a path, for the caller, who may change its owners.
        """
    @staticmethod
    def socket(family: SupportsIndex, kind: SupportsIndex, protocol: SupportsIndex) -> Plan:
        """
        A socket of the network namespace.
        """
    @staticmethod
    def unmount(target: bytes, flags: SupportsIndex) -> Plan:
        """
        umount2(2).
        """
    @staticmethod
    def write(path: bytes, data: bytes) -> Plan:
        """
        Write a file of proc, in one write(2). Here and below the path is without `/proc/`, and the proc is the one that
        was mounted before any program ran in the box.
        """

@final
class SpecRead:
    """
    A `Spec` in our form. Python keeps it with its own, so that each is read once, however often it is carried out.
    """
    def __new__(cls, /, spec: Incomplete) -> SpecRead: ...

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
        The same as text.
        """
    @property
    def calls(self, /) -> list[Call]:
        """
        The system calls with their arguments as values, in order.
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

@disjoint_base
class ThreadScope:
    """
    Other namespaces for the calling thread, as a context manager.
    """
    def __enter__(self, /) -> ThreadScope:
        """
        Enter.
        """
    def __exit__(self, _kind: Any | None, value: BaseException | None, _traceback: Any | None, /) -> None:
        """
        Leave.
        """
    def __new__(
        cls,
        /,
        *,
        unshare: SupportsGetItem[int, str] = ...,
        join: SupportsGetItem[int, tuple[str, SupportsIndex]] = ...,
        mount_proc: bytes | bytearray | None = None,
        private: bool = True,
        loopback: bool = True,
    ) -> ThreadScope:
        """
        One of `unshare` (names), `join` (names with descriptors, which stay the caller's), or `mount_proc`.
        """
    def _prepare(self, /) -> None:
        """
        Called before the thread moves.
        """
    @property
    def active(self, /) -> bool:
        """
        Whether a thread is in it.
        """
    @property
    def thread(self, /) -> int | None:
        """
        The thread that has entered it; nothing before.
        """
    @property
    def tried(self, /) -> bool:
        """
        Whether a thread has entered it, or has tried to.
        """

def block_signals() -> int:
    """
    Block all signals in the calling thread (sigprocmask(2)), and return the mask that it had: bit N - 1 is signal N.
    """

def boot_id() -> str | None:
    """
    What the kernel calls the time since this machine was booted: /proc/sys/kernel/random/boot_id (random(4)). Nothing
    where it cannot be read.
    """

def change_ids(uid: SupportsIndex | None, gid: SupportsIndex | None, leave_groups: bool) -> None:
    """
    Become this user and group, and leave the supplementary groups, where the caller's are not mapped in the user
    namespace that was entered (`Plan.uid`). The calling process has a single thread.
    """

def clone3(flags: SupportsIndex, exit_signal: SupportsIndex, cgroup: SupportsIndex = 0) -> tuple[int, int]:
    """
    clone3(2) without sharing memory, as os.fork: 0 in the child, the PID in the parent, each with the pidfd, which is
    -1 where CLONE_PIDFD is not among the flags. What the flags may be is decided in `nsbox.raw`.
    """

def compile(
    spec: Incomplete, launch: Launch, facts: Facts, cgroup: Cgroup | None = None, join: Incomplete | None = None
) -> Plan:
    """
    Make a plan.
    """

def compile_box(
    spec: Incomplete,
    facts: Facts,
    directory: bytes | None = None,
    cgroup: Cgroup | None = None,
    nested: bool = False,
    outer: Plan | None = None,
) -> Plan:
    """
    Make a plan for a box.
    """

def compile_process(
    spec: Incomplete,
    launch: Launch,
    facts: Facts,
    made_by: Plan,
    token: SupportsIndex = 0,
    quiet: bool = False,
    directory: bytes | None = None,
) -> Plan:
    """
    Make a plan for another process in a box, which was made by the plan `made_by`.
    """

def copied_tree(path: str | PathLike[str], recursive: bool) -> Descriptor:
    """
    Copy what is mounted at `path`, and return its descriptor.

    # Errors
    OSError.
    """

def die_with_parent(signal: SupportsIndex) -> None:
    """
    Have this signal sent to the calling process when its parent ends (PR_SET_PDEATHSIG(2const)).
    """

def facts() -> Facts:
    """
    The facts of the calling thread.
    """

def forget_scopes() -> None:
    """
    In a child of os.fork: its scopes were those of the parent.
    """

def give_up_rights(
    *,
    keyring: bool,
    drop_capabilities: bool,
    lock_mounts: bool,
    no_new_privs: bool,
    landlock: bool,
    seccomp: bool,
    rule: tuple[SupportsGetItem[int, SupportsGetItem[int, SupportsIndex]], SupportsIndex],
) -> None:
    """
    Give up what a hardened payload gives up before its exec, in the same order. `parts` are the fields of
    `nsbox.spec.harden.Hardened` of that name; `rule` is what `landlock_rule` returns.
    """

def id_map_lines(
    single: SupportsIndex | None,
    ranges: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsIndex]],
    own: SupportsIndex,
) -> list[tuple[int, int, int]]:
    """
    The lines of a map (inside, outside, count) for a caller with the id `own`: at most one `single` id (inside, the
    caller's own outside), and `ranges`, which make room for it.
    """

def idmap_tree(tree: SupportsIndex, recursive: bool, user_namespace: SupportsIndex) -> None:
    """
    Change the owners of files in a copy that is mounted nowhere yet to what `user_namespace` maps them to. No mount that
    is made in the copy appears elsewhere.

    # Errors
    OSError.
    """

def in_foreign_mounts() -> bool:
    """
    Whether the calling thread is in a mount namespace that a scope has joined, or in a copy of one: other programs may
    have arranged the files there.
    """

def is_child_subreaper() -> bool:
    """
    Whether it does (PR_GET_CHILD_SUBREAPER(2const)).
    """

def keep_capabilities() -> None:
    """
    Put every permitted capability into the inheritable and ambient sets, so that they survive an exec
    (capabilities(7)).
    """

def kinds() -> list[Kind]:
    """
    The table, for the Python side.
    """

def landlock_rule(spec: Incomplete, plan: Plan) -> tuple[list[bytes], int]:
    """
    What the domain lets through: the paths below which files can be changed, and LANDLOCK_SCOPE_*. For a process that
    nsbox-init does not start, such as a task of an executor, in the box of a plan.
    """

def list_queues(fd: SupportsIndex) -> list[tuple[bytes, int, int, int, bytes | None]] | None:
    """
    The POSIX message queues in an mqueue that is mounted somewhere; None if it cannot be listed. The descriptor stays
    the caller's.
    """

def mount(
    source: bytes | bytearray | None,
    target: bytes | bytearray,
    fstype: bytes | bytearray | None = None,
    flags: SupportsIndex = 0,
    data: bytes | bytearray | None = None,
) -> None:
    """
    mount(2).
    """

def mount_flags() -> list[MountFlag]:
    """
    Every flag of mount(2), mount_setattr(2) and umount2(2), in this order.
    """

def namespace_relations(
    proc: Proc, handles: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsGetItem[int, SupportsIndex]]]
) -> list[Relation]:
    """
    Find the relations of namespaces of processes in a proc, and of their parents and owners. Handles that no longer
    lead to the namespace are left out.
    """

def open_box(plan: Plan, outer: Box | None = None) -> Box:
    """
    Make a box by `plan`, and return when it waits for requests. `outer` is the box in which it is made.
    """

def open_proc(path: SupportsGetItem[int, SupportsIndex], pid_namespace: SupportsIndex | None = None) -> Proc:
    """
    Open the proc at `path`. `pid_namespace` is a descriptor of the PID namespace that it shows, where that is known; the
    descriptor stays the caller's.
    """

def open_proc_of(pid: SupportsIndex) -> Proc:
    """
    Open a proc of the PID namespace of process `pid` of our /proc, whatever it has mounted itself.
    """

def open_socket_namespace(pidfd: SupportsIndex, fd: SupportsIndex) -> int:
    """
    Open the network namespace of a socket of the process of a pidfd: `fd` is its number there. Returned is a descriptor.

    EBADF: the process has no such descriptor. ENOTSOCK: it is no socket. EPERM: the caller may not trace the process
    (ptrace(2)), or has no CAP_NET_ADMIN over the network namespace.
    """

def pivot_root(new_root: bytes | bytearray, put_old: bytes | bytearray) -> None:
    """
    pivot_root(2).
    """

def probe() -> Probe:
    """
    Make the calls.
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

def run(spec: Incomplete, launch: Launch, cgroup: Cgroup | None = None, join: Incomplete | None = None) -> Exit:
    """
    Make the plan, carry it out and wait for the end of everything: `compile`, `spawn` and `wait` in one call.
    """

def set_child_subreaper(on: bool) -> None:
    """
    Whether the calling process becomes the parent of the orphans among its descendants (PR_SET_CHILD_SUBREAPER(2const)).
    """

def set_dumpable(on: bool) -> None:
    """
    Whether a process that has no more rights in our user namespace may trace this one before its next exec
    (PR_SET_DUMPABLE(2const)).
    """

def set_signal_mask(mask: SupportsIndex) -> None:
    """
    Set the signal mask of the calling thread.
    """

def setdomainname(name: bytes | bytearray) -> None:
    """
    setdomainname(2).
    """

def sethostname(name: bytes | bytearray) -> None:
    """
    sethostname(2).
    """

def setns(fd: SupportsIndex, nstype: SupportsIndex = 0) -> None:
    """
    setns(2): move the calling thread into a namespace, or into those of a process.
    """

def shed_privileges(keep_caps: bool, no_new_privs: bool) -> None:
    """
    Drop the privileges that a payload does not have. With `no_new_privs` no exec grants any. A process that is not root
    drops all capabilities, unless `keep_caps`: entering a user namespace has given it all of them, and an exec keeps
    them for root, or if they are ambient (capabilities(7)).
    """

def spawn(
    plan: Plan, after_clone: Any | None = None, encoded: SupportsGetItem[int, SupportsIndex] | None = None
) -> Child:
    """
    Carry out `plan` until its payload runs.

    `after_clone` is called without arguments as soon as nsbox-init has its own copies of the caller's descriptors.
    `encoded` replaces the bytes that nsbox-init is given: for tests of how it refuses damaged plans.
    """

def step_names() -> list[str]:
    """
    All names, for the Python side.
    """

def this_process() -> int:
    """
    A number that no process has of which this one is a copy, or which is a copy of this one.
    """

def umount2(target: bytes | bytearray, flags: SupportsIndex = 0) -> None:
    """
    umount2(2).
    """

def unshare(flags: SupportsIndex) -> None:
    """
    unshare(2): move the calling thread.
    """
