"""Why a namespace that exists cannot be opened, joined, left or kept."""

from __future__ import annotations

from errno import EACCES, EBUSY, EINVAL, ELOOP, EMFILE, ENOENT, ENOMEM, ENOTDIR, ENOTTY, EPERM, ESRCH, EUSERS

from nsbox._evidence import Evidence
from nsbox._hints.cause import ANY, Cause, Failure, Found

__all__ = ["JOINING"]

_JOIN = frozenset(f"join {kind}" for kind in ("user", "mount", "pid", "ipc", "uts", "net", "cgroup", "time"))
_OPEN = frozenset({"open target"})
_KEEP = frozenset({"persist", "unpersist"})
_DENIED = frozenset({EACCES, EPERM})


def _always(_: Failure, __: Evidence) -> Found | None:
    return {}


def _is_relation(failure: Failure, _: Evidence) -> Found | None:
    return {} if "NS_GET" in failure.call else None


def _is_user(failure: Failure, _: Evidence) -> Found | None:
    return {} if "CLONE_NEWUSER" in failure.call else None


def _is_pid(failure: Failure, _: Evidence) -> Found | None:
    return {} if "CLONE_NEWPID" in failure.call else None


def _is_mount(failure: Failure, _: Evidence) -> Found | None:
    return {} if "CLONE_NEWNS" in failure.call else None


def _lacks_admin(_: Failure, evidence: Evidence) -> Found | None:
    return None if evidence.has("CAP_SYS_ADMIN") else {}


def _is_mounting(failure: Failure, _: Evidence) -> Found | None:
    return {} if failure.detail == "mount" else None


JOINING = (
    Cause(
        name="no-such-process",
        title="There is no such process",
        steps=_OPEN,
        errnos=frozenset({ESRCH}),
        find=_always,
        why="there is no such process: it has ended, or the number is one of another PID namespace",
        remedy="look with nsbox.ps(); a pidfd, or an object that holds one, cannot become another process's",
        meaning="A process is named by a number, and each PID namespace has numbers of its own.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="namespace-outside",
        title="The namespace is outside of the caller's own",
        steps=_OPEN,
        errnos=_DENIED,
        find=_is_relation,
        why="that namespace is outside of the caller's own",
        remedy="ask for what is below the caller's own namespaces, or ask from outside",
        meaning="Parents and owners of namespaces can be seen from above, not from within.",
        manual="ioctl_nsfs(2)",
    ),
    Cause(
        name="not-traceable",
        title="The namespaces of that process may not be opened",
        steps=_OPEN,
        errnos=_DENIED,
        find=_always,
        why="the namespaces of a process can be opened only by whoever may trace it",
        remedy="run as the same user or as root; nsbox-init can never be traced: name its payload or the box instead",
        meaning="To open a namespace of a process is as much as to look into its memory.",
        manual="namespaces(7), ptrace(2)",
    ),
    Cause(
        name="no-namespace-file",
        title="The path is not that of a namespace",
        steps=_OPEN,
        errnos=frozenset({ENOENT, ENOTDIR, ELOOP}),
        find=_always,
        why="there is no namespace at that path",
        remedy="name one such as /proc/PID/ns/net, or a file made by persist()",
        meaning="A namespace is named by a file: in /proc, or one on which it has been mounted.",
        manual="namespaces(7)",
    ),
    Cause(
        name="open-file-limit",
        title="The limit of open files is reached while a namespace is opened",
        steps=frozenset({"open target", "open own"}),
        errnos=frozenset({EMFILE}),
        find=_always,
        why="the limit of open descriptors is reached",
        remedy="raise RLIMIT_NOFILE (ulimit -n), or close some files",
        meaning="A namespace that is held is an open file, and how many there may be is limited.",
        manual="getrlimit(2)",
    ),
    Cause(
        name="kind-unknown",
        title="This kernel does not know that kind of namespace, or that question",
        steps=_OPEN,
        errnos=frozenset({EINVAL, ENOTTY}),
        find=_always,
        why="this kernel does not have that kind of namespace, or does not know the request",
        remedy="leave it out",
        meaning="Kinds of namespaces came one after the other, and so did the questions one can ask of them.",
        manual="namespaces(7), ioctl_nsfs(2)",
    ),
    Cause(
        name="no-way-back",
        title="The thread could not keep the way back",
        steps=frozenset({"open own"}),
        errnos=ANY,
        find=_always,
        why="the thread could not keep the way back to where it is",
        remedy="see whether /proc is mounted",
        meaning="Before a thread goes to other namespaces it opens its own, to be able to return.",
        manual="setns(2)",
    ),
    Cause(
        name="dead-pid-namespace-joined",
        title="The PID namespace that is to be joined is dead",
        steps=_JOIN,
        errnos=frozenset({ESRCH}),
        find=_always,
        why="PID 1 of that PID namespace has ended, and the kernel starts nothing more in it",
        remedy="make a new one; a PID namespace lives as long as its PID 1, even where descriptors or mounts keep it",
        meaning="The first process of a PID namespace is its init. Without it nothing can live there.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="dead-pid-namespace-entered",
        title="Nothing can be started in the joined PID namespace",
        steps=frozenset({"descend"}),
        errnos=frozenset({ENOMEM}),
        find=_always,
        why="PID 1 of the joined PID namespace has ended: not memory is short",
        remedy="make a new one",
        meaning="The kernel says ENOMEM for a PID namespace without an init, whatever the memory.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="not-owner",
        title="The user namespace belongs to somebody else",
        steps=_JOIN,
        errnos=frozenset({EPERM}),
        find=_is_user,
        why="only its owner, and root above it, has the rights in a user namespace that joining it takes",
        remedy="run as the user who made it",
        meaning="Whoever makes a user namespace owns it, and so everything in it.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="join-needs-capability",
        title="Joining takes CAP_SYS_ADMIN",
        steps=_JOIN,
        errnos=frozenset({EPERM}),
        find=_lacks_admin,
        why="joining takes CAP_SYS_ADMIN in the user namespace that the namespace belongs to, and in one's own",
        remedy="join that user namespace as well, as its owner; or run as root",
        meaning="A namespace belongs to a user namespace, and whoever has the rights there may join it.",
        manual="setns(2)",
    ),
    Cause(
        name="not-below",
        title="The namespace is not below the caller's user namespace",
        steps=_JOIN,
        errnos=frozenset({EPERM}),
        find=_always,
        why="the namespace belongs to a user namespace in which the caller has no rights: it is not below its own",
        remedy="run outside, where it was made",
        meaning="Root of a user namespace is root there and below, and nobody outside.",
        manual="setns(2), user_namespaces(7)",
    ),
    Cause(
        name="pid-not-below",
        title="A PID namespace is joined from above",
        steps=_JOIN,
        errnos=frozenset({EINVAL}),
        find=_is_pid,
        why="a PID namespace can be joined only from one it is below",
        remedy="start from outside",
        meaning="PID namespaces are nested, and a process can only go further in.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="user-in-already",
        title="The caller is in that user namespace already, or has several threads",
        steps=_JOIN,
        errnos=frozenset({EINVAL}),
        find=_is_user,
        why="the caller is in it already, or has several threads",
        remedy="leave it out",
        meaning="A user namespace is one for all threads of a process, and is entered once.",
        manual="setns(2)",
    ),
    Cause(
        name="shared-root",
        title="The root and working directory are shared with another thread",
        steps=_JOIN,
        errnos=frozenset({EINVAL}),
        find=_is_mount,
        why="the root and the working directory are shared with another process or thread",
        remedy="call unshare(CLONE_FS) first",
        meaning="To change the mount namespace changes what / is, and the other threads shall not be carried along.",
        manual="setns(2)",
    ),
    Cause(
        name="time-with-threads",
        title="A time namespace is joined by a single thread",
        steps=_JOIN,
        errnos=frozenset({EUSERS}),
        find=_always,
        why="a time namespace can only be joined by a process with a single thread",
        remedy="use nsbox.enter, which starts one",
        meaning="The clocks are part of the memory that all threads share.",
        manual="time_namespaces(7)",
    ),
    Cause(
        name="keep-needs-capability",
        title="Keeping a namespace by a mount takes CAP_SYS_ADMIN",
        steps=_KEEP,
        errnos=frozenset({EPERM}),
        find=_always,
        why="mounting takes CAP_SYS_ADMIN over the caller's mount namespace",
        remedy="run as root, or in a new user and mount namespace, which the mount then ends with",
        meaning="A namespace is kept by mounting it on a file, and who may mount is decided by the mount namespace.",
        manual="namespaces(7), mount(2)",
    ),
    Cause(
        name="keep-in-a-loop",
        title="The mount namespace cannot be kept there",
        steps=_KEEP,
        errnos=frozenset({EINVAL}),
        find=_is_mounting,
        why="a mount namespace can only be kept in an older one, below a mount that is not shared",
        remedy="use a directory that is a private mount of its own (mount --bind, mount --make-private)",
        meaning="A mount namespace that holds itself would never end.",
        manual="mount_namespaces(7)",
    ),
    Cause(
        name="not-kept",
        title="No namespace is kept at that path",
        steps=_KEEP,
        errnos=frozenset({EINVAL}),
        find=_always,
        why="it is not a mount point, or lies below one that may not be changed",
        remedy="look into /proc/self/mountinfo",
        meaning="What was kept by a mount is let go by unmounting it.",
        manual="umount(2)",
    ),
    Cause(
        name="kept-in-use",
        title="The mount that keeps the namespace is in use",
        steps=_KEEP,
        errnos=frozenset({EBUSY}),
        find=_always,
        why="it is in use",
        remedy="see who uses it with lsof",
        meaning="A mount cannot be taken away while somebody has a file or a directory of it open.",
        manual="umount(2)",
    ),
)
