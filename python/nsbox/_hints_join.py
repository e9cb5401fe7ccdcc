"""Why a namespace cannot be opened, joined, left or kept: the part of `_hints` for what exists already."""

from __future__ import annotations

from errno import EACCES, EBUSY, EINVAL, ELOOP, EMFILE, ENOENT, ENOMEM, ENOTDIR, ENOTTY, EPERM, ESRCH, EUSERS
from typing import Protocol

from nsbox import _evidence as evidence

__all__ = ["STEPS"]


class Failure(Protocol):
    """A step that failed; see `_hints`."""

    @property
    def errno(self) -> int:
        """The error number."""

    @property
    def call(self) -> str:
        """The system call."""

    @property
    def detail(self) -> str:
        """What else is known."""


def _open(failure: Failure) -> tuple[str, str]:
    if failure.errno == ESRCH:
        return "there is no such process: it has ended, or the number is one of another PID namespace", (
            "look with nsbox.ps(); a pidfd or an object that holds one cannot become another process's"
        )
    if failure.errno in (EACCES, EPERM) and "NS_GET" in failure.call:
        return "that namespace is outside of the caller's own", "only what is below the caller's own can be seen"
    if failure.errno in (EACCES, EPERM):
        return "the namespaces of a process can be opened only by whoever may trace it (ptrace(2))", (
            "run as the same user or as root; an nsbox-init can never be traced, so name its payload or the box instead"
        )
    if failure.errno in (ENOENT, ENOTDIR, ELOOP):
        return "", "a path is that of a namespace, such as /proc/PID/ns/net or a file made by persist()"
    if failure.errno == EMFILE:
        return "the limit of open descriptors is reached", "raise RLIMIT_NOFILE, or close some"
    if failure.errno in (EINVAL, ENOTTY):
        return "this kernel does not have that kind of namespace, or does not know the request", "leave it out"
    return "", ""


def _join(failure: Failure) -> tuple[str, str]:
    if failure.errno == ESRCH:
        return "PID 1 of that PID namespace has ended, and the kernel starts nothing more in it", (
            "make a new one; a PID namespace lives as long as its PID 1, even where descriptors or mounts keep it"
        )
    if failure.errno == EPERM and "CLONE_NEWUSER" in failure.call:
        return "only its owner, and root above it, has the rights in a user namespace that joining it takes", (
            "run as the user who made it"
        )
    if failure.errno == EPERM and evidence.lacks_capability("CAP_SYS_ADMIN"):
        return "joining takes CAP_SYS_ADMIN in the user namespace that the namespace belongs to, and in one's own", (
            "join that user namespace as well, as its owner; or run as root"
        )
    if failure.errno == EPERM:
        return "the namespace belongs to a user namespace in which the caller has no rights: it is not below its own", (
            "run outside, where it was made"
        )
    if failure.errno == EINVAL and "CLONE_NEWPID" in failure.call:
        return "a PID namespace can be joined only from one it is below (pid_namespaces(7))", "start from outside"
    if failure.errno == EINVAL and "CLONE_NEWUSER" in failure.call:
        return "the caller is in it already, or has several threads", "leave it out"
    if failure.errno == EINVAL and "CLONE_NEWNS" in failure.call:
        return "the root and the working directory are shared with another process or thread", "unshare(CLONE_FS) first"
    if failure.errno == EUSERS:
        return "a time namespace can only be joined by a process with a single thread", "use nsbox.enter"
    return "", ""


def _descend(failure: Failure) -> tuple[str, str]:
    if failure.errno == ENOMEM:
        return "PID 1 of the joined PID namespace has ended: not memory is short", "make a new one"
    return "", ""


def _persist(failure: Failure) -> tuple[str, str]:
    if failure.errno == EPERM:
        return "mounting takes CAP_SYS_ADMIN over the caller's mount namespace", (
            "run as root, or in a new user and mount namespace, which the mount then ends with"
        )
    if failure.errno == EINVAL and failure.detail == "mount":
        return "a mount namespace can only be kept in an older one, below a mount that is not shared", (
            "use a directory that is a private mount of its own (mount --bind, mount --make-private)"
        )
    if failure.errno == EINVAL:
        return "it is not a mount point, or lies below one that may not be changed", "look into /proc/self/mountinfo"
    if failure.errno == EBUSY:
        return "it is in use", "see who uses it with lsof"
    return "", ""


_KINDS = ("user", "mount", "pid", "ipc", "uts", "net", "cgroup", "time")


def _own(failure: Failure) -> tuple[str, str]:
    if failure.errno == EMFILE:
        return "the limit of open descriptors is reached", "raise RLIMIT_NOFILE, or close some"
    return "the thread could not keep the way back to where it is", "see whether /proc is mounted"


STEPS = {f"join {kind}": _join for kind in _KINDS} | {
    "open target": _open,
    "descend": _descend,
    "open own": _own,
    "persist": _persist,
    "unpersist": _persist,
}
"""The function that explains each step."""
