"""A handle of a namespace: an open descriptor, which keeps it alive, and can be joined, mounted and sent."""

from __future__ import annotations

import fcntl
import os
import stat
import warnings
from collections.abc import Callable
from multiprocessing import reduction
from types import TracebackType
from typing import Any, Self

from nsbox import _core, raw
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import ClosedError, NsboxError, SpecError
from nsbox.namespaces import target as _target
from nsbox.spec.joins import JoinTarget
from nsbox.spec.kinds import KINDS, namespace_names

__all__ = ["Namespace"]

_NAMES = {kind.flag: name for name, kind in KINDS.items()}


class Namespace:
    """An open namespace (namespaces(7)). While it is open the namespace exists, with or without processes.

    Two handles are equal when they are of the same namespace. A context manager closes the handle. To send it to
    another process, use `multiprocessing`, which sends a duplicate of the descriptor, or `socket.send_fds`.

    Attributes:
        kind: The name of its kind, such as ``"net"``.
        id: Its inode number, as in the text of the links in ``/proc/PID/ns``.
    """

    __slots__ = ("__weakref__", "_device", "_fd", "id", "kind")

    kind: str
    id: int

    def __init__(self, fd: int | _core.Descriptor) -> None:
        """Take over a descriptor, which this object then closes.

        Raises:
            SpecError: when it is no namespace; the descriptor is left open.
        """
        self._fd: int | _core.Descriptor = -1
        number = fd.fileno() if isinstance(fd, _core.Descriptor) else fd
        try:
            self.kind = _NAMES[raw.ns_get_nstype(number)]
        except (OSError, TypeError, ValueError) as error:
            raise SpecError(f"fd: {fd!r} is no open namespace") from error
        status = os.fstat(number)
        self.id, self._device = status.st_ino, status.st_dev
        self._fd = fd

    @classmethod
    def of(cls, target: JoinTarget, kind: str | None = None) -> Self:
        """Open a namespace.

        Args:
            target: A PID; a pidfd, as `Pidfd`, or as anything with ``pidfd``; anything with a ``pid``; the path of a
                namespace; an open file or another handle of one; anything with a method ``namespace(kind)``.
            kind: Which of a process's namespaces; not needed if the target is a namespace itself.

        Raises:
            SpecError: when the target is neither a process nor a namespace, or a namespace of another kind.
            SpawnError: when it cannot be opened.
        """
        name = None if kind is None else _single_kind(kind)
        handle = cls(_target.open_namespace(target, name))
        if name not in (None, handle.kind):
            found = handle.kind
            handle.close()
            raise SpecError(f"kind: {target!r} is a {found} namespace, not a {name} namespace")
        return handle

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode, by which namespaces are compared (namespaces(7))."""
        return self._device, self.id

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._number < 0

    @property
    def _number(self) -> int:
        return self._fd if isinstance(self._fd, int) else self._fd.fileno()

    def fileno(self) -> int:
        """Return the descriptor, which belongs to this object.

        Raises:
            ClosedError: when it is closed.
        """
        if self.closed:
            raise ClosedError(f"this handle of a {self.kind} namespace is closed")
        return self._number

    def close(self) -> None:
        """Close it. The namespace ends when nothing else keeps it alive."""
        fd, self._fd = self._fd, -1
        if isinstance(fd, _core.Descriptor):
            fd.close()
        elif fd >= 0:
            os.close(fd)

    @property
    def owner(self) -> Namespace:
        """The user namespace that owns it, whose root has all rights over it (ioctl_nsfs(2), NS_GET_USERNS).

        Raises:
            SpawnError: when that is outside of the caller's user namespace.
        """
        return self._opened_by(raw.NS_GET_USERNS, "NS_GET_USERNS")

    @property
    def parent(self) -> Namespace:
        """The PID or user namespace in which it was made (ioctl_nsfs(2), NS_GET_PARENT).

        Raises:
            SpecError: for the other kinds, which have no parent.
            SpawnError: when that is outside of the caller's namespace.
        """
        if self.kind not in ("pid", "user"):
            raise SpecError(f"parent: only PID and user namespaces have one, not {self.kind} namespaces")
        return self._opened_by(raw.NS_GET_PARENT, "NS_GET_PARENT")

    def _opened_by(self, request: int, name: str) -> Namespace:
        try:
            return Namespace(_core.Descriptor(fcntl.ioctl, self.fileno(), request))
        except OSError as error:
            raise spawn_error(error.errno or 0, "open target", "caller", [_core.Call("ioctl", op=(name,))]) from None

    @property
    def owner_uid(self) -> int:
        """The user who made it, if it is a user namespace; else the user who made the user namespace that owns it.

        An id of the caller's user namespace.
        """
        if self.kind == "user":
            return raw.ns_get_owner_uid(self.fileno())
        with self.owner as owner:
            return owner.owner_uid

    @property
    def is_dead(self) -> bool:
        """Whether it is a PID namespace whose PID 1 has ended, in which nothing can be started (pid_namespaces(7))."""
        return self.kind == "pid" and _target.is_dead_pid_namespace(self.fileno())

    def persist(self, path: str | os.PathLike[str]) -> None:
        """Keep it alive by a bind mount on a file, as ``ip netns`` does below ``/run/netns`` (mount(2), MS_BIND).

        The file is created if it does not exist. The mount is made in the caller's mount namespace, and lasts until
        `unpersist`. It takes CAP_SYS_ADMIN. A mount namespace can only be mounted in one that is older than itself.

        Raises:
            SpawnError: when it cannot be mounted; a file that was created for it is removed.
        """
        source = f"/proc/thread-self/fd/{self.fileno()}"
        made = False
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            made = True
        except FileExistsError:
            pass
        try:
            raw.mount(source, path, None, raw.MS_BIND)
        except BaseException as error:
            if made:
                os.unlink(path)
            if isinstance(error, OSError):
                call = _core.Call(
                    "mount", source=source, target=os.fsdecode(path), filesystemtype=None, mountflags=("MS_BIND",)
                )
                raise spawn_error(error.errno or 0, "pin", "caller", [call]) from None
            raise

    @staticmethod
    def unpersist(path: str | os.PathLike[str]) -> None:
        """Undo `persist`: unmount the namespace, and remove the file if it is empty (umount2(2)).

        Raises:
            SpecError: when no namespace is mounted there; nothing is changed.
            SpawnError: when it cannot be unmounted.
        """
        with Namespace.of(path):
            pass
        try:
            raw.umount2(path, raw.MNT_DETACH | raw.UMOUNT_NOFOLLOW)
        except OSError as error:
            call = _core.Call("umount2", target=os.fsdecode(path), flags=("MNT_DETACH", "UMOUNT_NOFOLLOW"))
            raise spawn_error(error.errno or 0, "unpin", "caller", [call]) from None
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
            os.unlink(path)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __del__(self) -> None:
        """Close it, with a warning that it was not closed."""
        if hasattr(self, "_fd") and not self.closed:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            finally:
                # As in `Box.__del__`.
                self.close()

    def __eq__(self, other: object) -> bool:
        """Whether both are of the same namespace."""
        if not isinstance(other, Namespace):
            return NotImplemented
        return self.identity == other.identity

    def __hash__(self) -> int:
        """Return the hash of the identity."""
        return hash(self.identity)

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to pickle it. `multiprocessing` can, by another function.

        Raises:
            NsboxError: always.
        """
        raise NsboxError(
            f"{self!r} cannot be pickled except by multiprocessing: in another process its descriptor means something "
            "else. socket.send_fds sends it to another process, persist() keeps it in a file"
        )

    def __repr__(self) -> str:
        """Return its kind, its id and its descriptor."""
        if self.closed:
            return f"<closed handle of {self.kind} namespace {self.id}>"
        return f"<{self.kind} namespace {self.id}, open as descriptor {self._number}>"


def _single_kind(kind: str) -> str:
    names = namespace_names(kind)
    if len(names) != 1:
        raise SpecError(f"kind: expected the name of one kind of namespace, got {kind!r}")
    return names[0]


def _sent(namespace: Namespace) -> tuple[Callable[[Any], Namespace], tuple[Any]]:
    return _received, (reduction.DupFd(namespace.fileno()),)


def _received(duplicate: Any) -> Namespace:
    return Namespace(duplicate.detach())


reduction.ForkingPickler.register(Namespace, _sent)
