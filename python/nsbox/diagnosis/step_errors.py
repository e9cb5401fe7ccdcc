"""The error numbers that each step can give, from the manual pages of its system calls, as nsbox makes them.

Not in the table, for all steps:

- EFAULT: nsbox passes valid memory.
- EINTR: signals are blocked, or the call is made again.
- EIO: the device or the network below a file has failed, which says nothing about the step.
- EBADF, where the descriptor is one that nsbox itself has just opened.

A test compares this table with the causes: each number of each step has a cause, or a reason here why it has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from errno import (
    E2BIG,
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EBADF,
    EBADMSG,
    EBUSY,
    ECANCELED,
    ECONNRESET,
    EDQUOT,
    EEXIST,
    EFBIG,
    EHOSTUNREACH,
    EINVAL,
    EIO,
    EISDIR,
    ELIBBAD,
    ELOOP,
    EMFILE,
    ENAMETOOLONG,
    ENETDOWN,
    ENETUNREACH,
    ENFILE,
    ENOBUFS,
    ENODEV,
    ENOENT,
    ENOEXEC,
    ENOMEM,
    ENOSPC,
    ENOSYS,
    ENOTBLK,
    ENOTDIR,
    ENOTSOCK,
    ENOTTY,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EPROTONOSUPPORT,
    ERANGE,
    EROFS,
    ESOCKTNOSUPPORT,
    ESRCH,
    ETIMEDOUT,
    ETXTBSY,
    EUSERS,
    EXDEV,
)
from typing import NamedTuple

from nsbox.spec.step_names import StepName

__all__ = ["STEP_ERRORS", "WITHOUT_CAUSE", "StepErrors"]


class StepErrors(NamedTuple):
    """The errors of the system calls of a step.

    Attributes:
        manual: The manual pages of the calls; empty for a step that makes none that can fail.
        errnos: The error numbers.
    """

    manual: str
    errnos: frozenset[int]


_REFUSED = frozenset({EPERM, EACCES, ENOSYS})
"""What a seccomp filter or a security module returns for any call (seccomp(2))."""
_NEW_DESCRIPTOR = frozenset({EMFILE, ENFILE, ENOMEM})
_PATH = frozenset({EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR})
"""path_resolution(7)"""
_CLONE = _NEW_DESCRIPTOR | {EAGAIN, EINVAL, ENOSPC, EPERM}
"""With new namespaces and CLONE_PIDFD."""
_UNSHARE = frozenset({EINVAL, ENOMEM, ENOSPC, EPERM})
_OPEN_TO_WRITE = _NEW_DESCRIPTOR | {EACCES, ENOENT, EROFS}
"""A file of /proc."""
_HELPER = _NEW_DESCRIPTOR | {EAGAIN, ECANCELED, ETIMEDOUT}
"""A child of nsbox-init that may be killed, or given up."""
_ATTACH = _PATH | _NEW_DESCRIPTOR | {EAGAIN, EBUSY, EINVAL, ENOSPC, EPERM}
"""A mount that is made detached, and attached to what openat2(2) has found."""
_MOUNT = _PATH | {EBUSY, EINVAL, ENODEV, ENOSPC, EPERM}


def _errors(manual: str, *errnos: Iterable[int]) -> StepErrors:
    return StepErrors(manual, frozenset().union(_REFUSED, *errnos))


_NOTHING = StepErrors("", frozenset())

STEP_ERRORS: Mapping[StepName, StepErrors] = {
    "prepare": _errors("socketpair(2), memfd_create(2), write(2), pidfd_open(2)", _NEW_DESCRIPTOR, {EFBIG}),
    "cgroup": _errors("mkdir(2), open(2), cgroups(7)", _OPEN_TO_WRITE, {EAGAIN, EINVAL, ENODEV, EPERM}),
    "clone": _errors("clone(2)", _CLONE),
    "exec init": _errors("close_range(2), capset(2), execveat(2)", {E2BIG, EAGAIN, ENOEXEC, ENOMEM}),
    "copy init": StepErrors("signal(7)", frozenset({ETIMEDOUT})),
    "plan": StepErrors("recvmsg(2)", frozenset({EBADMSG})),
    "init": StepErrors("recvmsg(2)", frozenset({ECONNRESET, EPERM, ETIMEDOUT})),
    "await maps": StepErrors("PR_GET_DUMPABLE(2const)", frozenset({ETXTBSY})),
    "setgroups": _errors("open(2), user_namespaces(7)", _OPEN_TO_WRITE, {EPERM, ESRCH}),
    "gid_map": _errors("open(2), user_namespaces(7), newgidmap(1)", _OPEN_TO_WRITE, {EAGAIN, EINVAL, EPERM, ESRCH}),
    "uid_map": _errors("open(2), user_namespaces(7), newuidmap(1)", _OPEN_TO_WRITE, {EAGAIN, EINVAL, EPERM, ESRCH}),
    "new user": _errors("clone(2), socketpair(2)", _CLONE, {ESRCH, ETIMEDOUT}),
    "open target": _errors(
        "pidfd_open(2), open(2), ioctl_pidfd(2), ioctl_nsfs(2), pidfd_getfd(2)",
        _PATH,
        _NEW_DESCRIPTOR,
        {EBADF, EINVAL, ENOTSOCK, ENXIO, EPERM, ESRCH},
    ),
    "open own": _errors("pidfd_open(2), open(2), ioctl_pidfd(2)", _NEW_DESCRIPTOR, {EACCES, ENOENT}),
    "join user": _errors("setns(2)", {EINVAL, ENOMEM, EPERM}),
    "join mount": _errors("setns(2)", {EINVAL, ENOMEM, EPERM}),
    "join pid": _errors("setns(2), ioctl_nsfs(2)", {EINVAL, ENOMEM, EPERM, ESRCH}),
    "join ipc": _errors("setns(2)", {ENOMEM, EPERM}),
    "join uts": _errors("setns(2)", {ENOMEM, EPERM}),
    "join net": _errors("setns(2)", {ENOMEM, EPERM}),
    "join cgroup": _errors("setns(2), cgroups(7)", {EBUSY, ENODEV, ENOENT, ENOMEM, EOPNOTSUPP, EPERM, EROFS}),
    "join time": _errors("setns(2)", {ENOMEM, EPERM, EUSERS}),
    "become root": _errors("setgroups(2), setresgid(2), setresuid(2)", {EINVAL, ENOMEM}),
    "drop groups": _errors("setgroups(2)", {ENOMEM, EPERM}),
    "target root": _errors("fchdir(2), chroot(2)", {EACCES, ENOMEM, EPERM}),
    "target wd": _errors("fchdir(2)", {EACCES}),
    "remember wd": _errors("open(2)", _NEW_DESCRIPTOR, {EACCES}),
    "descend": _errors("clone(2), signalfd(2), pidfd_open(2)", _CLONE),
    "clone init": _errors("clone(2)", _CLONE),
    "bystander": _errors("pipe(2), fork(2)", _NEW_DESCRIPTOR, {EAGAIN}),
    "unshare": _errors("unshare(2)", _UNSHARE),
    "unshare time": _errors("unshare(2), clone(2), socketpair(2)", _CLONE, {ESRCH, ETIMEDOUT}),
    "clock offsets": _errors("open(2), time_namespaces(7)", _OPEN_TO_WRITE, {EPERM, ERANGE}),
    "pin": _errors("open(2), mount(2)", _PATH, _NEW_DESCRIPTOR, {EINVAL, ENOSPC, EPERM}),
    "unpin": _errors("umount(2)", _PATH, {EBUSY, EINVAL, EPERM}),
    "propagation": _errors("mount(2)", {EACCES, EINVAL, ENOMEM, EPERM}),
    "private proc": _errors("mount(2)", _PATH, {EPERM}),
    "hostname": _errors("sethostname(2)", {EINVAL, EPERM}),
    "domainname": _errors("setdomainname(2)", {EINVAL, EPERM}),
    "loopback": _errors("socket(2), netdevice(7)", _NEW_DESCRIPTOR, {EAFNOSUPPORT, ENOBUFS, EPERM}),
    "pid_max": _errors("open(2), proc_sys_kernel(5)", _OPEN_TO_WRITE, {EINVAL, EPERM}),
    "root": _errors(
        "open(2), open_tree(2), mount_setattr(2), move_mount(2)", _PATH, _NEW_DESCRIPTOR, {EBUSY, EINVAL, ENOSPC, EPERM}
    ),
    "idmap": _errors("open_tree(2), mount_setattr(2)", _PATH, _NEW_DESCRIPTOR, {EINVAL, EPERM}),
    "source": _errors("open_tree(2)", _PATH, _NEW_DESCRIPTOR, {EINVAL, ENOSPC, EPERM}),
    "layers": _errors("fsopen(2), fsconfig(2), fsmount(2), mkdir(2), move_mount(2), umount(2)", _ATTACH, {ENODEV}),
    "bind": _errors("mount_setattr(2), openat2(2), mkdir(2), mknod(2), move_mount(2)", _ATTACH),
    "tmpfs": _errors("fsopen(2), fsconfig(2), fsmount(2), openat2(2), move_mount(2)", _ATTACH, {ENODEV}),
    "overlay": _errors("openat2(2), mkdir(2), move_mount(2)", _ATTACH),
    "proc": _errors("fsopen(2), fsconfig(2), fsmount(2), openat2(2), move_mount(2)", _ATTACH, {ENODEV}),
    "mount proc": _errors(
        "mount(2), fsopen(2), fsconfig(2), fsmount(2), openat2(2), move_mount(2)", _ATTACH, _HELPER, {ENODEV}
    ),
    "private tmp": _errors("fsopen(2), fsconfig(2), fsmount(2), openat2(2), move_mount(2)", _ATTACH, {ENODEV}),
    "private pts": _errors("fsopen(2), fsconfig(2), fsmount(2), openat2(2), move_mount(2)", _ATTACH, {ENODEV}),
    "mask proc": _errors("open_tree(2), mount_setattr(2), fsmount(2), openat2(2), move_mount(2)", _ATTACH, {ENODEV}),
    "read-only sys": _errors(
        "open_tree(2), mount_setattr(2), fsmount(2), openat2(2), move_mount(2)", _ATTACH, {ENODEV}
    ),
    "sysctl": _errors("open(2), proc(5)", _OPEN_TO_WRITE, {EINVAL, EPERM}),
    "unmount proc": _errors("umount(2)", _PATH, {EBUSY, EINVAL, EPERM}),
    "pivot root": _errors("pivot_root(2), umount(2), chdir(2)", {EBUSY, EINVAL, ENOMEM, EPERM}),
    "chroot": _errors("chroot(2)", _PATH, {EPERM}),
    "fork": _errors("clone(2), signalfd(2), pidfd_open(2), prctl(2)", _CLONE, {ETIMEDOUT}),
    "start": _errors("clone(2), prctl(2)", _CLONE, {ETIMEDOUT}),
    "own cgroup": _NOTHING,
    "parent death signal": _errors("PR_SET_PDEATHSIG(2const)"),
    "descriptors": _errors("dup(2), close_range(2), F_DUPFD(2const)", {EBADF, EINVAL, EMFILE, ENOMEM}),
    "setsid": _errors("setsid(2)"),
    "setpgid": _errors("setpgid(2)", {EACCES, EPERM}),
    "controlling terminal": _errors("TIOCSCTTY(2const)", {EIO, ENOTTY, EPERM}),
    "chdir": _errors("chdir(2)", _PATH, {ETIMEDOUT}),
    "directory": _errors("chdir(2)", _PATH),
    "cwd": _errors("fchdir(2)", {EACCES}),
    "umask": _errors("umask(2)"),
    "rlimit": _errors("prlimit(2)", {EPERM}),
    "set groups": _errors("setgroups(2)", {EINVAL, ENOMEM, EPERM}),
    "setgid": _errors("setresgid(2)", {EINVAL, EPERM}),
    "setuid": _errors("setresuid(2)", {EAGAIN, EINVAL, ENOMEM, EPERM}),
    "keep capabilities": _errors("capset(2), PR_CAP_AMBIENT(2const)", {EPERM}),
    "drop capabilities": _errors("capset(2), PR_CAP_AMBIENT(2const)"),
    "session keyring": _errors("keyctl(2)", {EDQUOT, ENOMEM}),
    "lock capabilities": _errors("capset(2), PR_CAPBSET_DROP(2const), PR_SET_SECUREBITS(2const)"),
    "lock mounts": _errors("capset(2), PR_CAPBSET_DROP(2const)"),
    "landlock": _errors("landlock_create_ruleset(2), landlock_restrict_self(2)", _NEW_DESCRIPTOR, {E2BIG, EOPNOTSUPP}),
    "seccomp": _errors("seccomp(2)", {EINVAL, ENOMEM}),
    "no_new_privs": _errors("PR_SET_NO_NEW_PRIVS(2const)"),
    "signals": _NOTHING,
    "exec": _errors(
        "execve(2)",
        _PATH,
        _NEW_DESCRIPTOR,
        {E2BIG, EAGAIN, EINVAL, EIO, EISDIR, ELIBBAD, ENOEXEC, EPERM, ETIMEDOUT, ETXTBSY},
    ),
    "serve": _errors("signalfd(2), pidfd_open(2), mmap(2), prctl(2), close_range(2)", _NEW_DESCRIPTOR),
    "request": StepErrors("recvmsg(2)", frozenset({ECONNRESET, ETIMEDOUT})),
    "mount": _errors("clone(2), mount(2)", _MOUNT, _HELPER, {ENOTBLK, ENXIO, EROFS}),
    "mount shm": _errors("clone(2), mount(2)", _MOUNT, _HELPER),
    "unmount": _errors("clone(2), umount(2)", _PATH, _HELPER, {EBUSY, EINVAL, EPERM}),
    "detached mount": _errors("fsopen(2), fsconfig(2), fsmount(2)", _NEW_DESCRIPTOR, {ENODEV, ENOSPC, EPERM}),
    "open": _errors(
        "clone(2), openat2(2), memfd_create(2), read(2)",
        _PATH,
        _HELPER,
        {EBADF, EFBIG, EISDIR, ENODEV, ENXIO, EPERM, EXDEV},
    ),
    "read": _errors("openat2(2), read(2)", _NEW_DESCRIPTOR, {EACCES, EBADF, ENOENT, EXDEV}),
    "write": _errors("openat2(2), write(2)", _OPEN_TO_WRITE, {EBADF, EINVAL, EPERM, EXDEV}),
    "socket": _errors(
        "socket(2)", _NEW_DESCRIPTOR, {EAFNOSUPPORT, EINVAL, ENOBUFS, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT}
    ),
    "reap": _NOTHING,
    "abort": _NOTHING,
    # Tried while processes end; what fails is not reported.
    "abort fuse": _NOTHING,
    "veth": _errors("rtnetlink(7), veth(4)", {EEXIST, ENOBUFS, ENOMEM, EOPNOTSUPP, EPERM}),
    "bridge": _errors("rtnetlink(7), bridge(8)", {ENOBUFS, ENOMEM, EOPNOTSUPP, EPERM}),
    "bridge port": _errors("rtnetlink(7), bridge(8)", {ENOBUFS, ENODEV, ENOMEM, EPERM}),
    "route": _errors(
        "rtnetlink(7)", {EEXIST, EHOSTUNREACH, EINVAL, ENETDOWN, ENETUNREACH, ENOBUFS, ENODEV, ENOMEM, EPERM}
    ),
    "link up": _errors("rtnetlink(7)", {ENOBUFS, ENODEV, ENOMEM, EPERM}),
    "address": _errors(
        "rtnetlink(7)", {EADDRINUSE, EADDRNOTAVAIL, EEXIST, EINVAL, ENOBUFS, ENODEV, ENOMEM, EOPNOTSUPP, EPERM}
    ),
    "carrier": _errors("rtnetlink(7)", {ENOBUFS, ENODEV, ENOMEM, ETIMEDOUT}),
    "remove veth": _errors("rtnetlink(7)", {ENOBUFS, ENODEV, ENOMEM, EPERM}),
}
"""Every step, and what its calls can give."""


def _each(step: StepName, errnos: Iterable[int], reason: str) -> dict[tuple[StepName, int], str]:
    return {(step, errno): reason for errno in errnos}


_PAYLOAD = "the exception is that of `subprocess`: FileNotFoundError, PermissionError and their relatives"
_SCOPE = "ScopeError names the call with its error number, when a scope of a thread cannot be left"
_NOT_INIT = "nsbox-init is built for the machine of the extension, which runs"

WITHOUT_CAUSE: Mapping[tuple[StepName, int], str] = {
    **_each("exec", STEP_ERRORS["exec"].errnos - {E2BIG, ENOMEM}, _PAYLOAD),
    **_each("unmount proc", STEP_ERRORS["unmount proc"].errnos, _SCOPE),
    **_each("cwd", STEP_ERRORS["cwd"].errnos, _SCOPE),
    ("exec init", ENOEXEC): _NOT_INIT,
    **dict.fromkeys(
        (("veth", EOPNOTSUPP), ("bridge", EOPNOTSUPP)),
        "UnsupportedError names the module that the kernel does not have",
    ),
}
"""The numbers of steps that have no cause, and why."""
