"""Processes and threads at the moment of reading."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from nsbox.records import names

__all__ = [
    "ALWAYS",
    "CLASSES",
    "SOURCES",
    "SOURCE_OF",
    "Capabilities",
    "NamespaceIds",
    "Process",
    "Reading",
    "Thread",
    "command",
]


class NamespaceIds(NamedTuple):
    """The namespaces of a process or thread, as inode numbers (namespaces(7)).

    None where it could not be read: without the permission to trace the process (ptrace(2), PTRACE_MODE_READ), and for
    most namespaces of a zombie. None does not mean that the namespace is the same as another one.
    """

    user: int | None = None
    mount: int | None = None
    pid: int | None = None
    ipc: int | None = None
    uts: int | None = None
    net: int | None = None
    cgroup: int | None = None
    time: int | None = None


class Capabilities(NamedTuple):
    """The capability sets of a process, a bit for each capability (capabilities(7))."""

    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What the records of one pass over a proc have in common: what their numbers mean. None stands for unknown.

    Attributes:
        pid_namespace: The PID namespace that the proc showed, as an inode number. All PIDs of the records are of it.
        outside: The PID namespace of the process that read. `Process.pid_outside` is of it.
        boot_id: The kernel's name for the time since it was booted (random(4), boot_id). On another machine, and after
            the next boot, the numbers mean nothing.
        boottime_offset: The offset of that process's clock, in nanoseconds (time_namespaces(7)). Start times in a proc
            include the offset of the process that reads them.
        received: Whether a program in a box has sent the records, which may have made them up.
    """

    pid_namespace: int | None = None
    outside: int | None = None
    boot_id: str | None = None
    boottime_offset: int | None = None
    received: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of a process, other than its first one.

    Attributes:
        tid: Its id, in the PID namespace of the proc that was read.
        comm: Its own name, any bytes (proc_pid_comm(5)).
        namespaces: Its namespaces: a thread can unshare most kinds for itself.
    """

    tid: int
    comm: bytes
    namespaces: NamespaceIds


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class Process:
    """A process at the moment of reading.

    An attribute that was not requested (`ps`, `fields`) raises AttributeError. One that could not be read is None.

    Attributes:
        reading: Which proc was read, and by whom.
        pid: Its PID, in the PID namespace of the proc that was read (`pid_namespace`).
        pid_outside: Its PID in the PID namespace of the process that read, which kill(2) and other functions of that
            process take. None if it is not in that namespace, or if it could not be found out.
        ppid: Its parent's PID; 0 if the parent is outside of that namespace.
        pgid: Its process group.
        sid: Its session.
        tty_nr: Its controlling terminal as a device number, 0 without one.
        tpgid: The foreground process group of that terminal, -1 without one.
        state: One letter: R running, S sleeping, D in an uninterruptible wait, T stopped, t traced, Z zombie, I idle.
        nice: From -20 to 19.
        owner: The owner of its directory in /proc: the effective user, or root while it is not dumpable (proc(5)).
        thread_count: How many threads it has, the first one included.
        comm: Its name, any bytes, at most 15 for a user's process (proc_pid_comm(5)).
        kernel_thread: Whether it is a thread of the kernel.
        start_ticks: Its start, in clock ticks after boot (sysconf(3), _SC_CLK_TCK).
        start_seconds: Its start, in seconds after boot.
        utime: CPU time in user mode, in seconds.
        stime: CPU time in kernel mode, in seconds.
        rss: Bytes in memory.
        vsize: Bytes of virtual memory.
        pids: Its PIDs, from the namespace of the proc inwards; the last is its own getpid(2) (NSpid,
            proc_pid_status(5)).
        uids: Its real, effective, saved and file system user id, as ids of the caller's user namespace.
        gids: Its group ids, in the same way.
        groups: Its supplementary groups.
        locked: Bytes locked into memory (mlock(2)).
        capabilities: Its capability sets, which count in its own user namespace.
        no_new_privs: Whether no exec can give it more privileges (PR_SET_NO_NEW_PRIVS(2const)).
        seccomp: Its seccomp mode: 0 for none, 1 for strict mode, 2 with a filter (seccomp(2)).
        cmdline: Its arguments; empty for a thread of the kernel and for a zombie.
        namespaces: Its namespaces.
        pid_for_children: The PID namespace of its future children, if that exists already.
        time_for_children: The time namespace of its future children.
        namespace_descriptors: Its open descriptors of namespaces: number, kind and id of each.
        socket_namespaces: Its open sockets: number of each, and id of its network namespace, which need not be that of
            the process. Without CAP_NET_ADMIN over that namespace, or the right to trace the process, a socket is left
            out (socket(7), pidfd_getfd(2)).
        exe: The file it executes, as a path in its own mount namespace.
        cwd: Its working directory.
        cgroup: Its control group, as a path in the caller's cgroup namespace (cgroups(7)).
        label: Its label of the Linux security module (proc_pid_attr(5)).
        threads: Its other threads; empty if they were not requested.
    """

    reading: Reading
    pid: int
    pid_outside: int | None
    ppid: int
    pgid: int
    sid: int
    tty_nr: int
    tpgid: int
    state: str
    nice: int
    owner: int
    thread_count: int
    comm: bytes
    kernel_thread: bool
    start_ticks: int
    start_seconds: float
    utime: float
    stime: float
    rss: int
    vsize: int
    pids: tuple[int, ...]
    uids: tuple[int, int, int, int] | None
    gids: tuple[int, int, int, int] | None
    groups: tuple[int, ...]
    locked: int
    capabilities: Capabilities | None
    no_new_privs: bool | None
    seccomp: int | None
    cmdline: tuple[bytes, ...]
    namespaces: NamespaceIds
    pid_for_children: int | None
    time_for_children: int | None
    namespace_descriptors: tuple[tuple[int, str, int], ...] | None
    socket_namespaces: tuple[tuple[int, int], ...] | None
    exe: bytes | None
    cwd: bytes | None
    cgroup: bytes | None
    label: bytes | None
    threads: tuple[Thread, ...]

    def __init__(self, **values: Any) -> None:
        """Set the attributes that are known; the others count as not requested."""
        for name, value in ({"threads": ()} | values).items():
            object.__setattr__(self, name, value)

    if not TYPE_CHECKING:
        # Hidden from type checkers: with it, they would accept every misspelt name.
        def __getattr__(self, name: str) -> NoReturn:
            """Raise an error that says why the attribute is missing. Called only for attributes that are not set."""
            if name in Process.__slots__:
                raise AttributeError(f"{name} was not requested: ps(fields=...)", name=name, obj=self)
            raise AttributeError(f"a process has no attribute {name!r}", name=name, obj=self)

    def _asdict(self) -> dict[str, Any]:
        """Return all attributes that are set."""
        return {field.name: getattr(self, field.name) for field in fields(self) if hasattr(self, field.name)}

    def _missing(self) -> list[str]:
        """Return the names of attributes that every pass reads, but that are not set."""
        wanted = ALWAYS - _NOT_IN_OLD_RECORDINGS
        return [field.name for field in fields(self) if field.name in wanted and not hasattr(self, field.name)]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the attributes that are set."""
        return _restored, (self._asdict(),)

    def __eq__(self, other: object) -> bool:
        """Whether the same attributes are set, to equal values."""
        return self._asdict() == other._asdict() if isinstance(other, Process) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of the identity."""
        return hash(self.identity)

    @property
    def identity(self) -> tuple[int, int]:
        """PID and start time: processes that have the same PID one after the other have different start times."""
        return self.pid, self.start_ticks

    @property
    def pid_namespace(self) -> int | None:
        """The PID namespace that its PIDs are of, as an inode number; None if that is not known."""
        reading: Reading | None = getattr(self, "reading", None)
        return reading.pid_namespace if reading else None

    @property
    def uid(self) -> int:
        """Its real user; if that is not known, the owner of its directory."""
        uids = getattr(self, "uids", None)
        return uids[0] if uids else self.owner

    @property
    def user(self) -> str:
        """The name of its effective user, or the number if the user has no name."""
        uids = getattr(self, "uids", None)
        return names.user(uids[1] if uids else self.owner)

    @property
    def tty(self) -> str | None:
        """The name of its controlling terminal, such as ``pts/0``."""
        return names.terminal(self.tty_nr)

    @property
    def name(self) -> str:
        """Its name as text; unprintable bytes are escaped as in pstree."""
        return names.printable(self.comm)

    @property
    def command(self) -> str:
        """Its command line in one line, as in the last column of ps."""
        return command(self)

    def __repr__(self) -> str:
        """Return its PID, its name and its state; for a PID of another namespace also that, and the PID outside."""
        elsewhere, namespace = "", self.pid_namespace
        if namespace is not None and namespace != self.reading.outside:
            elsewhere = f" of PID namespace {namespace}"
            if self.pid_outside is not None:
                elsewhere += f", {self.pid_outside} outside"
        return f"<process {self.pid} {self.name} ({self.state}){elsewhere}>"


CLASSES = (Process, Thread, NamespaceIds, Capabilities)
"""The classes that the core makes records of."""


def _restored(values: dict[str, Any]) -> Process:
    return Process(**values)


SOURCES = {
    "pids": ("pids",),
    "status": ("uids", "gids", "groups", "locked", "capabilities", "no_new_privs", "seccomp", "uid", "user"),
    "cmdline": ("cmdline", "command"),
    "namespaces": ("namespaces",),
    "for_children": ("pid_for_children", "time_for_children"),
    "descriptors": ("namespace_descriptors",),
    "sockets": ("socket_namespaces",),
    "exe": ("exe",),
    "cwd": ("cwd",),
    "cgroup": ("cgroup",),
    "label": ("label",),
    "threads": ("threads",),
}
"""What is read besides stat, files, links or directories, and the attributes that come from it."""

SOURCE_OF = {name: source for source, names in SOURCES.items() for name in names}
ALWAYS = {name for name in Process.__dict__ if not name.startswith("_")} - SOURCE_OF.keys()
"""The attributes that come from stat, which every pass reads."""
_NOT_IN_OLD_RECORDINGS = {"reading", "pid_outside"}


def command(process: Process) -> str:
    """Return the command line of a process in one line: ``[name]`` if it has none, as in ps."""
    if process.state == "Z":
        return f"[{_readable(process.comm)}] <defunct>"
    cmdline = getattr(process, "cmdline", ())
    if not cmdline:
        return f"[{_readable(process.comm)}]"
    return _readable(b" ".join(unpadded(cmdline))).rstrip()


def unpadded(cmdline: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the arguments without what pads them at the end.

    A process that sets its title writes over its arguments (setproctitle(3bsd)), and fills the rest of their memory
    with null bytes, which are read as empty arguments, or with blanks.
    """
    count = len(cmdline)
    while count and not cmdline[count - 1]:
        count -= 1
    return (cmdline[0].rstrip(b" "),) if count == 1 else cmdline[:count]


def _readable(line: bytes) -> str:
    """Return text in which everything unprintable is a question mark, so that a name cannot move the cursor."""
    text = line.decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "?")
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
