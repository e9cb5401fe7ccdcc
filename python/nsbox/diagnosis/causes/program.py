"""Why the program's surroundings cannot be had: descriptors, ids, a terminal, nsbox-init itself."""

from __future__ import annotations

from errno import E2BIG, EACCES, EAGAIN, EBADF, EINVAL, EIO, EMFILE, ENFILE, ENOMEM, ENOTTY, EPERM

from nsbox.diagnosis.causes.cause import ANY, Cause, Failure, Found
from nsbox.diagnosis.evidence import Evidence

__all__ = ["PAYLOAD"]

_IDS = frozenset({"set groups", "setgid", "setuid"})


def _always(_: Failure, __: Evidence) -> Found | None:
    return {}


def _lacks_id_capability(failure: Failure, evidence: Evidence) -> Found | None:
    capability = "CAP_SETUID" if failure.step == "setuid" else "CAP_SETGID"
    return None if evidence.has(capability) else {"capability": capability}


PAYLOAD = (
    Cause(
        name="descriptor-limit",
        title="The limit of open files is reached",
        steps=frozenset({"prepare", "clone", "descriptors", "open target", "open own"}),
        errnos=frozenset({EMFILE, ENFILE}),
        find=_always,
        why="the limit of open descriptors is reached",
        remedy="close some files, or raise the limit before you start: ulimit -n $(ulimit -Hn)",
        meaning="Every open file, pipe and socket of a process has a number, and how many there may be is limited.",
        manual="getrlimit(2)",
    ),
    Cause(
        name="descriptor-closed",
        title="A descriptor that is to be passed on is not open",
        steps=frozenset({"descriptors"}),
        errnos=frozenset({EBADF}),
        find=_always,
        why="a descriptor that is to be passed on is not open in the caller",
        remedy="see that each of pass_fds, stdin, stdout and stderr is a file that is still open",
        meaning="pass_fds, stdin, stdout and stderr take numbers of open files.",
        manual="dup(2)",
    ),
    Cause(
        name="too-long",
        title="The arguments and the environment are too large",
        steps=frozenset({"exec init", "exec"}),
        errnos=frozenset({E2BIG}),
        find=_always,
        why="the arguments and the environment together, or one of them alone, are larger than the kernel takes",
        remedy="pass less: put large data into a file or a pipe",
        meaning="One argument may have 128 KiB, all together about a quarter of the limit of the stack.",
        manual="execve(2)",
    ),
    Cause(
        name="no-terminal",
        title="Standard input is no terminal",
        steps=frozenset({"controlling terminal"}),
        errnos=frozenset({ENOTTY}),
        find=_always,
        why="standard input is no terminal, so it cannot become the controlling terminal",
        remedy="run it in a terminal, not in a notebook or a pipe; in Python nsbox.Shell brings a terminal along",
        meaning="Ctrl-C and job control come from the controlling terminal of a session. Notebooks and pipes have "
        "none.",
        manual="ioctl_tty(2)",
    ),
    Cause(
        name="terminal-taken",
        title="The terminal belongs to another session",
        steps=frozenset({"controlling terminal"}),
        errnos=frozenset({EPERM, EIO}),
        find=_always,
        why="only the leader of a new session can take a terminal, and only one that no other session has",
        remedy="add start_new_session=True, and give it a terminal of its own; nsbox.Shell does both",
        meaning="A terminal controls one session at a time.",
        manual="ioctl_tty(2), setsid(2)",
    ),
    Cause(
        name="id-not-mapped",
        title="The id does not exist in that user namespace",
        steps=_IDS,
        errnos=frozenset({EINVAL}),
        find=_always,
        why="the id has no meaning in the user namespace that the program is in, because it is not mapped there",
        remedy="use an id that is mapped (the first numbers in /proc/PID/uid_map and gid_map), or map this one "
        "(map_users, map_groups)",
        meaning="Inside a user namespace only the ids of its map exist.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="id-not-allowed",
        title="The caller may not become somebody else",
        steps=_IDS,
        errnos=frozenset({EPERM}),
        find=_lacks_id_capability,
        why="the caller lacks {capability}, the right of root to become somebody else, and in a user namespace that "
        "maps one id nobody else exists",
        remedy="leave out who to become (user, group, extra_groups; --setuid, --setgid), or run as root",
        meaning="To become another user or group takes a capability outside, or a user namespace with a map of several "
        "ids "
        '(for groups also setgroups="allow").',
        manual="setresuid(2), setgroups(2), user_namespaces(7)",
        example={"capability": "CAP_SETUID"},
    ),
    Cause(
        name="setgroups-denied",
        title="setgroups is given up in the new user namespace",
        steps=frozenset({"set groups"}),
        errnos=frozenset({EPERM}),
        find=lambda _, evidence: {} if evidence.has("CAP_SETGID") else None,
        why='groups may not be changed in the new user namespace (setgroups is "deny"), as it is with a map of the '
        "caller's own group",
        remedy='leave the groups alone (no extra_groups, no --setgid), or map ranges of groups (map_groups="auto", '
        "--map-groups auto)",
        meaning="A map of a single group is allowed only to those who give up changing their groups.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="user-process-limit",
        title="That user has as many processes as it may have",
        steps=frozenset({"setuid"}),
        errnos=frozenset({EAGAIN}),
        find=_always,
        why="that user has as many processes as RLIMIT_NPROC allows",
        remedy="end some of that user's processes (ps -u USER lists them), or raise the limit: ulimit -u NUMBER",
        meaning="The limit counts the processes of a user, wherever they were started.",
        manual="setresuid(2)",
    ),
    Cause(
        name="foreign-group",
        title="The process group is not one of this session",
        steps=frozenset({"setpgid"}),
        errnos=frozenset({EPERM, EACCES}),
        find=_always,
        why="there is no such process group in the session of the program",
        remedy="use process_group=0 for a new one",
        meaning="A process can only move to a group of its own session, and in a new PID namespace older groups have "
        "no number.",
        manual="setpgid(2)",
    ),
    Cause(
        name="out-of-memory",
        title="Memory is short",
        steps=frozenset({"prepare", "clone", "fork", "exec init", "exec"}),
        errnos=frozenset({ENOMEM}),
        find=lambda _, __: None,
        why="memory is short",
        remedy="end programs that take much memory (top shows them), or raise the limit of the cgroup (docker run "
        "--memory); `sudo dmesg` can tell more",
        meaning="The kernel could not get memory, or a limit of the cgroup is reached.",
        manual="cgroups(7)",
        traceless=lambda _, evidence: evidence.children_born_into != "dead",
    ),
    Cause(
        name="bug",
        title="The two halves of nsbox do not fit together",
        steps=frozenset({"plan"}),
        errnos=ANY,
        find=_always,
        why="nsbox-init did not understand its plan",
        remedy="this is a bug in nsbox; please report it with this message",
        meaning="Everything nsbox-init is told is checked before it is done. This should never be seen.",
        manual="",
    ),
)
