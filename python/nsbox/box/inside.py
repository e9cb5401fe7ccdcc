"""The surroundings of a box: what can be changed there, and what can be seen, through its nsbox-init."""

from __future__ import annotations

import contextlib
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from errno import ENOENT
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nsbox import _core
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import NsboxError, SpawnError, SpawnPermissionError, SpecError, UnsupportedError
from nsbox.records.processes import NamespaceIds
from nsbox.records.steps import StepResult, data_of
from nsbox.spec.kinds import KINDS, Namespaces
from nsbox.spec.paths import path_of
from nsbox.start.launch import Argument

if TYPE_CHECKING:
    from socket import socket as Socket  # noqa: N812 - `socket` is the method here

    from nsbox.namespaces.handle import Namespace
    from nsbox.seeing.ipc import IpcTable
    from nsbox.seeing.mounts import MountTable
    from nsbox.seeing.namespaces import NamespaceTable
    from nsbox.seeing.proc import View
    from nsbox.seeing.processes import ProcessTable
    from nsbox.seeing.tree import ProcessTree

__all__ = ["Surroundings"]

T = TypeVar("T")

_PID_MAX_PER_NAMESPACE = (6, 14)
_MOUNT_FLAGS = {
    "ro": 0x1, "nosuid": 0x2, "nodev": 0x4, "noexec": 0x8, "remount": 0x20, "bind": 0x1000, "rbind": 0x5000,
    "move": 0x2000, "private": 0x40000, "slave": 0x80000, "shared": 0x100000, "rec": 0x4000,
}  # fmt: skip


class Surroundings(ABC):
    """The namespaces of a box. What is asked for here is done by nsbox-init, which is in them."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """The PID of nsbox-init as the caller sees it."""

    @property
    @abstractmethod
    def namespaces(self) -> tuple[str, ...]:
        """The names of the new namespaces."""

    @abstractmethod
    def _perform(self, plan: _core.Plan) -> _core.Outcome:
        """Have nsbox-init carry out a plan of one step."""

    @abstractmethod
    def _note(self, step: StepResult) -> None:
        """Remember a step among those of the box."""

    # Changing it

    def mount_proc(self, target: Argument = "/proc") -> StepResult:
        """Mount a new proc, which shows the PID namespace of the box (proc(5)).

        Raises:
            SpecError: without a mount namespace of its own: the proc would cover the caller's.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("mount_proc", "mount")
        return self._errand(_core.Errand.mount_proc(path_of("target", target)))

    def mount_shm(self, target: Argument = "/dev/shm") -> StepResult:
        """Mount an empty file system for POSIX shared memory and semaphores (shm_overview(7), tmpfs(5)).

        They are files in ``/dev/shm``, and no part of an IPC namespace: a box with a new one still shares them with
        the caller until it has a file system of its own there. `nsbox.Tmpfs` does the same for a single program, and
        with a limit: ``nsbox.run(..., mounts=[Tmpfs("/dev/shm", size=2**26)])``.

        Raises:
            SpecError: without a mount namespace of its own.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("mount_shm", "mount")
        return self._errand(_core.Errand.mount_shm(path_of("target", target)))

    def mount(
        self,
        source: Argument | None,
        target: Argument,
        fstype: str | None = None,
        flags: str = "",
    ) -> StepResult:
        """Mount something in the box (mount(2)).

        Args:
            source: What to mount; for a bind mount a path in the box.
            target: Where.
            fstype: The type of the file system.
            flags: Words with commas between: ``ro``, ``nosuid``, ``nodev``, ``noexec``, ``remount``, ``bind``,
                ``rbind``, ``move``, ``private``, ``slave``, ``shared``, ``rec``.

        Raises:
            SpecError: for unknown flags, and without a mount namespace of its own.
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
        return self._errand(
            _core.Errand.mount(
                None if source is None else path_of("source", source), path_of("target", target), kind, number
            )
        )

    def unmount(self, target: Argument, *, detach: bool = False) -> StepResult:
        """Unmount something in the box (umount(2)).

        Args:
            target: Where it is mounted.
            detach: Whether it goes away at once, even if it is in use (MNT_DETACH).

        Raises:
            SpecError: without a mount namespace of its own.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("unmount", "mount")
        return self._errand(_core.Errand.unmount(path_of("target", target), 2 if detach else 0))

    @property
    def hostname(self) -> str:
        """The host name in the box (uts_namespaces(7)). It can be set if the box has a UTS namespace of its own."""
        return self._read(b"sys/kernel/hostname")

    @hostname.setter
    def hostname(self, name: str) -> None:
        self._needs("hostname", "uts")
        self._errand(_core.Errand.hostname(os.fsencode(name)))

    @property
    def domainname(self) -> str:
        """The NIS domain name in the box. It can be set if the box has a UTS namespace of its own."""
        return self._read(b"sys/kernel/domainname")

    @domainname.setter
    def domainname(self, name: str) -> None:
        self._needs("domainname", "uts")
        self._errand(_core.Errand.domainname(os.fsencode(name)))

    @property
    def pid_max(self) -> int:
        """One more than the highest PID (proc_sys_kernel(5)). It can be set in a PID namespace of its own."""
        return int(self._read(b"sys/kernel/pid_max"))

    @pid_max.setter
    def pid_max(self, value: int) -> None:
        self._needs("pid_max", "pid")
        if _core.facts().kernel < _PID_MAX_PER_NAMESPACE:
            raise UnsupportedError(
                "pid_max: each PID namespace has its own since Linux 6.14; this one is the machine's"
            )
        if type(value) is not int:
            raise SpecError(f"pid_max: expected a number, got {value!r}")
        self._errand(_core.Errand.write(b"sys/kernel/pid_max", str(value).encode()))

    @property
    def loopback(self) -> bool:
        """Whether the loopback interface is up. It can be brought up in a network namespace of its own."""
        with self._open_own("self/net/fib_trie") as file:
            return b"127.0.0.1" in file.read()

    @loopback.setter
    def loopback(self, up: bool) -> None:
        self._needs("loopback", "net")
        if up is not True:
            raise SpecError("loopback: can only be brought up, by True")
        self._errand(_core.Errand.loopback())

    def open(self, path: Argument) -> Any:
        """Open a file for reading, as a binary file; nsbox-init opens it, so /proc shows the view of the box.

        Raises:
            SpawnError: when it cannot be opened.
            ClosedError: when the box has ended.
        """
        return self._fetch(_core.Errand.open(path_of("path", path))).file()

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> Socket:
        """Make a socket in the network namespace of the box, for the caller: nsbox-init makes it.

        A socket stays in the network namespace in which it was made, whoever uses it (network_namespaces(7)). So the
        caller can talk to a server in the box, or be one there, without entering it.

        Args:
            family: As for `socket.socket`; by default AF_INET.
            type: As there; by default SOCK_STREAM.
            proto: As there; by default 0.

        Raises:
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        import socket  # noqa: PLC0415 - only for those who make one

        family = socket.AF_INET if family == -1 else family
        type = socket.SOCK_STREAM if type == -1 else type
        proto = 0 if proto == -1 else proto
        fd = cast("int", self._fetch(_core.Errand.socket(family, type, proto)).take())
        try:
            return socket.socket(family, type, proto, fileno=fd)
        except BaseException:
            os.close(fd)
            raise

    def namespace(self, kind: str) -> Namespace:
        """Open one of its namespaces: nsbox-init does, since nobody else but root may look into that process.

        A box is also a target itself, for `nsbox.enter`, `nsbox.setns` and the option ``join``.

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
        # Not for everybody: it brings what hands descriptors to other processes.
        from nsbox.namespaces.handle import Namespace  # noqa: PLC0415

        link = f"self/ns/{KINDS[kind].link}".encode()
        return Namespace(cast("int", self._fetch(_core.Errand.open_own(link, True)).take()))

    # Looking at it

    @property
    def namespace_ids(self) -> NamespaceIds:
        """Its namespaces, new or not, by their ids; None where there is no proc in which nsbox-init finds them.

        Raises:
            ClosedError: when the box has ended.
        """
        found = {}
        for kind in KINDS.values():
            with contextlib.suppress(SpawnError), self._open_own(f"self/ns/{kind.link}", link=True) as file:
                found[kind.name] = os.fstat(file.fileno()).st_ino
        return NamespaceIds(**found)

    def ps(self, *, view: View = "namespace", fields: str | Iterable[str] | None = None) -> ProcessTable:
        """Return the processes of its PID namespace, with the PIDs they have in there; see `nsbox.ps`.

        Args:
            view: ``"namespace"`` works before a proc is mounted in there, too; ``"proc"`` shows what a ``ps`` in there
                would show, which is what its ``/proc`` has.
            fields: The attributes that are wanted.

        Raises:
            SpawnError: when no proc can be had.
            ClosedError: when the box has ended.
        """
        from nsbox.seeing.processes import ps  # noqa: PLC0415 - only for those who look

        return self._look(view, functools.partial(ps, fields=fields))

    def pstree(self, *, view: View = "namespace", threads: bool = True) -> ProcessTree:
        """Return the tree of the same; see `nsbox.pstree`.

        Raises:
            SpawnError: when no proc can be had.
            ClosedError: when the box has ended.
        """
        from nsbox.seeing.tree import pstree  # noqa: PLC0415 - only for those who look

        return self._look(view, functools.partial(pstree, threads=threads))

    def lsns(self, *, kinds: Namespaces | None = None) -> NamespaceTable:
        """Return the namespaces that can be found from its processes; see `nsbox.lsns`.

        Raises:
            SpawnError: when no proc can be had.
            ClosedError: when the box has ended.
        """
        from nsbox.seeing.namespaces import lsns  # noqa: PLC0415 - only for those who look

        return self._look("namespace", functools.partial(lsns, kinds=kinds))

    def mounts(self) -> MountTable:
        """Return what is mounted in it; see `nsbox.mounts`."""
        from nsbox.seeing.mounts import mounts  # noqa: PLC0415 - only for those who look

        return mounts(self.pid)

    def ipcs(self) -> IpcTable:
        """Return what is in its IPC namespace, System V objects and POSIX queues; see `nsbox.ipcs`.

        Creators are PIDs of the box; owners are ids of the caller's user namespace. In the box of an ordinary user that
        has no mount namespace of its own, POSIX queues cannot be seen.

        Raises:
            SpawnError: when nsbox-init cannot look.
            ClosedError: when the box has ended.
        """
        from nsbox.records.ipc import IpcKind  # noqa: PLC0415 - only for those who look
        from nsbox.seeing.ipc import table_of  # noqa: PLC0415 - only for those who look

        texts: dict[IpcKind, bytes | None] = {}
        kinds: tuple[IpcKind, ...] = ("shm", "sem", "msg")
        for kind in kinds:
            with self._open_own(f"sysvipc/{kind}") as file:
                texts[kind] = file.read()
        try:
            mqueue = self._fetch(_core.Errand.detached(b"mqueue"))
        except SpawnPermissionError:
            return table_of(texts, None, self.pid)
        return table_of(texts, _core.list_queues(_fd_of(mqueue)), self.pid)

    def _look(self, view: View, read: Callable[..., T]) -> T:
        """Read a proc of nsbox-init; or from outside, where it can have none.

        Without a mount namespace of its own, an ordinary user's box can mount nothing, not even nowhere.
        """
        try:
            with self._proc(view) as proc:
                return read(proc=proc)
        except SpawnPermissionError:
            if view != "namespace":
                raise
            return read(of=self)

    @contextlib.contextmanager
    def _proc(self, view: View) -> Iterator[str]:
        """Name a proc as a path that is good in the ``with`` block: nsbox-init opens it, or mounts one nowhere."""
        if view not in ("namespace", "proc"):
            raise SpecError(f"view: expected 'namespace' or 'proc', got {view!r}")
        plan = _core.Errand.open(b"/proc") if view == "proc" else _core.Errand.detached(b"proc")
        found = self._fetch(plan)
        if not found.is_proc():
            # Reading relies on the files of the kernel: others may have no end, or nobody who writes them.
            raise spawn_error(ENOENT, "open", "init", plan.steps[0].calls, "what is mounted there is no proc")
        yield f"/proc/self/fd/{_fd_of(found)}"

    def _open_proc(self, view: View) -> _core.Proc:
        """Open one for those who have tried to look through nsbox-init, and may not."""
        with self._proc(view) as path:
            return _core.open_proc(path.encode())

    # Within

    def _needs(self, argument: str, kind: str) -> None:
        if kind not in self.namespaces:
            raise SpecError(f"{argument}: the box has no {kind} namespace of its own; Box({KINDS[kind].letter!r}) has")

    def _errand(self, plan: _core.Plan) -> StepResult:
        (step,) = plan.steps

        def result(errno: int, microseconds: float | None) -> StepResult:
            done = StepResult(
                step.name,
                step.actor,
                step.call,
                step.manual,
                step.why,
                errno,
                microseconds,
                data_of(step.calls),
            )
            self._note(done)
            return done

        try:
            return result(0, self._perform(plan).nanoseconds / 1000)
        except SpawnError as error:
            result(error.errno or 0, None)
            raise

    def _read(self, path: bytes) -> str:
        data = self._perform(_core.Errand.read(path)).data
        return bytes(data or b"").decode(errors="surrogateescape").rstrip("\n")

    def _open_own(self, path: str, *, link: bool = False) -> Any:
        """Open a file of the proc that was there before anything ran in the box, and may have mounted over it."""
        return self._fetch(_core.Errand.open_own(path.encode(), link)).file()

    def _fetch(self, plan: _core.Plan) -> _core.Outcome:
        """Have nsbox-init open something. The descriptor is closed with what is returned."""
        found = self._perform(plan)
        if found.fd is None:
            raise NsboxError("nsbox-init sent no descriptor: the limit of open ones may be reached (RLIMIT_NOFILE)")
        return found


def _fd_of(found: _core.Outcome) -> int:
    return cast("int", found.fd)
