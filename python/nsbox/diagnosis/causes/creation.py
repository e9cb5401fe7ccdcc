"""Why the kernel refuses new namespaces and new processes by its own rules."""

from __future__ import annotations

from errno import EAGAIN, EINVAL, ENOMEM, ENOSPC, EPERM, ETXTBSY

from nsbox.diagnosis.causes.cause import DENIED, MAKING, MAPPING, Cause, FailedStep, Found, always
from nsbox.diagnosis.evidence import Evidence
from nsbox.spec.kinds import KINDS

__all__ = ["CREATION", "new_user", "unmapped"]

SYSCTL = "sudo sysctl -w {settings}"
_FIRST_NUMBERS = 300
"""PIDs below this are used once only, before the numbers wrap (kernel/pid.c, RESERVED_PIDS)."""


def new_user(failed: FailedStep) -> bool:
    """Return whether the step makes a user namespace."""
    return "user" in failed.kinds


def _no_capability(failed: FailedStep, evidence: Evidence) -> Found | None:
    if new_user(failed) or not failed.kinds or evidence.has("CAP_SYS_ADMIN"):
        return None
    return {"who": "root" if evidence.uid == 0 else f"user {evidence.uid}"}


def unmapped(evidence: Evidence) -> str:
    """Return which of the caller's own ids, user or group, is not mapped in its user namespace; empty if both are."""
    for name, own, ranges in (("user", evidence.uid, evidence.uid_map), ("group", evidence.gid, evidence.gid_map)):
        if ranges is not None and not any(inside <= own < inside + count for inside, _, count in ranges):
            return name
    return ""


def _unmapped(failed: FailedStep, evidence: Evidence) -> Found | None:
    which = unmapped(evidence) if new_user(failed) else ""
    return {"which": which} if which else None


def _chroot(failed: FailedStep, evidence: Evidence) -> Found | None:
    return {} if new_user(failed) and evidence.root_is_mount is False else None


def _undecided_chroot(failed: FailedStep, evidence: Evidence) -> bool:
    return new_user(failed) and evidence.root_is_mount is not False


def _limit_zero(failed: FailedStep, evidence: Evidence) -> Found | None:
    zero = [kind for kind in failed.kinds if evidence.limits.get(kind) == 0]
    if not zero:
        return None
    names = [f"user.max_{KINDS[kind].link}_namespaces" for kind in zero]
    settings = " ".join(f"{name}=15000" for name in names)
    return {"limits": " and ".join(names), "be": "is" if len(names) == 1 else "are", "settings": settings}


def _limit_reached(failed: FailedStep, evidence: Evidence) -> Found | None:
    # In the first user namespace there are no outer limits and no levels, so the limit itself is the cause.
    nests = evidence.initial_user_namespace is not True or evidence.pid_depth != 1
    kinds = failed.kinds
    if nests or not kinds or any(kind not in evidence.limits for kind in kinds):
        return None
    return {"limits": ", ".join(f"user.max_{KINDS[kind].link}_namespaces is {evidence.limits[kind]}" for kind in kinds)}


def _too_deep(failed: FailedStep, evidence: Evidence) -> Found | None:
    return {} if "pid" in failed.kinds and evidence.pid_depth > 32 else None


def _missing_kind(failed: FailedStep, evidence: Evidence) -> Found | None:
    if evidence.kinds is None:
        return None
    missing = [kind for kind in failed.kinds if kind not in evidence.kinds]
    return {"kinds": ", ".join(missing)} if missing else None


def _dead(_: FailedStep, evidence: Evidence) -> Found | None:
    return {} if evidence.children_born_into == "dead" else None


def _moved(failed: FailedStep, evidence: Evidence) -> Found | None:
    elsewhere = evidence.children_born_into in ("unborn", "alive", "dead")
    return {} if elsewhere and "pid" in failed.kinds else None


def _task_limit(_: FailedStep, evidence: Evidence) -> Found | None:
    for name, limit, used in evidence.task_limits:
        # Processes start and end between the failure and this count.
        slack = _FIRST_NUMBERS if name == "kernel.pid_max" else 1
        if used >= 0 and used + slack >= limit:
            return {"limit": f"{name} is {limit}, and {used} are in use"}
    return None


def _any_task_limit(_: FailedStep, __: Evidence) -> bool:
    return True


def _memfd(_: FailedStep, evidence: Evidence) -> Found | None:
    return {"value": evidence.memfd_noexec} if evidence.memfd_noexec in ("1", "2") else None


CREATION = (
    Cause(
        name="no-capability",
        title="The caller does not have CAP_SYS_ADMIN, and asks for no user namespace",
        steps=MAKING,
        errnos=frozenset({EPERM}),
        find=_no_capability,
        why="{who} does not have CAP_SYS_ADMIN here, the right of root that all namespaces but user namespaces need",
        remedy="add a user namespace (map_root_user=True in Python, unshare -r on the command line), or run as root",
        places={
            "docker": "add a user namespace (map_root_user=True in Python, unshare -r on the command line), or start "
            "the container anew with the option added: docker run --cap-add SYS_ADMIN"
        },
        meaning="Most namespaces can be made by root only. A user namespace can be made by every user, who is root in "
        "it.",
        manual="namespaces(7)",
        example={"who": "user 1000"},
    ),
    Cause(
        name="unmapped-caller",
        title="The caller's own user or group is not mapped in its user namespace",
        steps=MAKING,
        errnos=frozenset({EPERM}),
        find=_unmapped,
        why="the caller's {which} id is not mapped in its user namespace, so the caller may not make another one "
        "inside",
        remedy="exit that shell or program, and start it with a map: unshare -r on the command line, or "
        "map_root_user=True in Python",
        meaning="In a user namespace only the ids of its map exist. A process whose id is not mapped has the id 65534 "
        "(nobody) there, and may not make a further user namespace.",
        manual="user_namespaces(7)",
        example={"which": "group"},
    ),
    Cause(
        name="chroot",
        title="The caller is in a chroot",
        steps=MAKING,
        errnos=frozenset({EPERM}),
        find=_chroot,
        why="the root directory of this process is no mount point, so this is a chroot, where the kernel refuses user "
        "namespaces",
        remedy="leave the chroot (exit), and start outside; in Python, root=DIRECTORY makes a directory the root by "
        "pivot_root(2) instead",
        meaning="chroot(2) changes the root directory of a process. With the rights of a new user namespace the "
        "process could leave it again, so the kernel refuses user namespaces there.",
        manual="user_namespaces(7), chroot(2)",
        traceless=_undecided_chroot,
    ),
    Cause(
        name="limit-zero",
        title="The limit on the number of namespaces is 0",
        steps=MAKING,
        errnos=frozenset({ENOSPC}),
        find=_limit_zero,
        why="no disk is full: {limits} {be} 0, so no such namespace may be made",
        remedy=SYSCTL,
        places={
            "rhel": "sudo sysctl -w {settings}; with the same setting in a file in /etc/sysctl.d it stays after a "
            "reboot"
        },
        meaning='"No space left on device" means here that a limit is reached. Each kind of namespace has a limit. '
        "Some distributions and hardening packages set it to 0, which switches that kind off.",
        manual="namespaces(7)",
        example={"limits": "user.max_user_namespaces", "be": "is", "settings": "user.max_user_namespaces=15000"},
    ),
    Cause(
        name="too-deep",
        title="Namespaces are nested too deeply",
        steps=MAKING,
        errnos=frozenset({ENOSPC}),
        find=_too_deep,
        why="this process is in the 32nd nested PID namespace, and the kernel allows no further level",
        remedy="exit some of the shells and boxes around this one: the kernel allows 32 levels, and no setting "
        "changes that",
        meaning="User and PID namespaces can be nested 32 levels deep. A process cannot see all levels above its own.",
        manual="pid_namespaces(7), user_namespaces(7)",
        traceless=lambda failed, evidence: (
            ("pid" in failed.kinds or new_user(failed))
            and (evidence.initial_user_namespace is not True or evidence.pid_depth != 1)
        ),
    ),
    Cause(
        name="limit-reached",
        title="A limit on namespaces is reached",
        steps=MAKING,
        errnos=frozenset({ENOSPC}),
        find=_limit_reached,
        why="a limit is reached: {limits}",
        remedy="end programs that are no longer needed in namespaces (nsbox lsns lists them), or raise the limit: sudo "
        "sysctl -w user.max_KIND_namespaces=N, where KIND is user, pid, mnt, net and so on",
        meaning="Each kind of namespace has a limit for each user, in /proc/sys/user. The limits of outer user "
        "namespaces count as well, but cannot be read from inside.",
        manual="namespaces(7)",
        traceless=lambda _, __: True,
        example={"limits": "user.max_pid_namespaces is 100"},
    ),
    Cause(
        name="missing-kind",
        title="This kernel does not have that kind of namespace",
        steps=MAKING,
        errnos=frozenset({EINVAL}),
        find=_missing_kind,
        why="this kernel has no {kinds} namespaces: it was built without them, or is too old",
        remedy="leave them out, or use a newer kernel (cgroup: Linux 4.6, time: 5.6)",
        places={"wsl2": "leave them out, or in Windows: wsl --update"},
        meaning="Some kinds of namespaces can be left out when a kernel is built. /proc/self/ns lists those it has.",
        manual="namespaces(7)",
        example={"kinds": "time"},
    ),
    Cause(
        name="dead-pid-namespace",
        title="The PID namespace for this process's children is dead",
        steps=MAKING,
        errnos=frozenset({ENOMEM}),
        find=_dead,
        why="the reason is not a lack of memory: the PID namespace for this process's children is dead, as its PID 1 "
        "has ended",
        remedy="in a shell: exit it, and use unshare --fork --pid; in Python: "
        "nsbox.raw.setns(os.open('/proc/self/ns/pid', os.O_RDONLY)) cures this process",
        meaning="The first child after unshare of a PID namespace is its PID 1. When PID 1 ends, the namespace is "
        'dead: the kernel starts no process in it any more, and returns ENOMEM, "Cannot allocate memory". That '
        "happens in a shell after `unshare -p` without `-f`.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="moved-pid-namespace",
        title="This process has unshared its PID namespace before",
        steps=MAKING,
        errnos=frozenset({EINVAL}),
        find=_moved,
        why="this process has unshared its PID namespace before: its children are in another one, and it cannot make a "
        "second one for them",
        remedy="in a shell: exit it, and use unshare --fork --pid; in Python: "
        "nsbox.raw.setns(os.open('/proc/self/ns/pid', os.O_RDONLY)) cures this process",
        meaning="A process that unshares its PID namespace stays in the old one; only its children are in the new one. "
        "Until the process joins its own PID namespace again, it cannot make another.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="task-limit",
        title="No further process may be started",
        steps=MAKING | MAPPING | {"exec init"},
        errnos=frozenset({EAGAIN}),
        find=_task_limit,
        why="no further process may be started: {limit}",
        remedy="end programs that are no longer needed (ps -ef lists them), or raise that limit: RLIMIT_NPROC by "
        "ulimit -u, kernel.pid_max by sysctl -w, pids.max by docker run --pids-limit",
        meaning="Three limits count processes and threads: RLIMIT_NPROC those of a user, kernel.pid_max those of a PID "
        "namespace, pids.max those of a cgroup. The limits of outer PID namespaces and cgroups count as well, but "
        "cannot be read from inside.",
        manual="fork(2), setrlimit(2), proc_sys_kernel(5), cgroups(7)",
        traceless=_any_task_limit,
        example={"limit": "RLIMIT_NPROC is 50, and 50 are in use"},
    ),
    Cause(
        name="no-exec-from-memory",
        title="Programs in memory may not be executed",
        steps=frozenset({"exec init", "prepare"}),
        errnos=DENIED,
        find=_memfd,
        why="vm.memfd_noexec is {value}, so files in memory may not be executed, and nsbox found no directory from "
        "which its helper program nsbox-init may be executed",
        remedy="set TMPDIR to a directory in which programs may be executed: mkdir -p ~/tmp && export TMPDIR=~/tmp; "
        "or sudo sysctl -w vm.memfd_noexec=0",
        meaning="nsbox keeps its helper program in memory. Where that is forbidden, it uses a file without a name in a "
        "temporary directory, which must be on a file system from which programs may be executed.",
        manual="memfd_create(2)",
        example={"value": "2"},
    ),
    Cause(
        name="init-changed",
        title="A program has changed the file of nsbox-init",
        steps=frozenset({"await maps"}),
        errnos=frozenset({ETXTBSY}),
        find=always,
        why="a program in another box has made the file of nsbox-init readable, so the programs in this one could "
        "trace their init",
        remedy="start it again: nsbox makes a new file; and close the box whose program did that",
        meaning="The file of nsbox-init can be executed but not read, which keeps its memory from root of a new user "
        "namespace. A program can make its own process execute that file, and change its mode.",
        manual="ptrace(2)",
    ),
)
