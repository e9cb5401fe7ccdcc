"""Why new namespaces are refused."""

from __future__ import annotations

from errno import EACCES, EAGAIN, EINVAL, ENOMEM, ENOSPC, ENOSYS, EPERM

from nsbox._evidence import Evidence
from nsbox._hints.cause import ANY, DENIED, MAKING, MAPPING, MOUNTING, SETTING, Cause, Failure, Found
from nsbox.spec import KINDS

__all__ = ["CREATION", "docker_profile", "filtered", "restricted", "selinux"]

SYSCTL = "sudo sysctl -w {settings}"
_FIRST_NUMBERS = 300
"""Below this a PID is given out once only, before the numbers wrap (kernel/pid.c, RESERVED_PIDS)."""


def _asked_for(failure: Failure) -> list[str]:
    return [name for name, kind in KINDS.items() if kind.flag_name in failure.call]


def _new_user(failure: Failure) -> bool:
    return "CLONE_NEWUSER" in failure.call


def filtered(evidence: Evidence) -> str:
    """Say which question about namespaces a seccomp filter answers instead of the kernel; empty if none."""
    if evidence.unshare == EPERM:
        return "unshare(0), which asks for nothing, is refused"
    if evidence.setns == EPERM:
        return "setns(-1, 0), which the kernel calls a bad descriptor, is refused"
    if evidence.clone3 == EPERM:
        return "clone3 is refused before it looks at its arguments"
    if evidence.clone_refused:
        return f"clone(2) for new {', '.join(evidence.clone_refused)} namespaces is refused before it is looked at"
    return ""


def _filter(failure: Failure, evidence: Evidence) -> Found | None:
    if failure.step in MOUNTING:
        sign = "mount without a path is refused" if evidence.mount in (EPERM, ENOSYS) else ""
    elif failure.step == "exec init":
        sign = "execveat without a path is refused" if evidence.execveat in (EPERM, ENOSYS) else ""
    else:
        sign = filtered(evidence)
    return {"sign": sign} if sign else None


def restricted(evidence: Evidence) -> bool:
    """Whether Ubuntu's rule takes the rights out of this caller's new user namespaces."""
    return evidence.apparmor_restrict == "1" and not evidence.has("CAP_SYS_ADMIN")


def _restricted(failure: Failure, evidence: Evidence) -> Found | None:
    # Without the rule these would have failed as well, for a reason that is closer.
    plain = failure.step == "clone" and not _new_user(failure)
    own = evidence.uid if failure.step == "uid_map" else evidence.gid
    foreign = failure.step in ("uid_map", "gid_map") and f" {own} 1\\n" not in failure.call
    return {} if restricted(evidence) and not plain and not foreign else None


def selinux(evidence: Evidence) -> bool:
    """Whether the label has the form of SELinux: user:role:type:level."""
    return evidence.label.count(":") >= 2


def _selinux(failure: Failure, evidence: Evidence) -> Found | None:
    return {"label": evidence.label} if failure.errno == EACCES and selinux(evidence) else None


def docker_profile(evidence: Evidence) -> bool:
    """Whether the label is that of an AppArmor profile for containers."""
    return "(enforce)" in evidence.label and not restricted(evidence)


def _profile(_: Failure, evidence: Evidence) -> Found | None:
    return {"label": evidence.label} if docker_profile(evidence) else None


def _switched_off(failure: Failure, evidence: Evidence) -> Found | None:
    if _new_user(failure) and evidence.unprivileged_userns_clone == "0" and not evidence.has("CAP_SYS_ADMIN"):
        return {}
    return None


def _no_capability(failure: Failure, evidence: Evidence) -> Found | None:
    if _new_user(failure) or not _asked_for(failure) or evidence.has("CAP_SYS_ADMIN"):
        return None
    return {"who": "root" if evidence.uid == 0 else f"user {evidence.uid}"}


def unmapped(evidence: Evidence) -> str:
    """Return which of the caller's own ids has no meaning in its user namespace."""
    for name, own, ranges in (("user", evidence.uid, evidence.uid_map), ("group", evidence.gid, evidence.gid_map)):
        if ranges is not None and not any(inside <= own < inside + count for inside, _, count in ranges):
            return name
    return ""


def _unmapped(failure: Failure, evidence: Evidence) -> Found | None:
    which = unmapped(evidence) if _new_user(failure) else ""
    return {"which": which} if which else None


def _chroot(failure: Failure, evidence: Evidence) -> Found | None:
    return {} if _new_user(failure) and evidence.root_is_mount is False else None


def _undecided_chroot(failure: Failure, evidence: Evidence) -> bool:
    return _new_user(failure) and evidence.root_is_mount is not False


def _limit_zero(failure: Failure, evidence: Evidence) -> Found | None:
    zero = [kind for kind in _asked_for(failure) if evidence.limits.get(kind) == 0]
    if not zero:
        return None
    names = [f"user.max_{KINDS[kind].link}_namespaces" for kind in zero]
    settings = " ".join(f"{name}=15000" for name in names)
    return {"limits": " and ".join(names), "be": "is" if len(names) == 1 else "are", "settings": settings}


def _limit_reached(failure: Failure, evidence: Evidence) -> Found | None:
    # In the first user namespace nothing is outside, and nothing is nested: what is left is the limit itself.
    nests = evidence.initial_user_namespace is not True or evidence.pid_depth != 1
    kinds = _asked_for(failure)
    if nests or not kinds or any(kind not in evidence.limits for kind in kinds):
        return None
    return {"limits": ", ".join(f"user.max_{KINDS[kind].link}_namespaces is {evidence.limits[kind]}" for kind in kinds)}


def _too_deep(failure: Failure, evidence: Evidence) -> Found | None:
    return {} if "CLONE_NEWPID" in failure.call and evidence.pid_depth > 32 else None


def _missing_kind(failure: Failure, evidence: Evidence) -> Found | None:
    if evidence.kinds is None:
        return None
    missing = [kind for kind in _asked_for(failure) if kind not in evidence.kinds]
    return {"kinds": ", ".join(missing)} if missing else None


def _dead(_: Failure, evidence: Evidence) -> Found | None:
    return {} if evidence.children_born_into == "dead" else None


def _moved(failure: Failure, evidence: Evidence) -> Found | None:
    elsewhere = evidence.children_born_into in ("unborn", "alive", "dead")
    return {} if elsewhere and "CLONE_NEWPID" in failure.call else None


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


def _not_linux(_: Failure, evidence: Evidence) -> Found | None:
    names = {"gvisor": "gVisor", "wsl1": "WSL 1"}
    place = next((name for name in names if name in evidence.places), "")
    return {"place": names[place]} if place else None


CREATION = (
    Cause(
        name="not-linux",
        title="This is not Linux itself, but something that imitates it",
        steps=MAKING | MOUNTING | MAPPING | SETTING,
        errnos=ANY,
        find=_not_linux,
        why="this is {place}, which imitates Linux and knows only a part of namespaces",
        remedy="use a virtual machine or another host; nsbox doctor lists what works here",
        places={
            "wsl1": "in Windows: wsl --set-version DISTRIBUTION 2",
            "colab": "Colab allows no more than this; use a virtual machine",
        },
        meaning="Some hosts run programs for Linux on a kernel of their own. What that kernel has not learned fails, "
        "with error numbers that can mislead.",
        manual="namespaces(7)",
        example={"place": "gVisor"},
    ),
    Cause(
        name="seccomp-filter",
        title="A seccomp filter refuses the system call",
        steps=MAKING | MOUNTING | {"exec init"},
        errnos=frozenset({EPERM, EACCES, ENOSYS}),
        find=_filter,
        why="a seccomp filter answers instead of the kernel: {sign}",
        remedy="start the container without that filter; no setting inside it can help",
        places={
            "kubernetes": "the pod needs securityContext.seccompProfile.type: Unconfined, or hostUsers: false with a "
            "profile that allows it; no setting inside the pod can help",
            "jupyterhub": "ask whoever runs the hub for a seccompProfile of type Unconfined for the user's pod; no "
            "setting inside can help",
            "binder": "Binder allows no namespaces, whatever you set; use another host",
            "podman": "podman run --security-opt seccomp=unconfined; no setting inside the container can help",
            "docker": "docker run --security-opt seccomp=unconfined (or --cap-add SYS_ADMIN); no setting inside the "
            "container can help",
        },
        meaning="A filter for system calls was put on this process when its container was started. It says no before "
        "the kernel is asked, also to root. Containers have such a filter by default.",
        manual="seccomp(2)",
        example={"sign": "unshare(0), which asks for nothing, is refused"},
    ),
    Cause(
        name="ubuntu-apparmor",
        title="Ubuntu takes all rights out of new user namespaces",
        steps=MAKING | MOUNTING | MAPPING | SETTING | {"set groups", "setgid", "setuid"},
        errnos=DENIED,
        find=_restricted,
        why="kernel.apparmor_restrict_unprivileged_userns is 1: an ordinary user may make a user namespace, but has no "
        "rights in it",
        remedy="sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
        places={
            "github": "add a step before this one: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            "docker": "two doors are shut: start the container with --security-opt apparmor=unconfined, and on the "
            "host set kernel.apparmor_restrict_unprivileged_userns=0",
        },
        meaning="Since version 23.10 Ubuntu allows every user to make a user namespace, which succeeds, and then "
        "denies all that it would be good for. So the failure comes a step later than its cause.",
        manual="apparmor(7)",
    ),
    Cause(
        name="apparmor-profile",
        title="An AppArmor profile denies it",
        steps=MAKING | MOUNTING | MAPPING | SETTING,
        errnos=frozenset({EACCES}),
        find=_profile,
        why="AppArmor confines this process by the profile {label!r}",
        remedy="run it without that profile, or with one that allows mounts and user namespaces",
        places={
            "docker": "docker run --security-opt apparmor=unconfined",
            "podman": "podman run --security-opt apparmor=unconfined",
            "kubernetes": "the pod needs securityContext.appArmorProfile.type: Unconfined",
        },
        meaning="AppArmor is a second set of rules beside the usual permissions. The profile for containers forbids "
        'mounts, also to root. Its sign is EACCES, "Permission denied", where the kernel itself says EPERM.',
        manual="apparmor(7)",
        example={"label": "docker-default (enforce)"},
    ),
    Cause(
        name="selinux",
        title="SELinux denies it",
        steps=MAKING | MOUNTING | MAPPING | SETTING | {"exec init"},
        errnos=frozenset({EACCES}),
        find=_selinux,
        why="SELinux confines this process as {label!r}",
        remedy="see `ausearch -m AVC -ts recent` for the rule, and have the policy extended",
        places={
            "docker": "docker run --security-opt label=disable",
            "podman": "podman run --security-opt label=disable",
            "kubernetes": "the pod needs securityContext.seLinuxOptions with a type that may create user namespaces",
        },
        meaning="SELinux is a second set of rules beside the usual permissions. It has a rule of its own for making "
        "user "
        'namespaces. Its sign is EACCES, "Permission denied", where the kernel itself says EPERM.',
        manual="selinux(8)",
        example={"label": "system_u:system_r:container_t:s0:c1,c2"},
    ),
    Cause(
        name="userns-switched-off",
        title="User namespaces are switched off for ordinary users",
        steps=MAKING,
        errnos=frozenset({EPERM}),
        find=_switched_off,
        why="kernel.unprivileged_userns_clone is 0",
        remedy="sudo sysctl -w kernel.unprivileged_userns_clone=1, or run as root",
        meaning="Older Debian kernels, and some others, have a switch that allows user namespaces to root only.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="no-capability",
        title="The caller lacks CAP_SYS_ADMIN, and no user namespace is asked for",
        steps=MAKING,
        errnos=frozenset({EPERM}),
        find=_no_capability,
        why="every namespace but a user namespace needs CAP_SYS_ADMIN, which {who} does not have here",
        remedy="add a user namespace (map_root_user=True, or unshare -r on the command line), or run as root",
        places={
            "docker": "add a user namespace (map_root_user=True, or unshare -r), or docker run --cap-add SYS_ADMIN"
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
        why="the caller's {which} id is not mapped in the user namespace in which it is, so it may not nest another "
        "one",
        remedy="write both uid_map and gid_map of the user namespace you are in, then try again",
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
        remedy="start outside the chroot, or enter the directory by pivot_root(2) instead",
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
        why="{limits} {be} 0",
        remedy=SYSCTL,
        places={"rhel": "sudo sysctl -w {settings}, and a file in /etc/sysctl.d to keep it"},
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
        remedy="nest less deeply: the depth is a constant of the kernel",
        meaning="User and PID namespaces can be put into each other 32 times. From inside the depth is hard to see.",
        manual="pid_namespaces(7), user_namespaces(7)",
        traceless=lambda failure, evidence: (
            ("CLONE_NEWPID" in failure.call or _new_user(failure))
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
        remedy="end what is left over (lsns lists namespaces, also those that only a mount holds), or raise the limit",
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
        why="this process has unshared its PID namespace, and the first process there has ended: memory is not short",
        remedy="start from a process that did not unshare; os.setns on /proc/self/ns/pid cures this one",
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
        remedy="start from a process that did not unshare; os.setns on /proc/self/ns/pid cures this one",
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
        remedy="end some processes, or raise that limit",
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
        why="vm.memfd_noexec is {value}: files in memory may not be executed, and no directory took nsbox-init instead",
        remedy="make $TMPDIR a directory on a file system without noexec, or set vm.memfd_noexec to 0",
        meaning="nsbox keeps its helper in memory. Where that is forbidden it uses a file without a name in a "
        "temporary directory, which must be on a file system from which programs may be executed.",
        manual="memfd_create(2)",
        example={"value": "2"},
    ),
)
