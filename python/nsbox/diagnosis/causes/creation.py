"""Why the kernel refuses new namespaces by its own rules."""

from __future__ import annotations

from errno import EAGAIN, EINVAL, ENOMEM, ENOSPC, EPERM

from nsbox.diagnosis.causes.cause import DENIED, MAKING, Cause, Failure, Found
from nsbox.diagnosis.evidence import Evidence
from nsbox.spec.kinds import KINDS

__all__ = ["CREATION", "new_user", "unmapped"]

SYSCTL = "sudo sysctl -w {settings}"
_FIRST_NUMBERS = 300
"""Below this a PID is given out once only, before the numbers wrap (kernel/pid.c, RESERVED_PIDS)."""


def new_user(failure: Failure) -> bool:
    """Return whether the step makes a user namespace."""
    return "user" in failure.kinds


def _no_capability(failure: Failure, evidence: Evidence) -> Found | None:
    if new_user(failure) or not failure.kinds or evidence.has("CAP_SYS_ADMIN"):
        return None
    return {"who": "root" if evidence.uid == 0 else f"user {evidence.uid}"}


def unmapped(evidence: Evidence) -> str:
    """Return which of the caller's own ids has no meaning in its user namespace."""
    for name, own, ranges in (("user", evidence.uid, evidence.uid_map), ("group", evidence.gid, evidence.gid_map)):
        if ranges is not None and not any(inside <= own < inside + count for inside, _, count in ranges):
            return name
    return ""


def _unmapped(failure: Failure, evidence: Evidence) -> Found | None:
    which = unmapped(evidence) if new_user(failure) else ""
    return {"which": which} if which else None


def _chroot(failure: Failure, evidence: Evidence) -> Found | None:
    return {} if new_user(failure) and evidence.root_is_mount is False else None


def _undecided_chroot(failure: Failure, evidence: Evidence) -> bool:
    return new_user(failure) and evidence.root_is_mount is not False


def _limit_zero(failure: Failure, evidence: Evidence) -> Found | None:
    zero = [kind for kind in failure.kinds if evidence.limits.get(kind) == 0]
    if not zero:
        return None
    names = [f"user.max_{KINDS[kind].link}_namespaces" for kind in zero]
    settings = " ".join(f"{name}=15000" for name in names)
    return {"limits": " and ".join(names), "be": "is" if len(names) == 1 else "are", "settings": settings}


def _limit_reached(failure: Failure, evidence: Evidence) -> Found | None:
    # In the first user namespace nothing is outside, and nothing is nested: what is left is the limit itself.
    nests = evidence.initial_user_namespace is not True or evidence.pid_depth != 1
    kinds = failure.kinds
    if nests or not kinds or any(kind not in evidence.limits for kind in kinds):
        return None
    return {"limits": ", ".join(f"user.max_{KINDS[kind].link}_namespaces is {evidence.limits[kind]}" for kind in kinds)}


def _too_deep(failure: Failure, evidence: Evidence) -> Found | None:
    return {} if "pid" in failure.kinds and evidence.pid_depth > 32 else None


def _missing_kind(failure: Failure, evidence: Evidence) -> Found | None:
    if evidence.kinds is None:
        return None
    missing = [kind for kind in failure.kinds if kind not in evidence.kinds]
    return {"kinds": ", ".join(missing)} if missing else None


def _dead(_: Failure, evidence: Evidence) -> Found | None:
    return {} if evidence.children_born_into == "dead" else None


def _moved(failure: Failure, evidence: Evidence) -> Found | None:
    elsewhere = evidence.children_born_into in ("unborn", "alive", "dead")
    return {} if elsewhere and "pid" in failure.kinds else None


def _task_limit(_: Failure, evidence: Evidence) -> Found | None:
    for name, limit, used in evidence.task_limits:
        # Processes come and go between the failure and this look.
        slack = _FIRST_NUMBERS if name == "kernel.pid_max" else 1
        if used >= 0 and used + slack >= limit:
            return {"limit": f"{name} is {limit}, and {used} are in use"}
    return None


def _any_task_limit(_: Failure, __: Evidence) -> bool:
    return True


def _memfd(_: Failure, evidence: Evidence) -> Found | None:
    return {"value": evidence.memfd_noexec} if evidence.memfd_noexec in ("1", "2") else None


CREATION = (
    Cause(
        name="no-capability",
        title="The caller lacks CAP_SYS_ADMIN, and no user namespace is asked for",
        steps=MAKING,
        errnos=frozenset({EPERM}),
        find=_no_capability,
        why="every namespace but a user namespace needs a right of root, CAP_SYS_ADMIN, which {who} does not have here",
        remedy="add a user namespace (map_root_user=True in Python, unshare -r on the command line), or run as root",
        places={
            "docker": "add a user namespace (map_root_user=True in Python, unshare -r on the command line), or start "
            "the container anew with the option added: docker run --cap-add SYS_ADMIN"
        },
        meaning="Only an administrator may make most namespaces. A user namespace is the way around: everybody may "
        "make one, and is the administrator inside.",
        manual="namespaces(7)",
        example={"who": "user 1000"},
    ),
    Cause(
        name="unmapped-caller",
        title="The caller's own user or group has no meaning in its user namespace",
        steps=MAKING,
        errnos=frozenset({EPERM}),
        find=_unmapped,
        why="the caller's {which} id does not exist in the user namespace in which it is (it is not mapped), so it "
        "may not make another one inside",
        remedy="exit that shell or program, and start it with a map: unshare -r on the command line, or "
        "map_root_user=True in Python",
        meaning="Inside a user namespace only ids of its map exist. Whoever shows as nobody, 65534, because no map was "
        "written may not make a further user namespace.",
        manual="user_namespaces(7)",
        example={"which": "group"},
    ),
    Cause(
        name="chroot",
        title="The caller is in a chroot",
        steps=MAKING,
        errnos=frozenset({EPERM}),
        find=_chroot,
        why="the root directory of this process is no mount point, so it is in a chroot, where user namespaces are "
        "refused",
        remedy="leave the chroot (exit), and start outside; in Python root=DIRECTORY enters a directory by "
        "pivot_root(2) instead",
        meaning="chroot shows a process another root directory. A user namespace would allow it to break out again, so "
        "the kernel refuses it there.",
        manual="user_namespaces(7), chroot(2)",
        traceless=_undecided_chroot,
    ),
    Cause(
        name="limit-zero",
        title="The number of namespaces is limited to none",
        steps=MAKING,
        errnos=frozenset({ENOSPC}),
        find=_limit_zero,
        why="this is not about a disk: {limits} {be} 0, so none may be made",
        remedy=SYSCTL,
        places={
            "rhel": "sudo sysctl -w {settings}; with the same setting in a file in /etc/sysctl.d it stays after a "
            "reboot"
        },
        meaning='"No space left on device" is not about a disk here. Each kind of namespace has a limit, and some '
        "distributions and hardening packages set it to 0 to switch that kind off.",
        manual="namespaces(7)",
        example={"limits": "user.max_user_namespaces", "be": "is", "settings": "user.max_user_namespaces=15000"},
    ),
    Cause(
        name="too-deep",
        title="Namespaces are nested too deeply",
        steps=MAKING,
        errnos=frozenset({ENOSPC}),
        find=_too_deep,
        why="this process is in the 32nd nested PID namespace, and the kernel allows no deeper one",
        remedy="exit some of the shells and boxes around this one: the kernel allows 32 levels, and no setting "
        "changes that",
        meaning="User and PID namespaces can be put into each other 32 times. From inside the depth is hard to see.",
        manual="pid_namespaces(7), user_namespaces(7)",
        traceless=lambda failure, evidence: (
            ("pid" in failure.kinds or new_user(failure))
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
        remedy="end programs that were left over in namespaces (nsbox lsns lists them), or raise the limit: sudo "
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
        why="this kernel has no {kinds} namespaces: they were left out when it was built, or it is too old",
        remedy="leave them out, or use a newer kernel (cgroup: Linux 4.6, time: 5.6)",
        places={"wsl2": "leave them out, or in Windows: wsl --update"},
        meaning="Which kinds exist is decided when a kernel is built. /proc/self/ns lists them.",
        manual="namespaces(7)",
        example={"kinds": "time"},
    ),
    Cause(
        name="dead-pid-namespace",
        title="The PID namespace for this process's children is dead",
        steps=MAKING,
        errnos=frozenset({ENOMEM}),
        find=_dead,
        why="memory is not short: the PID namespace in which this process's children are born is dead, as its PID 1 "
        "has ended",
        remedy="in a shell: exit it, and use unshare --fork --pid; in Python: "
        "nsbox.raw.setns(os.open('/proc/self/ns/pid', os.O_RDONLY)) cures this process",
        meaning="The first child after unshare of a PID namespace is its PID 1. When PID 1 ends, the namespace is dead "
        "and "
        'the kernel starts nothing in it any more; it says "Cannot allocate memory" for want of a better number. That '
        "is what happens in a shell after `unshare -p` without `-f`.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="moved-pid-namespace",
        title="This process has unshared its PID namespace before",
        steps=MAKING,
        errnos=frozenset({EINVAL}),
        find=_moved,
        why="this process's children belong to another PID namespace than itself, and so cannot get a further one",
        remedy="in a shell: exit it, and use unshare --fork --pid; in Python: "
        "nsbox.raw.setns(os.open('/proc/self/ns/pid', os.O_RDONLY)) cures this process",
        meaning="A process that unshared its PID namespace stays where it is; only its children are born in the new "
        "one. Until it is put back it cannot make another.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="task-limit",
        title="No further process may be started",
        steps=MAKING,
        errnos=frozenset({EAGAIN}),
        find=_task_limit,
        why="no further process may be started: {limit}",
        remedy="end programs that are no longer needed (ps -ef lists them), or raise that limit: RLIMIT_NPROC by "
        "ulimit -u, kernel.pid_max by sysctl -w, pids.max by docker run --pids-limit",
        meaning="Three limits count processes and threads: RLIMIT_NPROC those of a user, kernel.pid_max those of a PID "
        "namespace, pids.max those of a cgroup. Limits of outer PID namespaces and cgroups count too, unseen.",
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
        why="vm.memfd_noexec is {value}: files in memory may not be executed, and no directory took nsbox's helper "
        "nsbox-init instead",
        remedy="set TMPDIR to a directory in which programs may be executed: mkdir -p ~/tmp && export TMPDIR=~/tmp; "
        "or sudo sysctl -w vm.memfd_noexec=0",
        meaning="nsbox keeps its helper in memory. Where that is forbidden it uses a file without a name in a "
        "temporary directory, which must be on a file system from which programs may be executed.",
        manual="memfd_create(2)",
        example={"value": "2"},
    ),
)
