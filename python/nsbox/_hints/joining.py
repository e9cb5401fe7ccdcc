"""Why namespaces that exist already cannot be opened, joined, left or kept."""

from __future__ import annotations

from errno import EACCES, EBUSY, EINVAL, ELOOP, ENOENT, ENOMEM, ENOTDIR, EPERM, ESRCH, EUSERS

from nsbox._evidence import Evidence
from nsbox._hints.cause import DENIED, Cause, Failure, Found
from nsbox.spec import KINDS

__all__ = ["JOINING"]

_OPEN = frozenset({"open target"})
_JOIN = frozenset(f"join {kind}" for kind in KINDS if kind != "user")


def _always(_: Failure, __: Evidence) -> Found | None:
    return {}


def _relative(failure: Failure, _: Evidence) -> Found | None:
    return {} if "NS_GET_" in failure.call else None


def _no_right(_: Failure, evidence: Evidence) -> Found | None:
    return None if evidence.has("CAP_SYS_ADMIN") else {}


def _pidns(failure: Failure, _: Evidence) -> Found | None:
    return {} if "pidns" in failure.call else None


JOINING = (
    Cause(
        name="target-gone",
        title="There is no such process",
        steps=_OPEN,
        errnos=frozenset({ESRCH}),
        find=_always,
        why="there is no such process: it has ended, or the number is one of another PID namespace",
        remedy="look with nsbox.ps(); a pidfd, or an object that holds one, cannot become another process's",
        meaning="A PID is only a number. When the process has ended, the next one may get it.",
        manual="pidfd_open(2)",
    ),
    Cause(
        name="outside-own-namespace",
        title="The owner or the parent is outside of the caller's own namespace",
        steps=_OPEN,
        errnos=frozenset({EPERM}),
        find=_relative,
        why="that namespace is outside of the caller's own",
        remedy="ask from further outside",
        meaning="A process sees the namespaces that were made inside of its own, and not those around it.",
        manual="ioctl_nsfs(2)",
    ),
    Cause(
        name="target-hidden",
        title="The process may not be looked into",
        steps=_OPEN,
        errnos=DENIED,
        find=_always,
        why="the namespaces of a process can be opened only by whoever may trace it",
        remedy="run as the same user or as root; an nsbox-init can never be traced, so name its program or the box",
        meaning="Who can open a process's namespaces can nearly take its place. So the kernel asks for the rights that "
        "a debugger needs.",
        manual="ptrace(2)",
    ),
    Cause(
        name="no-namespace-file",
        title="There is no such file",
        steps=_OPEN,
        errnos=frozenset({ENOENT, ENOTDIR, ELOOP}),
        find=_always,
        why="there is no such file",
        remedy="a path is that of a namespace, such as /proc/PID/ns/net, or a file made by persist()",
        meaning="Namespaces are files in /proc, and wherever such a file was mounted.",
        manual="namespaces(7)",
    ),
    Cause(
        name="dead-target",
        title="The PID namespace to be joined is dead",
        steps=frozenset({"join pid", "descend"}),
        errnos=frozenset({ESRCH, ENOMEM}),
        find=_always,
        why="PID 1 of that PID namespace has ended, and the kernel starts nothing more in it",
        remedy="make a new one",
        meaning="A PID namespace lives as long as its PID 1, even where descriptors or mounts keep it.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="not-the-owner",
        title="The user namespace belongs to somebody else",
        steps=frozenset({"join user"}),
        errnos=frozenset({EPERM}),
        find=_always,
        why="only the user who made a user namespace, and root above it, has the rights to join it",
        remedy="run as the user who made it",
        meaning="Whoever joins a user namespace is all-powerful in it.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="groups-cannot-be-dropped",
        title="Nobody in that user namespace may change groups, and the caller may not do it outside either",
        steps=frozenset({"drop groups"}),
        errnos=frozenset({EPERM}),
        find=_always,
        why='setgroups is "deny" in the joined user namespace, and outside of it the caller lacks CAP_SETGID',
        remedy="add --preserve-credentials, which leaves the ids and groups as they are",
        meaning="Who joins a user namespace becomes its root and leaves all other groups, as nsenter(1) has it. "
        "Leaving groups can be forbidden, as a group may be there to keep somebody out.",
        manual="nsenter(1), user_namespaces(7)",
    ),
    Cause(
        name="no-right-to-join",
        title="The caller has no rights in the user namespace that the namespace belongs to",
        steps=_JOIN,
        errnos=frozenset({EPERM}),
        find=_no_right,
        why="joining takes CAP_SYS_ADMIN, both in one's own user namespace and in the one the namespace belongs to",
        remedy="join that user namespace as well, as its owner; or run as root",
        meaning="Every namespace belongs to the user namespace in which it was made, and only root of that one, or of "
        "one around it, may send processes there.",
        manual="setns(2)",
    ),
    Cause(
        name="foreign-owner",
        title="The namespace belongs to a user namespace that is not inside of the caller's",
        steps=_JOIN,
        errnos=frozenset({EPERM}),
        find=_always,
        why="the namespace belongs to a user namespace in which the caller has no rights: it is not inside of its own",
        remedy="start outside, where it was made",
        meaning="Root of a user namespace is nobody outside of it, or in another one beside it.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="not-below",
        title="The PID namespace is not inside of the caller's own",
        steps=frozenset({"join pid"}),
        errnos=frozenset({EINVAL}),
        find=_always,
        why="a PID namespace can be joined only from one that it is nested in",
        remedy="start outside",
        meaning="A process keeps its numbers in all PID namespaces around its own, so it can only go further in.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="cannot-change-users",
        title="The caller is in that user namespace already, or has several threads",
        steps=frozenset({"join user"}),
        errnos=frozenset({EINVAL}),
        find=_always,
        why="the caller is in it already, or has several threads",
        remedy="leave it out, or use nsbox.enter, which starts another process",
        meaning="All threads of a process have the same user namespace.",
        manual="setns(2)",
    ),
    Cause(
        name="shared-directories",
        title="The root and the working directory are shared with another thread or process",
        steps=frozenset({"join mount"}),
        errnos=frozenset({EINVAL}),
        find=_always,
        why="the root and the working directory are shared with another thread or process",
        remedy="call unshare(CLONE_FS) first, as nsbox.setns does",
        meaning="Directories belong to the mounts one sees, so who shares them must see the same mounts.",
        manual="setns(2)",
    ),
    Cause(
        name="time-and-threads",
        title="The process has several threads, which share their clocks",
        steps=frozenset({"join time"}),
        errnos=frozenset({EUSERS}),
        find=_always,
        why="a time namespace can be joined only by a process with a single thread",
        remedy="use nsbox.enter, which starts another process",
        meaning="The clocks are read from memory, which all threads share.",
        manual="time_namespaces(7)",
    ),
    Cause(
        name="proc-of-other-pids",
        title="This kernel mounts a proc only for the caller's own PID namespace",
        steps=frozenset({"mount proc"}),
        errnos=frozenset({EINVAL}),
        find=_pidns,
        why="before Linux 6.17 a proc can be mounted only for the PID namespace that the thread itself is in",
        remedy="start a program in there: nsbox.run(..., mount_proc=True)",
        meaning="A thread that has unshared its PID namespace is still in the old one; only its children are not.",
        manual="proc(5)",
    ),
    Cause(
        name="init-hides",
        title="nsbox-init hides from those in a joined user namespace",
        steps=frozenset({"clock offsets"}),
        errnos=frozenset({EACCES}),
        find=_always,
        why="where a user namespace is joined nsbox-init hides from those inside, and does not own its file of the "
        "clocks then",
        remedy="make the time namespace without joining a user namespace, or from a program inside",
        meaning="Root of a user namespace may trace all in it, and could steal what nsbox-init holds. A process that "
        "cannot be traced does not own its files in /proc.",
        manual="ptrace(2)",
    ),
    Cause(
        name="no-right-to-pin",
        title="The caller may not mount here",
        steps=frozenset({"pin", "unpin"}),
        errnos=DENIED,
        find=_always,
        why="mounting takes CAP_SYS_ADMIN over the caller's mount namespace",
        remedy="run as root, or in a new user and mount namespace, with which the mount ends",
        meaning="A namespace is kept in a file by mounting it there.",
        manual="mount(2)",
    ),
    Cause(
        name="cannot-unpin",
        title="It cannot be unmounted",
        steps=frozenset({"unpin"}),
        errnos=frozenset({EINVAL, EBUSY}),
        find=_always,
        why="nothing is mounted there that may be unmounted",
        remedy="look into /proc/self/mountinfo",
        meaning="What came into a mount namespace together, or from another user's, cannot be taken apart in it.",
        manual="umount(2)",
    ),
)
