"""What a caller can change and see in a box: requests to its nsbox-init, which is in the namespaces."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nsbox import _core
from nsbox.errors import ClosedError, NsboxError, SpawnError, SpawnPermissionError, SpecError, UnsupportedError
from nsbox.records.processes import NamespaceIds
from nsbox.records.steps import StepResult, data_of
from nsbox.spec.kinds import KINDS, Namespaces
from nsbox.spec.paths import path_of
from nsbox.start.ending import await_end
from nsbox.start.launch import Argument

if TYPE_CHECKING:
    from socket import socket as Socket  # noqa: N812 - `socket` is the method here

    from nsbox.box.popen import BoxConnection
    from nsbox.namespaces.handle import Namespace
    from nsbox.records.ipc import IpcKind
    from nsbox.seeing.ipc import IpcTable
    from nsbox.seeing.layer import WrittenFiles
    from nsbox.seeing.mounts import MountTable
    from nsbox.seeing.namespaces import NamespaceTable
    from nsbox.seeing.proc import View
    from nsbox.seeing.processes import ProcessTable
    from nsbox.seeing.tree import ProcessTree
    from nsbox.spec.spec import Spec

__all__ = ["BoxRequests"]

T = TypeVar("T")

MAX_BYTES = 16 << 20
"""The size in bytes of the largest file that is read without being asked for it by `max_bytes`."""

_PID_MAX_PER_NAMESPACE = (6, 14)
"""The version of Linux."""
_MOUNT_FLAGS = {flag.word: flag.number for flag in _core.mount_flags() if flag.word and flag.name.startswith("MS_")}
_MOUNT_FLAGS["rbind"] = _MOUNT_FLAGS["bind"] | _MOUNT_FLAGS["rec"]


class BoxRequests:
    """The base of `nsbox.Box`: what nsbox-init does and reads in its namespaces at the caller's request."""

    spec: Spec
    _handle: _core.Box
    _returncode: int | None
    """How nsbox-init ended; None while it lives, as far as is known."""
    _later_steps: list[StepResult]
    """What was done since the box was made."""
    _was_killed = False
    """Whether it was killed, after which a wait for its end has a limit."""
    _elsewhere = ""
    """Why there is such a child, and what to do instead, for an error in a child of os.fork."""
    _connection: BoxConnection
    _directory: bytes | None
    """The path of the working directory of its programs; None if it has none."""

    @property
    def pid(self) -> int:
        """The PID of nsbox-init as the caller sees it."""
        return self._handle.pid

    @property
    def pidfd(self) -> int:
        """A pidfd of nsbox-init (pidfd_open(2)); it belongs to this object."""
        return self._handle.pidfd

    @property
    def plan(self) -> _core.Plan:
        """The steps by which the box was made."""
        return self._handle.plan

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names of its new namespaces."""
        return tuple(self._handle.plan.namespaces)

    @property
    def alive(self) -> bool:
        """Whether nsbox-init, and so the box, is alive."""
        if self._returncode is None and (end := self._handle.wait(0)):
            self._returncode = end.returncode
        return self._returncode is None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until nsbox-init has ended.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            The exit status of nsbox-init, negative for a signal.

        Raises:
            TimeoutError: when it is still alive.
            NotEndedError: when it was killed, and is still alive long after.
        """
        if self._returncode is None:
            limited = timeout is None and self._was_killed
            end = await_end(self._handle.wait, self.pid) if limited else self._handle.wait(timeout)
            if end is None:
                raise TimeoutError(f"{self!r} has not ended in {timeout} seconds")
            self._returncode = end.returncode
        return self._returncode

    # Changing it

    def mount_proc(self, target: Argument = "/proc") -> StepResult:
        """Mount a new proc, which shows the PID namespace of the box (proc(5)).

        Raises:
            SpecError: for a box without a mount namespace of its own, where the proc would cover the caller's.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("mount_proc", "mount")
        path = path_of("target", target)
        is_elsewhere = path == b"/proc" and not (self._directory or b"").startswith(b"/proc")
        return (self._step if is_elsewhere else self._mounted)(_core.Request.mount_proc(path))

    def mount_shm(self, target: Argument = "/dev/shm") -> StepResult:
        """Mount an empty file system for POSIX shared memory and semaphores (shm_overview(7), tmpfs(5)).

        They are files in ``/dev/shm``, and not part of an IPC namespace. A box with a new IPC namespace still shares
        them with the caller until it has a file system of its own there. `nsbox.Tmpfs` does the same for a single
        program, and can limit the size: ``nsbox.run(..., mounts=[Tmpfs("/dev/shm", size=2**26)])``.

        Raises:
            SpecError: for a box without a mount namespace of its own.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("mount_shm", "mount")
        return self._mounted(_core.Request.mount_shm(path_of("target", target)))

    def mount(
        self,
        source: Argument | None,
        target: Argument,
        fstype: str | None = None,
        flags: str = "",
    ) -> StepResult:
        """Mount a file system or directory in the box (mount(2)).

        Args:
            source: What to mount; for a bind mount a path in the box.
            target: The directory to mount it on.
            fstype: The type of the file system.
            flags: Words separated by commas, one for each flag of mount(2): ``ro``, ``nosuid``, ``nodev``, ``noexec``,
                ``remount``, ``bind``, ``move``, ``rec``, ``private``, ``slave``, ``shared``, ``unbindable``,
                ``noatime`` and so on; ``rbind`` is ``bind,rec``.

        Raises:
            SpecError: for unknown flags, and for a box without a mount namespace of its own.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("mount", "mount")
        number = 0
        for word in flags.replace(",", " ").split():
            if word not in _MOUNT_FLAGS:
                raise SpecError(f"flags: {word!r} is none of {', '.join(_MOUNT_FLAGS)}")
            number |= _MOUNT_FLAGS[word]
        kind = None if fstype is None else path_of("fstype", fstype)
        return self._mounted(
            _core.Request.mount(
                None if source is None else path_of("source", source), path_of("target", target), kind, number
            )
        )

    def unmount(self, target: Argument, *, detach: bool = False) -> StepResult:
        """Remove a mount in the box (umount(2)).

        Args:
            target: The directory on which it is mounted.
            detach: Whether it is removed at once, even if it is in use (MNT_DETACH).

        Raises:
            SpecError: for a box without a mount namespace of its own.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("unmount", "mount")
        return self._mounted(_core.Request.unmount(path_of("target", target), 2 if detach else 0))

    @property
    def hostname(self) -> str:
        """The host name in the box (uts_namespaces(7)). It can be set if the box has a UTS namespace of its own."""
        return self._read(b"sys/kernel/hostname")

    @hostname.setter
    def hostname(self, name: str) -> None:
        self._needs("hostname", "uts")
        self._step(_core.Request.hostname(os.fsencode(name)))

    @property
    def domainname(self) -> str:
        """The NIS domain name in the box. It can be set if the box has a UTS namespace of its own."""
        return self._read(b"sys/kernel/domainname")

    @domainname.setter
    def domainname(self, name: str) -> None:
        self._needs("domainname", "uts")
        self._step(_core.Request.domainname(os.fsencode(name)))

    @property
    def pid_max(self) -> int:
        """One more than the highest PID (proc_sys_kernel(5)). It can be set in a PID namespace of its own."""
        return int(self._read(b"sys/kernel/pid_max"))

    @pid_max.setter
    def pid_max(self, value: int) -> None:
        self._needs("pid_max", "pid")
        if _core.facts().kernel < _PID_MAX_PER_NAMESPACE:
            raise UnsupportedError(
                "pid_max: on this kernel it is a setting of the whole machine; each PID namespace has its own since "
                "Linux 6.14"
            )
        if type(value) is not int:
            raise SpecError(f"pid_max: expected a number, got {value!r}")
        self._step(_core.Request.write(b"sys/kernel/pid_max", str(value).encode()))

    @property
    def loopback(self) -> bool:
        """Whether the loopback interface is up. It can be brought up in a network namespace of its own."""
        with self._open_own("self/net/fib_trie") as file:
            return b"127.0.0.1" in file.read()

    @loopback.setter
    def loopback(self, up: bool) -> None:
        self._needs("loopback", "net")
        if up is not True:
            raise SpecError("loopback: the only value is True, which brings the interface up")
        self._step(_core.Request.loopback())

    def open(self, path: Argument, *, max_bytes: int = MAX_BYTES, any_type: bool = False) -> Any:
        """Open a copy of a file of the box for reading, as a binary file.

        A child of nsbox-init looks the path up and reads the file, so in ``/proc`` it shows what the box sees, and
        ``/proc/self`` is that child. No symbolic link leads out of the root of the box, and the links of ``/proc`` that
        are no paths, such as ``/proc/1/root``, are not followed (openat2(2)). The copy is in the memory of the caller's
        cgroup. The caller never has the file itself: a program in the box may serve it (fuse(4)), and then reading it,
        or closing it, may never end.

        Args:
            path: The file.
            max_bytes: The largest size in bytes; a larger file is refused.
            any_type: Whether it may be something else than a regular file, such as a FIFO or a device. A FIFO without
                a writer reads as empty.

        Raises:
            SpecError: when `max_bytes` is no number of bytes.
            SpawnError: when it cannot be read: with ``errno.EFBIG`` if it is larger, with ``errno.ETIMEDOUT`` if the
                file system does not reply for 15 seconds.
            ClosedError: when the box has ended.
        """
        if type(max_bytes) is not int or not 0 <= max_bytes < 1 << 63:
            raise SpecError(f"max_bytes: expected a number of bytes, got {max_bytes!r}")
        return self._fetch(_core.Request.copy(path_of("path", path), max_bytes, any_type)).file()

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> Socket:
        """Make a socket in the network namespace of the box, for use by the caller.

        nsbox-init makes it. A socket stays in the network namespace in which it was made, whichever process uses it
        (network_namespaces(7)). So the caller can connect to a server in the box, or serve there, without entering it.

        Args:
            family: As for `socket.socket`; by default AF_INET.
            type: As for `socket.socket`; by default SOCK_STREAM.
            proto: As for `socket.socket`; by default 0.

        Raises:
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        import socket  # noqa: PLC0415 - few callers need it

        family = socket.AF_INET if family == -1 else family
        type = socket.SOCK_STREAM if type == -1 else type
        proto = 0 if proto == -1 else proto
        made: Socket = self._fetched(_core.Request.socket(family, type, proto)).socket(family, type, proto)
        return made

    def namespace(self, kind: str) -> Namespace:
        """Open one of its namespaces. nsbox-init opens it, because only root may read that process's links in /proc.

        A box itself is a target for `nsbox.enter`, `nsbox.setns` and the option ``join``.

        Args:
            kind: A kind of namespace, such as ``"net"``.

        Returns:
            A new handle, which belongs to the caller.

        Raises:
            SpecError: for what is no kind.
            SpawnError: when it cannot be opened.
            ClosedError: when the box has ended.
        """
        if kind not in KINDS:
            raise SpecError(f"kind: {kind!r} is none of {', '.join(KINDS)}")
        # Imported only here: it imports multiprocessing.
        from nsbox.namespaces.handle import Namespace  # noqa: PLC0415

        link = f"self/ns/{KINDS[kind].link}".encode()
        return Namespace(self._fetched(_core.Request.open_own(link, True)))

    # Looking at it

    @property
    def namespace_ids(self) -> NamespaceIds:
        """The ids of its namespaces, new or not; None for those that nsbox-init does not find, for lack of a proc.

        Raises:
            ClosedError: when the box has ended.
        """
        found = {}
        for kind in KINDS.values():
            with contextlib.suppress(SpawnError), self._open_own(f"self/ns/{kind.link}", link=True) as file:
                found[kind.name] = os.fstat(file.fileno()).st_ino
        return NamespaceIds(**found)

    def changes(self, max_files: int | None = None) -> WrittenFiles:
        """Return the files that its programs have created, changed and deleted in a root that is an `Overlay`.

        They stay readable when the box has ended: ``box.changes().keep(DIRECTORY)`` copies them.

        Args:
            max_files: The number of files to read at most; by default 100,000.

        Raises:
            SpecError: when the root is no overlay.
            NsboxError: when there are more files.
        """
        from nsbox.seeing.layer import MAX_FILES, layer_of  # noqa: PLC0415 - few boxes have such a root

        return layer_of(self.spec, self._handle.layer).files(MAX_FILES if max_files is None else max_files)

    def ps(self, *, view: View = "namespace", fields: str | Iterable[str] | None = None) -> ProcessTable:
        """Return the processes of its PID namespace, with their PIDs inside; see `nsbox.ps`.

        Args:
            view: ``"namespace"`` for all of them, also before a proc is mounted in the box; ``"proc"`` for what its
                ``/proc`` shows, and so a ``ps`` inside. Programs in the box choose what is mounted there, so this is no
                evidence.
            fields: The attributes to read.

        Raises:
            SpawnError: when no proc can be read.
            ClosedError: when the box has ended.
        """
        from nsbox.seeing.processes import ps  # noqa: PLC0415 - few callers need it

        return self._look(view, functools.partial(ps, fields=fields))

    def pstree(self, *, view: View = "namespace", threads: bool = True) -> ProcessTree:
        """Return the same processes as a tree; see `nsbox.pstree`.

        Raises:
            SpawnError: when no proc can be read.
            ClosedError: when the box has ended.
        """
        from nsbox.seeing.tree import pstree  # noqa: PLC0415 - few callers need it

        return self._look(view, functools.partial(pstree, threads=threads))

    def lsns(self, *, kinds: Namespaces | None = None) -> NamespaceTable:
        """Return the namespaces that its processes are in or refer to; see `nsbox.lsns`.

        Raises:
            SpawnError: when no proc can be read.
            ClosedError: when the box has ended.
        """
        from nsbox.seeing.namespaces import lsns  # noqa: PLC0415 - few callers need it

        return self._look("namespace", functools.partial(lsns, kinds=kinds))

    def mounts(self) -> MountTable:
        """Return its mounts; see `nsbox.mounts`.

        Raises:
            ClosedError: when the box has ended.
        """
        from nsbox.seeing.mounts import mounts  # noqa: PLC0415 - few callers need it

        with self._in_use():
            return mounts(self)

    def ipcs(self) -> IpcTable:
        """Return the System V objects and POSIX queues of its IPC namespace; see `nsbox.ipcs`.

        Creators are PIDs of the box; owners are ids of the caller's user namespace. If an ordinary user's box has no
        mount namespace of its own, its POSIX queues cannot be read.

        Raises:
            SpawnError: when nsbox-init cannot read them.
            ClosedError: when the box has ended.
        """
        from nsbox.seeing.ipc import table_of  # noqa: PLC0415 - few callers need it
        from nsbox.seeing.target import pid_of  # noqa: PLC0415 - few callers need it

        texts: dict[IpcKind, bytes | None] = {}
        kinds: tuple[IpcKind, ...] = ("shm", "sem", "msg")
        for kind in kinds:
            with self._open_own(f"sysvipc/{kind}") as file:
                texts[kind] = file.read()
        try:
            mqueue = self._fetch(_core.Request.detached(b"mqueue"))
        except SpawnPermissionError:
            queues = None
        else:
            queues = _core.list_queues(_fd_of(mqueue))
        return table_of(texts, queues, pid_of(self, "self"))

    def _look(self, view: View, read: Callable[..., T]) -> T:
        """Read a proc of nsbox-init, or from outside if it cannot make one.

        The init of an ordinary user's box without a mount namespace cannot make a proc, not even a detached one.
        """
        try:
            return read(proc=self._open_proc(view))
        except SpawnPermissionError:
            if view != "namespace":
                raise
            return read(of=self)

    @contextlib.contextmanager
    def _proc(self, view: View) -> Iterator[str]:
        """Give the path of a proc, valid in the ``with`` block: nsbox-init opens its /proc, or makes a detached one."""
        if view not in ("namespace", "proc"):
            raise SpecError(f"view: expected 'namespace' or 'proc', got {view!r}")
        # Only files of the kernel are safe to read: another file may be endless, or a pipe without a writer.
        plan = _core.Request.open_proc(b"/proc") if view == "proc" else _core.Request.detached(b"proc")
        found = self._fetch(plan)
        yield f"/proc/thread-self/fd/{_fd_of(found)}"

    def _pids_in_its_proc(self) -> list[int]:
        """Return the PIDs of nsbox-init as the proc on /proc shows them; none if that shows it not, or is no proc."""
        try:
            found = self._perform(_core.Request.open_proc(b"/proc"))
        except SpawnError:
            return []
        return [int(pid) for pid in bytes(found.data or b"").split() if pid not in (b"0", b"-1")]

    def _open_proc(self, view: View) -> _core.Proc:
        """Open a proc for a reader of `nsbox.seeing` that may not open the one of nsbox-init by itself."""
        with self._proc(view) as path:
            if view == "proc" or "pid" not in self.namespaces:
                return _core.open_proc(path.encode())
            # What is in a proc does not show of which PID namespace it is, if no process there may be traced.
            with self._fetched(_core.Request.open_own(b"self/ns/pid", True)) as namespace:
                return _core.open_proc(path.encode(), namespace.fileno())

    # Requests

    def _needs(self, argument: str, kind: str) -> None:
        if kind not in self.namespaces:
            letter = KINDS[kind].letter
            raise SpecError(f"{argument}: the box has no {kind} namespace of its own; make it by Box({letter!r})")

    def _mounted(self, plan: _core.Plan) -> StepResult:
        """Do the same for a plan that mounts or unmounts: from then on the working directory is looked up anew."""
        result = self._step(plan)
        self._connection.directory = self._directory
        return result

    def _step(self, plan: _core.Plan) -> StepResult:
        """Have nsbox-init carry out a plan of one step, and add that to the steps of the box, also if it fails."""
        (step,) = plan.steps

        def result(errno: int, microseconds: float | None) -> StepResult:
            done = StepResult(
                step.name, step.actor, step.call, step.manual, step.why, errno, microseconds, data_of(step.calls)
            )
            self._later_steps.append(done)
            return done

        try:
            return result(0, self._perform(plan).nanoseconds / 1000)
        except SpawnError as error:
            result(error.errno or 0, None)
            raise

    def _perform(self, plan: _core.Plan) -> _core.Outcome:
        with self._in_use():
            return self._handle.perform(plan)

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Raise ClosedError in place of the failures of a box that has ended."""
        self._check_own()
        if not self.alive:
            raise ClosedError(f"{self!r} cannot be used any more")
        try:
            yield
        except SpawnError as error:
            if error.step == "request" and not self._handle.is_stopped:
                with contextlib.suppress(TimeoutError):
                    self.wait(1)
                raise ClosedError(f"{self!r} ended meanwhile") from None
            raise

    def _check_own(self) -> None:
        if not self._handle.is_own:
            raise ClosedError(f"{self!r} cannot be used in a child of os.fork{self._elsewhere}")

    def _read(self, path: bytes) -> str:
        data = self._perform(_core.Request.read(path)).data
        return bytes(data or b"").decode(errors="surrogateescape").rstrip("\n")

    def _open_own(self, path: str, *, link: bool = False) -> Any:
        """Open a file of the proc that nsbox-init keeps from before any program ran, which might mount over /proc."""
        return self._fetch(_core.Request.open_own(path.encode(), link)).file()

    def _fetch(self, plan: _core.Plan) -> _core.Outcome:
        """Have nsbox-init open a file or socket. The returned object owns the descriptor."""
        found = self._perform(plan)
        if found.fd is None:
            raise NsboxError("nsbox-init sent no descriptor: too many may be open in this process (RLIMIT_NOFILE)")
        return found

    def _fetched(self, plan: _core.Plan) -> _core.Descriptor:
        """Do the same, and return the descriptor itself."""
        return cast("_core.Descriptor", self._fetch(plan).take())


def _fd_of(found: _core.Outcome) -> int:
    return cast("int", found.fd)
