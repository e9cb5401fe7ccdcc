"""Why namespaces that exist cannot be opened or joined."""

from __future__ import annotations

from errno import EBADF, EINVAL, ELOOP, ENOENT, ENOMEM, ENOTDIR, ENOTSOCK, ENXIO, EPERM, ESRCH, EUSERS
from pathlib import PurePath

from nsbox.diagnosis.causes.cause import DENIED, Cause, FailedStep, Found, always
from nsbox.diagnosis.evidence import Evidence
from nsbox.spec.step_names import JOIN_STEPS

__all__ = ["JOINING"]

_OPEN = frozenset({"open target"})
_JOIN = frozenset(step for kind, step in JOIN_STEPS.items() if kind != "user")


def _request(failed: FailedStep) -> str:
    """Return the name of the ioctl(2) request; empty for other calls."""
    return next(iter(failed.argument("op") or ()), "")


def _relative(failed: FailedStep, _: Evidence) -> Found | None:
    return {} if _request(failed).startswith("NS_GET_") else None


def _thread(failed: FailedStep, _: Evidence) -> Found | None:
    # pidfd_open(2) has no other reason for these numbers: EINVAL, and ENOENT on later kernels.
    return {} if failed.calls_one_of("pidfd_open") else None


def _of_a_process(failed: FailedStep, _: Evidence) -> Found | None:
    parts = PurePath(failed.argument("path") or "/").parts
    of_process = len(parts) > 2 and parts[1] == "proc" and parts[2].isdigit()
    return {} if of_process or _request(failed).startswith("PIDFD_GET_") else None


def _of_a_file(failed: FailedStep, _: Evidence) -> Found | None:
    return {} if failed.calls_one_of("open") else None


def _of_a_socket(failed: FailedStep, _: Evidence) -> Found | None:
    return {} if failed.calls_one_of("pidfd_getfd") else None


def _no_chroot(_: FailedStep, evidence: Evidence) -> Found | None:
    return {} if evidence.has("CAP_SYS_ADMIN") and not evidence.has("CAP_SYS_CHROOT") else None


def _joins(failed: FailedStep, _: Evidence) -> Found | None:
    # A process enters a cgroup, by a write, in a step of the same name.
    return {} if failed.calls_one_of("setns") else None


def _no_right(failed: FailedStep, evidence: Evidence) -> Found | None:
    return None if evidence.has("CAP_SYS_ADMIN") else _joins(failed, evidence)


JOINING = (
    Cause(
        name="target-gone",
        title="There is no such process",
        steps=_OPEN,
        errnos=frozenset({ESRCH}),
        find=always,
        why="there is no such process: it has ended, or the number is one of another PID namespace",
        remedy="look for its number in `nsbox ps`; in Python, give the Popen or the Box itself instead of a number",
        meaning="When a process has ended, another process may get the same number.",
        manual="pidfd_open(2)",
    ),
    Cause(
        name="outside-own-namespace",
        title="The namespace asked for is outside of the caller's own",
        steps=_OPEN,
        errnos=frozenset({EPERM}),
        find=_relative,
        why="that namespace is outside of the caller's own",
        remedy="run it outside, such as in a shell outside of the container",
        meaning="A process can open the namespaces that were made inside of its own, and not those around it.",
        manual="ioctl_nsfs(2)",
    ),
    Cause(
        name="target-is-a-thread",
        title="The number is that of a thread",
        steps=_OPEN,
        errnos=frozenset({ENOENT, EINVAL}),
        find=_thread,
        why="the number is that of a thread, not of a process",
        remedy="use the number of its process: grep Tgid /proc/NUMBER/status prints it",
        meaning="Each thread has a number. The number of a process is that of its first thread.",
        manual="pidfd_open(2)",
    ),
    Cause(
        name="target-hidden",
        title="The caller may not trace the process",
        steps=_OPEN,
        errnos=DENIED,
        find=_of_a_process,
        why="to open the namespaces, the directories and the environment of a process, the caller must have the right "
        "to trace it, as a debugger needs",
        remedy="run as the user whose process it is, or as root; instead of an nsbox-init, which no ordinary user may "
        "trace, name the box or the program below it",
        meaning="With the namespaces of a process a user can do nearly all that the process can. So the kernel "
        "requires the rights that a debugger needs.",
        manual="ptrace(2)",
    ),
    Cause(
        name="closed-file",
        title="This user may not open the file",
        steps=_OPEN,
        errnos=DENIED,
        find=_of_a_file,
        why="this user may not open that file, or may not enter a directory on the way to it",
        remedy="run as its owner, or as root: ls -l FILE shows who that is",
        meaning="A file that keeps a namespace, a directory and a cgroup have an owner and permissions, as all files.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="no-namespace-file",
        title="There is no such file",
        steps=_OPEN,
        errnos=frozenset({ENOENT, ENOTDIR, ELOOP, ENXIO}),
        find=always,
        why="the path leads to no file that can be opened",
        remedy="correct the path: a namespace is a file such as /proc/PID/ns/net, or one that was made to keep it "
        "(unshare --net=FILE, persist()); a root or a working directory is a directory",
        meaning="A namespace can be opened at its file in /proc, and at a file on which it was mounted.",
        manual="namespaces(7)",
    ),
    Cause(
        name="no-socket",
        title="The descriptor is no socket",
        steps=_OPEN,
        errnos=frozenset({EBADF, ENOTSOCK}),
        find=_of_a_socket,
        why="the target has no open descriptor with this number, or one that is no socket",
        remedy="use the number of a socket: ls -l /proc/PID/fd shows all descriptors of the target",
        meaning="A socket stays in the network namespace in which it was made, whatever its process joins later.",
        manual="pidfd_getfd(2)",
    ),
    Cause(
        name="closed-socket",
        title="The caller may not ask a socket for its network namespace",
        steps=_OPEN,
        errnos=DENIED,
        find=_of_a_socket,
        why="the caller must have the right to trace the target, as a debugger needs, and CAP_NET_ADMIN, a right of "
        "root, over the network namespace of the socket",
        remedy="run as root; or as the user who made the user namespace to which that network namespace belongs, from "
        "outside of it",
        meaning="A copy of a socket can be used as the socket itself. So the kernel requires the rights that a "
        "debugger needs, and for its network namespace those of an administrator of networks.",
        manual="pidfd_getfd(2), capabilities(7)",
    ),
    Cause(
        name="dead-target",
        title="The PID namespace to be joined is dead",
        steps=frozenset({"join pid", "descend"}),
        errnos=frozenset({ESRCH, ENOMEM}),
        find=always,
        why="PID 1 of that PID namespace has ended, and the kernel starts no process in it any more",
        remedy="make a new box, or a new program in a new PID namespace",
        meaning="When PID 1 ends, its PID namespace is dead, even while a descriptor or a mount keeps it.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="not-the-owner",
        title="The user namespace belongs to another user",
        steps=frozenset({"join user"}),
        errnos=frozenset({EPERM}),
        find=always,
        why="a user namespace can be joined only from one around it, and only by the user who made it or by root there",
        remedy="run it outside of that user namespace, as the user who made it: nsbox lsns shows the user",
        meaning="A process that joins a user namespace gets all rights of root in it.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="groups-cannot-be-dropped",
        title="The groups can be changed neither in that user namespace nor outside",
        steps=frozenset({"drop groups"}),
        errnos=frozenset({EPERM}),
        find=always,
        why='no process may change groups in the joined user namespace (setgroups is "deny"), and outside the caller '
        "does not have CAP_SETGID, the right to change them",
        remedy="add --preserve-credentials, which leaves the ids and groups as they are",
        meaning="nsenter makes a process that joins a user namespace root there, and takes its other groups away. A "
        "file can forbid access to the members of a group, so a process may not always leave its groups.",
        manual="nsenter(1), user_namespaces(7)",
    ),
    Cause(
        name="no-right-to-join",
        title="The caller has no rights in the user namespace that the namespace belongs to",
        steps=_JOIN,
        errnos=frozenset({EPERM}),
        find=_no_right,
        why="to join it the caller needs CAP_SYS_ADMIN, a right of root, both in its own user namespace and in the one "
        "to which the namespace belongs",
        remedy="add --user (in Python: user among the kinds), as the user who made that user namespace; or run as root",
        meaning="Every namespace belongs to the user namespace in which it was made. Only root of that one, or of one "
        "around it, may join it.",
        manual="setns(2)",
    ),
    Cause(
        name="no-right-to-join-mounts",
        title="The caller may not change its root directory, which changes with the mounts",
        steps=frozenset({"join mount"}),
        errnos=frozenset({EPERM}),
        find=_no_chroot,
        why="to join a mount namespace the caller also needs CAP_SYS_CHROOT, a right of root, and does not have it",
        remedy="add --user (in Python: user among the kinds), which joins the user namespace that it belongs to; or "
        "run where root has this right",
        places={"docker": "start the container anew with the option added: docker run --cap-add SYS_CHROOT"},
        meaning="A process that joins a mount namespace gets the root directory of it, as by chroot(2).",
        manual="setns(2)",
    ),
    Cause(
        name="no-number-inside",
        title="The joined user namespace has no root, and no number for the caller",
        steps=frozenset({"become root"}),
        errnos=frozenset({EINVAL}),
        find=always,
        why="the user namespace maps neither 0 nor the caller's own user and group, so the program would keep the "
        "caller's rights under the name of nobody",
        remedy="add preserve_credentials=True with user, group and extra_groups=[]: ids that are mapped there, see "
        "/proc/PID/uid_map",
        meaning="Inside a user namespace only the ids of its map exist. An id of outside stays what it was outside.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="foreign-owner",
        title="The namespace belongs to a user namespace that is not inside of the caller's",
        steps=_JOIN,
        errnos=frozenset({EPERM}),
        find=_joins,
        why="the namespace belongs to a user namespace that is not inside of the caller's own, so the caller has no "
        "rights in it",
        remedy="run it outside, such as in a new terminal: in the user namespace in which that namespace was made",
        meaning="Root of a user namespace has no rights of root outside of it, nor in another one beside it.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="not-below",
        title="The PID namespace is not inside of the caller's own",
        steps=frozenset({"join pid"}),
        errnos=frozenset({EINVAL}),
        find=always,
        why="a PID namespace can be joined only from one that it is nested in",
        remedy="run it outside, such as in a new terminal: in a PID namespace around that one",
        meaning="A process has a number in each PID namespace around its own and keeps them all, so it can join only "
        "those further inside.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="cannot-change-users",
        title="The caller is in that user namespace already, or has several threads",
        steps=frozenset({"join user"}),
        errnos=frozenset({EINVAL}),
        find=always,
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
        find=always,
        why="the root and the working directory are shared with another thread or process",
        remedy="use nsbox.setns, or call nsbox.raw.unshare(nsbox.raw.CLONE_FS) first",
        meaning="A root and a working directory are places in mounts. Threads that share them must have the same "
        "mounts.",
        manual="setns(2)",
    ),
    Cause(
        name="time-and-threads",
        title="The process has several threads, which share their clocks",
        steps=frozenset({"join time"}),
        errnos=frozenset({EUSERS}),
        find=always,
        why="a time namespace can be joined only by a process with a single thread",
        remedy="use nsbox.enter, which starts another process",
        meaning="Programs read the clocks from memory, which all threads of a process share.",
        manual="time_namespaces(7)",
    ),
)
