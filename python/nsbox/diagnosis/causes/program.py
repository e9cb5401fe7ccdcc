"""Why the process of the program cannot be set up: its descriptors, ids and terminal, and nsbox-init itself."""

from __future__ import annotations

from errno import E2BIG, EACCES, EAGAIN, EBADF, ECONNRESET, EFBIG, EINVAL, EIO, ENOTTY, EPERM, ESRCH, ETIMEDOUT

from nsbox.diagnosis.causes.cause import ANY, Cause, FailedStep, Found, always
from nsbox.diagnosis.evidence import Evidence

__all__ = ["PROGRAM"]

_IDS = frozenset({"set groups", "setgid", "setuid"})


def _no_id_capability(failed: FailedStep, evidence: Evidence) -> Found | None:
    capability = "CAP_SETUID" if failed.step == "setuid" else "CAP_SETGID"
    return None if evidence.has(capability) else {"capability": capability}


PROGRAM = (
    Cause(
        name="descriptor-closed",
        title="A descriptor that is to be passed on is not open",
        steps=frozenset({"descriptors"}),
        errnos=frozenset({EBADF}),
        find=always,
        why="a descriptor that is to be passed on is not open in the caller",
        remedy="pass only files that are still open, as pass_fds, stdin, stdout and stderr",
        meaning="pass_fds, stdin, stdout and stderr take numbers of open files.",
        manual="dup(2)",
    ),
    Cause(
        name="descriptor-above-limit",
        title="A descriptor that is to be passed on is above the limit of the box",
        steps=frozenset({"descriptors"}),
        errnos=frozenset({EINVAL}),
        find=always,
        why="the number of that descriptor is above the limit of open files that the box had when it was made",
        remedy="give it a lower number: fd = os.dup(fd), in a process with few open files; or raise the limit before "
        "the box is made: ulimit -n $(ulimit -Hn)",
        meaning="nsbox-init keeps the limit of open files (RLIMIT_NOFILE) that the caller had when it made the box.",
        manual="getrlimit(2), F_DUPFD(2const)",
    ),
    Cause(
        name="file-size-limit",
        title="The limit on the size of files is too low",
        steps=frozenset({"prepare"}),
        errnos=frozenset({EFBIG}),
        find=always,
        why="nsbox writes a file in memory, with its helper program or a large environment, and the limit on the size "
        "of files (RLIMIT_FSIZE) is below that",
        remedy="raise the limit before you start: ulimit -f unlimited; a limit for the program alone is set by the "
        "option rlimits",
        meaning="The limit also holds for files in memory.",
        manual="getrlimit(2), memfd_create(2)",
    ),
    Cause(
        name="too-long",
        title="The arguments and the environment are too large",
        steps=frozenset({"exec init", "exec"}),
        errnos=frozenset({E2BIG}),
        find=always,
        why="the arguments and the environment together, or one string of them, are larger than the kernel takes",
        remedy="pass less: put large data into a file or a pipe",
        meaning="One string may have 128 KiB, all together a quarter of the limit of the stack (RLIMIT_STACK).",
        manual="execve(2)",
    ),
    Cause(
        name="no-terminal",
        title="Standard input is no terminal",
        steps=frozenset({"controlling terminal"}),
        errnos=frozenset({ENOTTY}),
        find=always,
        why="standard input is no terminal, so it cannot become the controlling terminal",
        remedy="run it in a terminal, not in a notebook or a pipe; in Python, nsbox.Shell makes a terminal",
        meaning="Ctrl-C and job control need the controlling terminal of a session. Notebooks and pipes have none.",
        manual="ioctl_tty(2)",
    ),
    Cause(
        name="terminal-taken",
        title="The terminal belongs to another session",
        steps=frozenset({"controlling terminal"}),
        errnos=frozenset({EPERM, EIO}),
        find=always,
        why="only the leader of a new session can take a terminal, and only a terminal that no other session has",
        remedy="add start_new_session=True, and give it a terminal of its own; nsbox.Shell does both",
        meaning="A terminal controls one session at a time.",
        manual="ioctl_tty(2), setsid(2)",
    ),
    Cause(
        name="id-not-mapped",
        title="The id does not exist in that user namespace",
        steps=_IDS,
        errnos=frozenset({EINVAL}),
        find=always,
        why="the id is not mapped in the user namespace of the program",
        remedy="use an id that is mapped: /proc/PID/uid_map and gid_map have the first one and, in the third column, "
        "how many; or map this one (map_users, map_groups)",
        meaning="Inside a user namespace only the ids of its map exist.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="id-not-allowed",
        title="The caller may not change to another user or group",
        steps=_IDS,
        errnos=frozenset({EPERM}),
        find=_no_id_capability,
        why="the caller does not have {capability}, the right of root to change to another id, and in a user namespace "
        "that maps one id there is no other id",
        remedy="leave the change out (user, group, extra_groups; --setuid, --setgid), or run as root",
        meaning="To change to another user or group, a process needs a capability outside, or a user namespace that "
        'maps several ids (for groups also setgroups="allow").',
        manual="setresuid(2), setgroups(2), user_namespaces(7)",
        example={"capability": "CAP_SETUID"},
    ),
    Cause(
        name="setgroups-denied",
        title='setgroups is "deny" in the new user namespace',
        steps=frozenset({"set groups"}),
        errnos=frozenset({EPERM}),
        find=lambda _, evidence: {} if evidence.has("CAP_SETGID") else None,
        why='groups may not be changed in the new user namespace: setgroups is "deny", as always with a map of the '
        "caller's own group alone",
        remedy='leave the groups alone (no extra_groups, no --setgid), or map ranges of groups (map_groups="auto", '
        "--map-groups auto)",
        meaning="An ordinary user may map its own group only when groups can no longer be changed in the namespace.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="user-process-limit",
        title="That user has as many processes as its limit allows",
        steps=frozenset({"setuid"}),
        errnos=frozenset({EAGAIN}),
        find=always,
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
        find=always,
        why="the session of the program has no such process group",
        remedy="use process_group=0, which makes a new one",
        meaning="A process can move only to a group of its own session, and in a new PID namespace older groups have "
        "no number.",
        manual="setpgid(2)",
    ),
    Cause(
        name="bug",
        title="nsbox-init does not understand the plan that nsbox sent",
        steps=frozenset({"plan"}),
        errnos=ANY,
        find=always,
        why="nsbox-init does not understand its plan",
        remedy="this is a bug in nsbox: please report it, with this message",
        meaning="nsbox-init checks its whole plan before it carries out the first step. This error should never occur.",
        manual="",
    ),
    Cause(
        name="init-ended",
        title="nsbox-init was killed",
        steps=frozenset({"init", "request"}),
        errnos=frozenset({ECONNRESET}),
        find=always,
        why="another process killed nsbox-init, or the kernel did because memory was short",
        remedy="start again; sudo dmesg shows whether the kernel killed a process because of memory",
        meaning="nsbox-init sets up the namespaces, starts the program and waits for its end. Without it, the program "
        "is killed too.",
        manual="signal(7), proc_pid_oom_score(5)",
    ),
    Cause(
        name="stopped-in-setup",
        title="Another process stopped the new one again and again before it ran its program",
        steps=frozenset({"copy init", "fork", "start"}),
        errnos=frozenset({ETIMEDOUT}),
        find=always,
        why="a program in the same namespaces sent SIGSTOP to the new process again and again, so it never ran",
        remedy="end the program that sends SIGSTOP (box.ps() lists all), or start in a new box",
        meaning="A process that has the same user can stop another one. It is sent SIGCONT ten times or more, and "
        "then killed.",
        manual="signal(7)",
    ),
    Cause(
        name="ended-in-setup",
        title="Another process stopped or killed one that makes namespaces",
        steps=frozenset({"new user", "unshare time"}),
        errnos=frozenset({ESRCH, ETIMEDOUT}),
        find=always,
        why="a program in the outer box stopped or killed a process that makes the new namespaces",
        remedy="end the program that sends the signals (box.ps() lists all), or make the box in another one",
        meaning="The maps of a user namespace and the clocks of a time namespace are files of a process in it. A "
        "program that runs there already may send signals to that process.",
        manual="signal(7), user_namespaces(7)",
    ),
)
