"""Why namespaces that exist already cannot be opened, joined, left or kept."""

from __future__ import annotations

from errno import EACCES, EBUSY, EINVAL, ELOOP, ENOENT, ENOMEM, ENOTDIR, EPERM, ESRCH, EUSERS
from pathlib import PurePath

from nsbox.diagnosis.causes.cause import DENIED, Cause, Failure, Found
from nsbox.diagnosis.evidence import Evidence
from nsbox.spec.kinds import KINDS

__all__ = ["JOINING"]

_OPEN = frozenset({"open target"})
_JOIN = frozenset(f"join {kind}" for kind in KINDS if kind != "user")


def _always(_: Failure, __: Evidence) -> Found | None:
    return {}


def _request(failure: Failure) -> str:
    """Return the name of the ioctl(2) request; empty for other calls."""
    return next(iter(failure.argument("op") or ()), "")


def _relative(failure: Failure, _: Evidence) -> Found | None:
    return {} if _request(failure).startswith("NS_GET_") else None


def _thread(failure: Failure, _: Evidence) -> Found | None:
    # pidfd_open(2) has no other reason for these numbers: EINVAL, and ENOENT on later kernels.
    return {} if failure.calls_one_of("pidfd_open") else None


def _of_a_process(failure: Failure, _: Evidence) -> Found | None:
    parts = PurePath(failure.argument("path") or "/").parts
    of_process = len(parts) > 2 and parts[1] == "proc" and parts[2].isdigit()
    return {} if of_process or _request(failure).startswith("PIDFD_GET_") else None


def _of_a_file(failure: Failure, _: Evidence) -> Found | None:
    return {} if failure.calls_one_of("open") else None


def _no_chroot(_: Failure, evidence: Evidence) -> Found | None:
    return {} if evidence.has("CAP_SYS_ADMIN") and not evidence.has("CAP_SYS_CHROOT") else None


def _joins(failure: Failure, _: Evidence) -> Found | None:
    # Joining the cgroup itself, by a write, has the same name as joining a namespace of that kind.
    return {} if failure.calls_one_of("setns") else None


def _no_right(failure: Failure, evidence: Evidence) -> Found | None:
    return None if evidence.has("CAP_SYS_ADMIN") else _joins(failure, evidence)


def _pidns(failure: Failure, _: Evidence) -> Found | None:
    return {} if failure.argument("key") == "pidns" else None


JOINING = (
    Cause(
        name="target-gone",
        title="There is no such process",
        steps=_OPEN,
        errnos=frozenset({ESRCH}),
        find=_always,
        why="there is no such process: it has ended, or the number is one of another PID namespace",
        remedy="look for its number in `nsbox ps`; in Python, give the Popen or the Box itself instead of a number",
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
        remedy="ask from outside, such as from a shell outside of the container",
        meaning="A process sees the namespaces that were made inside of its own, and not those around it.",
        manual="ioctl_nsfs(2)",
    ),
    Cause(
        name="target-is-a-thread",
        title="The number is that of a thread",
        steps=_OPEN,
        errnos=frozenset({ENOENT, EINVAL}),
        find=_thread,
        why="the number is that of a thread, and not of a process",
        remedy="use the number of its process: grep Tgid /proc/NUMBER/status prints it",
        meaning="Threads have numbers as processes have. A process has the number of its first thread.",
        manual="pidfd_open(2)",
    ),
    Cause(
        name="target-hidden",
        title="The process may not be looked into",
        steps=_OPEN,
        errnos=DENIED,
        find=_of_a_process,
        why="namespaces, directories and environment of a process can be opened only by whoever may trace it, as a "
        "debugger does",
        remedy="run as the user whose process it is, or as root; instead of an nsbox-init, which nobody may trace, "
        "name the box or the program below it",
        meaning="Who can open a process's namespaces can nearly take its place. So the kernel asks for the rights that "
        "a debugger needs.",
        manual="ptrace(2)",
    ),
    Cause(
        name="closed-file",
        title="The file may not be opened",
        steps=_OPEN,
        errnos=DENIED,
        find=_of_a_file,
        why="this user may not open that file, or not enter a directory on the way to it",
        remedy="run as its owner, or as root",
        meaning="A namespace that is kept at a file, a directory and a cgroup are protected as other files are.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="no-namespace-file",
        title="There is no such file",
        steps=_OPEN,
        errnos=frozenset({ENOENT, ENOTDIR, ELOOP}),
        find=_always,
        why="nothing is there that could be opened",
        remedy="check the path: a namespace is a file such as /proc/PID/ns/net, or one that was made to keep it "
        "(unshare --net=FILE, persist()); a root or a working directory is a directory",
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
        remedy="make a new box, or a new program in a new PID namespace",
        meaning="A PID namespace lives as long as its PID 1, even where descriptors or mounts keep it.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="not-the-owner",
        title="The user namespace belongs to somebody else",
        steps=frozenset({"join user"}),
        errnos=frozenset({EPERM}),
        find=_always,
        why="a user namespace can be joined only from one around it, by the user who made it or by root there",
        remedy="run it outside of that user namespace, as the user who made it; nsbox lsns shows whose it is",
        meaning="Whoever joins a user namespace is all-powerful in it.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="groups-cannot-be-dropped",
        title="Nobody in that user namespace may change groups, and the caller may not do it outside either",
        steps=frozenset({"drop groups"}),
        errnos=frozenset({EPERM}),
        find=_always,
        why='groups may not be changed in the joined user namespace (setgroups is "deny"), and outside of it the '
        "caller lacks CAP_SETGID, the right to change them",
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
        why="joining takes a right of root, CAP_SYS_ADMIN, both in one's own user namespace and in the one the "
        "namespace belongs to",
        remedy="add --user (in Python: user among the kinds), as the user who made that user namespace; or run as root",
        meaning="Every namespace belongs to the user namespace in which it was made, and only root of that one, or of "
        "one around it, may send processes there.",
        manual="setns(2)",
    ),
    Cause(
        name="no-right-to-join-mounts",
        title="The caller may not change its root directory, which other mounts bring along",
        steps=frozenset({"join mount"}),
        errnos=frozenset({EPERM}),
        find=_no_chroot,
        why="joining a mount namespace takes a second right of root, CAP_SYS_CHROOT, which the caller lacks",
        remedy="add --user (in Python: user among the kinds), which joins the user namespace that it belongs to; or "
        "run where root has this right",
        places={"docker": "start the container anew with the option added: docker run --cap-add SYS_CHROOT"},
        meaning="Whoever joins a mount namespace gets its root directory, which is a chroot(2) as well.",
        manual="setns(2)",
    ),
    Cause(
        name="foreign-owner",
        title="The namespace belongs to a user namespace that is not inside of the caller's",
        steps=_JOIN,
        errnos=frozenset({EPERM}),
        find=_joins,
        why="the namespace belongs to a user namespace in which the caller has no rights: it is not inside of its own",
        remedy="run it outside, such as in a new terminal: in the user namespace in which that namespace was made",
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
        remedy="run it outside, such as in a new terminal: in a PID namespace around that one",
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
        remedy="leave the user namespace out (no --user); in Python with threads use nsbox.enter, which joins it with "
        "another process",
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
        remedy="use nsbox.setns, or call nsbox.raw.unshare(nsbox.raw.CLONE_FS) first",
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
        remedy="do not mount it here, but start a program with one of its own: nsbox.run(..., mount_proc=True)",
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
        remedy="leave the clocks alone (no boottime, no monotonic), or make the time namespace from a program inside",
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
        why="a namespace is kept at a file by a mount, which takes a right of root, CAP_SYS_ADMIN, in the caller's "
        "mount namespace",
        remedy="run as root, or in a shell of nsbox unshare -r -m, with which the mount ends",
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
        remedy="see what is mounted there: nsbox.mounts(), or findmnt FILE",
        meaning="What came into a mount namespace together, or from another user's, cannot be taken apart in it.",
        manual="umount(2)",
    ),
)
