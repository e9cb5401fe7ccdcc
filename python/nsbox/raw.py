"""The bare system calls, as in C: nothing is checked, nothing is undone, and errors are the kernel's numbers.

Each function has the effect that its manual page describes: `unshare` and `setns` move the calling *thread*. Each
raises `OSError` with the kernel's ``errno``. They are for lessons and experiments; for everything else there are
functions that clean up after themselves: `nsbox.run`, `nsbox.enter`, `nsbox.unshare`, `nsbox.setns`.

The requests to namespaces (`ns_get_...`) are described in ioctl_nsfs(2), those to processes in ioctl_pidfd(2).
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct

from nsbox import _core
from nsbox.errors import SpecError
from nsbox.spec.kinds import KINDS
from nsbox.spec.paths import StrOrBytesPath

__all__ = [
    "CLONE_CLEAR_SIGHAND",
    "CLONE_FS",
    "CLONE_INTO_CGROUP",
    "CLONE_NEWCGROUP",
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWTIME",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "CLONE_PARENT",
    "CLONE_PIDFD",
    "MNT_DETACH",
    "MS_BIND",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "MS_SHARED",
    "MS_SLAVE",
    "UMOUNT_NOFOLLOW",
    "clone3",
    "mount",
    "ns_get_id",
    "ns_get_nstype",
    "ns_get_owner_uid",
    "ns_get_parent",
    "ns_get_pid_from_pidns",
    "ns_get_pid_in_pidns",
    "ns_get_tgid_from_pidns",
    "ns_get_tgid_in_pidns",
    "ns_get_userns",
    "pidfd_get_namespace",
    "pidfd_open",
    "pidfd_send_signal",
    "pivot_root",
    "setdomainname",
    "sethostname",
    "setns",
    "umount2",
    "unshare",
]

CLONE_FS = 0x200
CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_NEWTIME = KINDS["time"].flag
CLONE_NEWNS = KINDS["mount"].flag
CLONE_NEWCGROUP = KINDS["cgroup"].flag
CLONE_NEWUTS = KINDS["uts"].flag
CLONE_NEWIPC = KINDS["ipc"].flag
CLONE_NEWUSER = KINDS["user"].flag
CLONE_NEWPID = KINDS["pid"].flag
CLONE_NEWNET = KINDS["net"].flag
CLONE_CLEAR_SIGHAND = 0x100000000
CLONE_INTO_CGROUP = 0x200000000

_MOUNT_FLAGS = {flag.name: flag.number for flag in _core.mount_flags()}
MS_RDONLY = _MOUNT_FLAGS["MS_RDONLY"]
MS_NOSUID = _MOUNT_FLAGS["MS_NOSUID"]
MS_NODEV = _MOUNT_FLAGS["MS_NODEV"]
MS_NOEXEC = _MOUNT_FLAGS["MS_NOEXEC"]
MS_REMOUNT = _MOUNT_FLAGS["MS_REMOUNT"]
MS_BIND = _MOUNT_FLAGS["MS_BIND"]
MS_REC = _MOUNT_FLAGS["MS_REC"]
MS_PRIVATE = _MOUNT_FLAGS["MS_PRIVATE"]
MS_SLAVE = _MOUNT_FLAGS["MS_SLAVE"]
MS_SHARED = _MOUNT_FLAGS["MS_SHARED"]
MNT_DETACH = _MOUNT_FLAGS["MNT_DETACH"]
UMOUNT_NOFOLLOW = _MOUNT_FLAGS["UMOUNT_NOFOLLOW"]

_SURVIVABLE = (
    sum(kind.flag for kind in KINDS.values()) | CLONE_PIDFD | CLONE_PARENT | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP
)

# linux/nsfs.h: _IO(0xb7, n), or _IOR(0xb7, n, type) where a number is sent or returned.
NS_GET_USERNS, NS_GET_PARENT, _GET_NSTYPE, _GET_OWNER_UID = 0xB701, 0xB702, 0xB703, 0xB704
_PID_FROM_PIDNS, _TGID_FROM_PIDNS, _PID_IN_PIDNS, _TGID_IN_PIDNS = 0x8004B706, 0x8004B707, 0x8004B708, 0x8004B709
_GET_ID = 0x8008B70D
# linux/pidfd.h: _IO(0xff, n).
PIDFD_NAMESPACES = {
    "cgroup": 0xFF01, "ipc": 0xFF02, "mount": 0xFF03, "net": 0xFF04, "pid": 0xFF05, "pid_for_children": 0xFF06,
    "time": 0xFF07, "time_for_children": 0xFF08, "user": 0xFF09, "uts": 0xFF0A,
}  # fmt: skip


def unshare(flags: int) -> None:
    """Put the calling thread into new namespaces (unshare(2)); a new PID or time namespace is for its children.

    Not undone. The other threads of the process do not move. In a process with several threads `CLONE_NEWUSER` is
    refused (EINVAL). After `CLONE_NEWPID` the calling thread can start no threads until ``setns`` on
    ``/proc/self/ns/pid``.

    Raises:
        OSError: as unshare(2).
    """
    _core.unshare(flags)


def setns(fd: int, nstype: int = 0) -> None:
    """Put the calling thread into the namespace `fd` refers to, or into those of a process if it is a pidfd (setns(2)).

    Args:
        fd: A namespace or a pidfd.
        nstype: The kind it must be of, or the kinds to join (CLONE_NEW*); 0 for any.

    Raises:
        OSError: as setns(2).
    """
    _core.setns(fd, nstype)


def mount(
    source: StrOrBytesPath | None,
    target: StrOrBytesPath,
    fstype: str | None = None,
    flags: int = 0,
    data: str | bytes | None = None,
) -> None:
    """Mount, remount, bind, or change the propagation of a mount (mount(2)). None is a null pointer.

    Raises:
        OSError: as mount(2).
    """
    _core.mount(
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None if fstype is None else os.fsencode(fstype),
        flags,
        None if data is None else os.fsencode(data),
    )


def umount2(target: StrOrBytesPath, flags: int = 0) -> None:
    """Unmount (umount2(2)).

    Raises:
        OSError: as umount2(2).
    """
    _core.umount2(os.fsencode(target), flags)


def pivot_root(new_root: StrOrBytesPath, put_old: StrOrBytesPath) -> None:
    """Make `new_root` the root of the mount namespace, and the old root appear at `put_old` (pivot_root(2)).

    The kernel moves every process and thread whose root or working directory was the old root.

    Raises:
        OSError: as pivot_root(2).
    """
    _core.pivot_root(os.fsencode(new_root), os.fsencode(put_old))


def sethostname(name: str | bytes) -> None:
    """Set the host name of the UTS namespace the calling thread is in (sethostname(2)).

    Raises:
        OSError: as sethostname(2).
    """
    _core.sethostname(os.fsencode(name))


def setdomainname(name: str | bytes) -> None:
    """Set the NIS domain name of the UTS namespace the calling thread is in (setdomainname(2)).

    Raises:
        OSError: as setdomainname(2).
    """
    _core.setdomainname(os.fsencode(name))


def clone3(flags: int = 0, *, exit_signal: int = signal.SIGCHLD, cgroup: int = 0) -> tuple[int, int]:
    """Fork into new namespaces (clone3(2)); like `os.fork` it returns twice.

    Flags that a Python interpreter does not survive are refused: those by which memory, a stack or threads are shared.
    The C library does not know of this fork (pthread_atfork(3)). So it is refused while the process has a second
    thread, which might hold a lock of malloc; and the child should soon exec or call `os._exit`. In a process with
    threads, use `nsbox.fork_exec`.

    Args:
        flags: ``CLONE_NEW*``, ``CLONE_PIDFD``, ``CLONE_PARENT``, ``CLONE_CLEAR_SIGHAND``, ``CLONE_INTO_CGROUP``.
        exit_signal: The signal the parent gets when the child ends; 0 for none (then it is waited for with ``__WALL``).
        cgroup: With ``CLONE_INTO_CGROUP`` a descriptor of the cgroup's directory.

    Returns:
        The PID (0 in the child) and, in the parent and with ``CLONE_PIDFD``, a pidfd; else -1.

    Raises:
        SpecError: for other flags, and when there are threads.
        OSError: as clone3(2).
    """
    if flags & ~_SURVIVABLE:
        raise SpecError(f"flags: {flags & ~_SURVIVABLE:#x} would share with the child what Python cannot share")
    if len(os.listdir("/proc/self/task")) > 1:
        raise SpecError("clone3: this process has several threads, and a lock that one of them holds would stay locked")
    pid, pidfd = _core.clone3(flags, exit_signal, cgroup)
    return pid, pidfd if pid else -1


def pidfd_open(pid: int, flags: int = 0) -> int:
    """Return a descriptor of a process (pidfd_open(2)).

    Raises:
        OSError: as pidfd_open(2).
    """
    return os.pidfd_open(pid, flags)


def pidfd_send_signal(pidfd: int, sig: int, flags: int = 0) -> None:
    """Send a signal through a pidfd (pidfd_send_signal(2)).

    Raises:
        OSError: as pidfd_send_signal(2).
    """
    signal.pidfd_send_signal(pidfd, sig, None, flags)


def ns_get_userns(fd: int) -> int:
    """Return a new descriptor of the user namespace that a namespace belongs to."""
    return fcntl.ioctl(fd, NS_GET_USERNS)


def ns_get_parent(fd: int) -> int:
    """Return a new descriptor of the parent of a PID or user namespace."""
    return fcntl.ioctl(fd, NS_GET_PARENT)


def ns_get_nstype(fd: int) -> int:
    """Return the CLONE_NEW* of a namespace."""
    return fcntl.ioctl(fd, _GET_NSTYPE)


def ns_get_owner_uid(fd: int) -> int:
    """Return the user who made a user namespace, as the caller's user namespace numbers it."""
    return int(struct.unpack("I", fcntl.ioctl(fd, _GET_OWNER_UID, bytes(4)))[0])


def ns_get_id(fd: int) -> int:
    """Return the id of a namespace, which unlike its inode number is never used again (Linux 6.18)."""
    return int(struct.unpack("Q", fcntl.ioctl(fd, _GET_ID, bytes(8)))[0])


def ns_get_pid_from_pidns(fd: int, pid: int) -> int:
    """Return the number that the process or thread `pid` of PID namespace `fd` has for the caller (Linux 6.11)."""
    return fcntl.ioctl(fd, _PID_FROM_PIDNS, pid)


def ns_get_tgid_from_pidns(fd: int, pid: int) -> int:
    """Return the number that the process of thread `pid` of PID namespace `fd` has for the caller (Linux 6.11)."""
    return fcntl.ioctl(fd, _TGID_FROM_PIDNS, pid)


def ns_get_pid_in_pidns(fd: int, pid: int) -> int:
    """Return the number that `pid`, as the caller numbers it, has in PID namespace `fd` (Linux 6.11)."""
    return fcntl.ioctl(fd, _PID_IN_PIDNS, pid)


def ns_get_tgid_in_pidns(fd: int, pid: int) -> int:
    """Return the number that the process of `pid`, as the caller numbers it, has in PID namespace `fd` (Linux 6.11)."""
    return fcntl.ioctl(fd, _TGID_IN_PIDNS, pid)


def pidfd_get_namespace(pidfd: int, kind: str) -> int:
    """Return a new descriptor of a namespace of a process (Linux 6.11).

    Args:
        pidfd: The process.
        kind: A kind of namespace, or ``pid_for_children`` or ``time_for_children``.
    """
    return fcntl.ioctl(pidfd, PIDFD_NAMESPACES[kind])
