"""The steps of nsenter(1) for a request, in its order: `explain` prints them, and `nsbox nsenter` carries them out.

The process that was started joins the namespaces itself and becomes the program, as with nsenter(1). All namespaces and
directories are opened first: from inside, many of them cannot be found any more.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import select
import signal
from collections.abc import Iterator

from nsbox import _core, raw
from nsbox._core import Call
from nsbox.command.nsenter.request import FOLLOW, Entry
from nsbox.command.program import KEEP_CAPABILITIES, end_by, exec_step
from nsbox.command.step import CommandStep
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import SpawnError, UnsupportedError
from nsbox.namespaces import target
from nsbox.namespaces.handle import Namespace
from nsbox.spec.capabilities import has_capability
from nsbox.spec.joins import Pidfd
from nsbox.spec.kinds import KINDS
from nsbox.spec.step_names import JOIN_STEPS
from nsbox.start.cgroup import Hierarchy

__all__ = ["entering_steps", "in_own_user_namespace", "joined"]

_ORDER = ("cgroup", "ipc", "uts", "net", "pid", "mount", "time")
_PIDFD_NAMESPACES_SINCE = (6, 11)
_DIRECTORY = ("O_PATH", "O_DIRECTORY")
_step = functools.partial(CommandStep, actor="nsenter")


def joined(entry: Entry) -> dict[str, str | None]:
    """Return the kinds that are joined, as `Entry.kinds`; with --all, without the caller's own user namespace."""
    # The network namespace of a socket comes before any other, as in nsenter(1).
    of_socket: dict[str, str | None] = {} if entry.net_socket is None else {"net": None}
    if not entry.everything:
        return entry.kinds | of_socket
    found = dict.fromkeys(kind for kind in KINDS if os.path.lexists(f"/proc/self/ns/{KINDS[kind].link}"))
    if "user" not in entry.kinds and in_own_user_namespace(entry.target):
        del found["user"]
    return found | entry.kinds | of_socket


def in_own_user_namespace(pid: int) -> bool | None:
    """Return whether a process is in the caller's user namespace; None if the caller cannot see that."""
    try:
        with Namespace.of(pid, "user") as namespace:
            return target.of_this_thread("user") == namespace.identity
    except SpawnError:
        return None


def entering_steps(entry: Entry) -> list[CommandStep]:
    """Return the steps for a request. Nothing is opened yet."""
    kinds = joined(entry)
    files = _Files(entry)
    steps = [*_openings(entry, kinds, files), *_joins(entry, kinds, files), *_directories(entry, files)]
    if entry.join_cgroup:
        steps.append(_step("join cgroup", (Call("write", path="CGROUP/cgroup.procs", buf="0"),), "cgroups(7)",
                           "moves this process, and all that it starts later", files.join_cgroup))  # fmt: skip
    if entry.fork is not False and "pid" in kinds:
        why = "only a child can be in the joined PID namespace; the parent waits"
        steps.append(_step("fork", (Call("clone", flags=("SIGCHLD",)),), "fork(2)", why, _fork))
    steps += _identity(entry, "user" in kinds or entry.user_parent, files)
    if not entry.env:
        return [*steps, exec_step(entry.program, "nsenter")]
    variables = {"file": f"/proc/{entry.target}/environ"}
    return [*steps, exec_step(entry.program, "nsenter", lambda: files.environment, variables)]


def _openings(entry: Entry, kinds: dict[str, str | None], files: _Files) -> Iterator[CommandStep]:
    open_step = functools.partial(_step, "open target")
    if entry.target:
        why = "a descriptor of the process, as another process can get its PID later"
        if entry.inode:
            why += "; its inode is compared with the one given"
        yield open_step((Call("pidfd_open", pid=entry.target, flags=0),), "pidfd_open(2)", why, files.open_process)
    yield from _namespaces(entry, kinds, files)
    if entry.user_parent:
        yield open_step((_parent_of(entry),), "ioctl_nsfs(2)",
                        "the user namespace in which that one was made", files.open_parent)  # fmt: skip
    for name, path in (("root", entry.root), ("cwd", entry.wd)):
        if path is not None:
            shown = path or f"/proc/{entry.target}/{name}"
            yield open_step((_open(shown, *_DIRECTORY),), "open(2)",
                            "before anything is joined, as the path is one of the outside",
                            functools.partial(files.open_directory, name, path))  # fmt: skip
    if entry.env:
        yield open_step((_open(f"/proc/{entry.target}/environ"),), "proc_pid_environ(5)",
                        "the environment with which the target was started", files.read_environment)  # fmt: skip
    if FOLLOW in (entry.uid, entry.gid):
        yield open_step((_open(f"/proc/{entry.target}", *_DIRECTORY),), "proc_pid(5)",
                        "its owner inside is the user of the target",
                        functools.partial(files.open_directory, "", ""))  # fmt: skip
    if entry.join_cgroup:
        yield open_step((_open("CGROUP/cgroup.procs", "O_WRONLY"),), "cgroups(7)",
                        f"of the cgroup in /proc/{entry.target}/cgroup", files.open_cgroup)  # fmt: skip


def _namespaces(entry: Entry, kinds: dict[str, str | None], files: _Files) -> Iterator[CommandStep]:
    open_step = functools.partial(_step, "open target")
    for kind in (*_ORDER, "user"):
        if kind == "net" and entry.net_socket is not None:
            yield open_step(_of_socket(entry.net_socket), "pidfd_getfd(2)", "the network namespace of that socket",
                            functools.partial(files.open_of_socket, entry.net_socket))  # fmt: skip
        elif kind in kinds and (path := kinds[kind]) is not None:
            why = f"the {kind} namespace that is mounted on this file, or to which it links"
            yield open_step((_open(path),), "open(2)", why,
                            functools.partial(files.open_namespace, kind, path))  # fmt: skip
        elif kind in kinds:
            call, manual = _open(f"/proc/{entry.target}/ns/{KINDS[kind].link}"), "namespaces(7)"
            if _core.facts().kernel >= _PIDFD_NAMESPACES_SINCE:
                request = f"PIDFD_GET_{KINDS[kind].link.upper()}_NAMESPACE"
                call = Call("ioctl", fd={"file": f"pid:{entry.target}"}, op=(request,), arg=0)
                manual = "ioctl_pidfd(2)"
            yield open_step((call,), manual, f"the target's {kind} namespace",
                            functools.partial(files.open_namespace, kind, None))  # fmt: skip


def _joins(entry: Entry, kinds: dict[str, str | None], files: _Files) -> Iterator[CommandStep]:
    """Yield the joins. Root has CAP_SYS_ADMIN, which they need, outside; another user only in the user namespace."""
    privileged = has_capability(_core.facts().effective, "CAP_SYS_ADMIN")
    order = [kind for kind in _ORDER if kind in kinds]
    if "user" in kinds or entry.user_parent:
        order.insert(len(order) if privileged else 0, "user")
        if not entry.preserve_credentials:
            yield _step("drop groups", (Call("setgroups", list=[]),), "setgroups(2)",
                        "removes the groups of the outside; root can do that here, another user only inside",
                        files.drop_groups)  # fmt: skip
    for kind in order:
        why = {
            "pid": "for the children, as only they can be in it",
            "mount": "the mounts, the root and the working directory of that namespace",
            "user": "last, as the caller has more rights outside than inside"
            if privileged
            else "first, as the caller has the right to join the others only inside",
        }.get(kind, "as asked")
        shown = kinds.get(kind) or f"/proc/{entry.target}/ns/{KINDS[kind].link}"
        if kind == "user" and entry.user_parent:
            shown = "the parent user namespace"
        if kind == "net" and entry.net_socket is not None:
            shown = f"the network namespace of socket {entry.net_socket}"
        call = Call("setns", fd={"file": shown}, nstype=(KINDS[kind].flag_name,))
        yield _step(JOIN_STEPS[kind], (call,), "setns(2)", why,
                    functools.partial(files.join, kind))  # fmt: skip


def _parent_of(entry: Entry) -> Call:
    """Return the call for ``--user-parent``: the parent of the user namespace, or the owner of the first other one."""
    files = [path for path in (entry.kinds.get("user"), *entry.kinds.values()) if path]
    file = f"/proc/{entry.target}/ns/user" if entry.target and not entry.kinds.get("user") else files[0]
    return Call("ioctl", fd={"file": file}, op=("NS_GET_USERNS",))


def _of_socket(number: int) -> tuple[Call, ...]:
    """Return the calls for ``--net-socket``; a child makes them, as closing a copy of another file can mean a wait."""
    copy = Call("pidfd_getfd", pidfd={"file": "the target"}, targetfd=number, flags=0)
    return copy, Call("ioctl", fd={"file": f"a copy of descriptor {number}"}, op=("SIOCGSKNS",))


def _open(path: str, *flags: str) -> Call:
    return Call("open", path=path, flags=(*(flags or ("O_RDONLY",)), "O_CLOEXEC"))


def _directories(entry: Entry, files: _Files) -> Iterator[CommandStep]:
    if entry.root is not None:
        if entry.wd is None and entry.wdns is None:
            yield _step("remember wd", (_open(".", *_DIRECTORY),), "open(2)",
                        "a new root does not change the working directory",
                        lambda: files.open_directory("cwd", "."))  # fmt: skip
        shown = entry.root or f"/proc/{entry.target}/root"
        calls = Call("fchdir", fd={"file": shown}), Call("chroot", path="."), Call("chdir", path="/")
        yield _step("target root", calls, "chroot(2)", "as asked",
                    files.change_root)  # fmt: skip
    if entry.wdns is not None:
        directory = entry.wdns
        yield _step("chdir", (Call("chdir", path=directory),), "chdir(2)", "a path inside",
                    lambda: os.chdir(directory))  # fmt: skip
    elif entry.wd is not None or entry.root is not None:
        shown = "." if entry.wd is None else entry.wd or f"/proc/{entry.target}/cwd"
        why = "as asked" if entry.wd is not None else "where it was"
        yield _step("target wd", (Call("fchdir", fd={"file": shown}),), "chdir(2)", why, files.change_directory)


def _identity(entry: Entry, user: bool, files: _Files) -> Iterator[CommandStep]:
    becomes_root = user and not entry.preserve_credentials
    uid = 0 if entry.uid is None and becomes_root else entry.uid
    gid = 0 if entry.gid is None and becomes_root else entry.gid
    why = "root inside: an exec by any other user drops the capabilities"
    if gid is not None:
        yield _step("drop groups", (Call("setgroups", list=[]),), "setgroups(2)", "removes all supplementary groups",
                    functools.partial(files.drop_groups, again=True))  # fmt: skip
        yield _step("setgid", (Call("setgid", gid=_shown(gid, entry)),), "setgid(2)",
                    why if entry.gid is None else "as asked",
                    lambda: os.setgid(files.owner.st_gid if gid == FOLLOW else int(gid)))  # fmt: skip
    if uid is not None:
        yield _step("setuid", (Call("setuid", uid=_shown(uid, entry)),), "setuid(2)",
                    why if entry.uid is None else "as asked",
                    lambda: os.setuid(files.owner.st_uid if uid == FOLLOW else int(uid)))  # fmt: skip
    if entry.keep_caps and user:
        yield _step("keep capabilities", KEEP_CAPABILITIES, "capabilities(7)",
                    "otherwise an exec by an ordinary user drops them", _core.keep_capabilities)  # fmt: skip


def _shown(number: int | str, entry: Entry) -> int | dict[str, str]:
    return {"file": f"owner of /proc/{entry.target}"} if number == FOLLOW else int(number)


class _Files:
    """The descriptors that steps open for later steps."""

    def __init__(self, entry: Entry) -> None:
        self._pid, self._inode = entry.target, entry.inode
        self._forks = entry.fork is not False
        self._opened: dict[str, _core.Descriptor] = {}
        self.environment: dict[str, str] = {}
        self._kept_groups = False

    def open_process(self) -> None:
        fd = _core.Descriptor(os.pidfd_open, self._pid)
        if self._inode and os.fstat(fd.fileno()).st_ino != self._inode:
            detail = f"process {self._pid} has another inode than {self._inode}"
            call = Call("pidfd_open", pid=self._pid, flags=0)
            raise spawn_error(errno.ESRCH, "open target", "nsenter", [call], detail)
        self._opened["process"] = fd

    def open_namespace(self, kind: str, path: str | None) -> None:
        with Namespace.of(self._process if path is None else path, kind) as namespace:
            if kind == "pid" and self._forks and namespace.is_dead:
                call = Call("ioctl", op=("NS_GET_PID_FROM_PIDNS",), arg=1)
                raise spawn_error(errno.ESRCH, "join pid", "nsenter", [call], f"PID namespace {namespace.id}")
            self._opened[kind] = target.open_namespace(namespace, kind)

    def open_of_socket(self, number: int) -> None:
        process = self._opened["process"].fileno()
        self._opened["net"] = _core.Descriptor(_core.open_socket_namespace, process, number)

    def open_parent(self) -> None:
        if "user" in self._opened:
            of = self._opened["user"]
        elif self._pid:
            of = target.open_namespace(self._process, "user")
        else:
            of = next(iter(self._opened.values()))
        self._opened["user"] = _core.Descriptor(fcntl.ioctl, of.fileno(), raw.NS_GET_USERNS)

    def open_directory(self, name: str, path: str) -> None:
        opened = target.open_path_directory(path) if path else target.open_directory(self._process, name)
        self._opened[name] = opened

    def read_environment(self) -> None:
        with open(f"{self._directory}/environ", "rb") as file:
            variables = [entry.partition(b"=") for entry in file.read().split(b"\0")]
        self._check_alive()
        # Of several variables with the same name the first one counts.
        for name, equals, value in variables:
            if name and equals:
                self.environment.setdefault(os.fsdecode(name), os.fsdecode(value))

    def open_cgroup(self) -> None:
        directory = Hierarchy.read(self._directory, viewer="/proc/self").directory
        self._check_alive()
        if directory is None:
            raise UnsupportedError("--join-cgroup: the cgroup of the target in version 2 cannot be seen")
        self._opened["cgroup.procs"] = _core.Descriptor(
            os.open, f"{directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC
        )

    def join(self, kind: str) -> None:
        if kind == "user":
            # Root of that user namespace could otherwise trace this process: what waits for the program, and what
            # becomes it up to the exec (ptrace(2)).
            _core.set_dumpable(False)
        _core.setns(self._opened[kind].fileno(), KINDS[kind].flag)
        self._opened.pop(kind).close()

    def drop_groups(self, again: bool = False) -> None:
        try:
            os.setgroups([])
        except PermissionError:
            if again and self._kept_groups:
                raise
            self._kept_groups = True

    def change_root(self) -> None:
        os.fchdir(self._opened["root"])
        os.chroot(".")
        os.chdir("/")

    def change_directory(self) -> None:
        os.fchdir(self._opened["cwd"])

    def join_cgroup(self) -> None:
        os.write(self._opened["cgroup.procs"].fileno(), b"0")

    @property
    def owner(self) -> os.stat_result:
        """The owner of the directory of the target in /proc, by the ids of the current user namespace."""
        return os.fstat(self._opened[""].fileno())

    @property
    def _process(self) -> Pidfd:
        return Pidfd(self._opened["process"].fileno())

    @property
    def _directory(self) -> str:
        return f"/proc/{target.pid_in_proc(self._opened['process'].fileno(), self._pid)}"

    def _check_alive(self) -> None:
        """Raise if the process has ended: then what was read by its PID may be that of another process."""
        if select.select([self._opened["process"]], [], [], 0)[0]:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _fork() -> None:
    """Return in the child. The parent waits, stops when the child stops, and exits as the child did."""
    # While SIGCHLD is ignored, the kernel reaps children by itself, and waitpid(2) fails (wait(2)).
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        return
    while os.WIFSTOPPED(status := os.waitpid(pid, os.WUNTRACED)[1]):
        os.kill(os.getpid(), signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)
    if os.WIFSIGNALED(status):
        end_by(os.WTERMSIG(status))
        raise SystemExit(1)
    raise SystemExit(os.WEXITSTATUS(status))
