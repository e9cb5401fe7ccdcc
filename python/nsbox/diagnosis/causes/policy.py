"""What forbids namespaces besides the kernel: filters, security modules, distributions, imitations of Linux."""

from __future__ import annotations

from errno import EACCES, ENOSYS, EPERM, errorcode

from nsbox.diagnosis.causes.cause import (
    ALL_STEPS,
    ANY,
    DENIED,
    MAKING,
    MAPPING,
    MOUNTING,
    SETTING,
    Cause,
    FailedStep,
    Found,
)
from nsbox.diagnosis.causes.creation import new_user
from nsbox.diagnosis.evidence import Evidence

__all__ = ["POLICY", "docker_profile", "filtered", "restricted", "selinux"]


_OF_NAMESPACES = ("unshare", "setns", "clone3", "clone")


def filtered(evidence: Evidence) -> str:
    """Return which system call about namespaces a seccomp filter refuses; empty if none."""
    if killed := [name for name in _OF_NAMESPACES if name in evidence.killed]:
        return f"a process is killed for {', '.join(killed)}, whatever the arguments are"
    if evidence.unshare == EPERM:
        return "unshare(0), which changes nothing, fails with EPERM"
    if evidence.setns == EPERM:
        return "setns(-1, 0) fails with EPERM, not with EBADF"
    if evidence.clone3 == EPERM:
        return "clone3 fails with EPERM whatever its arguments are"
    if evidence.clone_refused:
        return f"clone(2) for new {', '.join(evidence.clone_refused)} namespaces fails with EPERM"
    return ""


def _without_path(name: str, errno: int) -> str:
    refused = errno in (EPERM, ENOSYS)
    return f"{name} without a path fails with {errorcode[errno]}, not with EFAULT" if refused else ""


def _kills(failed: FailedStep, evidence: Evidence) -> Found | None:
    killed = [name for name in dict.fromkeys(call.name for call in failed.calls) if name in evidence.killed]
    return {"calls": " ".join(killed)} if killed else None


def _filter(failed: FailedStep, evidence: Evidence) -> Found | None:
    if failed.step in MOUNTING:
        sign = _without_path("mount", evidence.mount)
    elif failed.step == "exec init":
        sign = _without_path("execveat", evidence.execveat)
    else:
        sign = filtered(evidence)
    return {"sign": sign} if sign else None


def restricted(evidence: Evidence) -> bool:
    """Whether this caller has no rights in its new user namespaces, by Ubuntu's rule."""
    return evidence.apparmor_restrict == "1" and not evidence.has("CAP_SYS_ADMIN")


def _restricted(failed: FailedStep, evidence: Evidence) -> Found | None:
    # These fail without the rule as well, for another reason, which is to be reported.
    plain = failed.step == "clone" and not new_user(failed)
    own = evidence.uid if failed.step == "uid_map" else evidence.gid
    foreign = failed.step in ("uid_map", "gid_map") and [row[1:] for row in failed.rows] != [(own, 1)]
    return {} if restricted(evidence) and not plain and not foreign else None


def selinux(evidence: Evidence) -> bool:
    """Whether the label has the form of SELinux: user:role:type:level."""
    return evidence.label.count(":") >= 2


def _selinux(failed: FailedStep, evidence: Evidence) -> Found | None:
    return {"label": evidence.label} if failed.errno == EACCES and selinux(evidence) else None


def docker_profile(evidence: Evidence) -> bool:
    """Whether the label is that of an AppArmor profile for containers."""
    return "(enforce)" in evidence.label and not restricted(evidence)


def _profile(_: FailedStep, evidence: Evidence) -> Found | None:
    return {"label": evidence.label} if docker_profile(evidence) else None


def _switched_off(failed: FailedStep, evidence: Evidence) -> Found | None:
    if new_user(failed) and evidence.unprivileged_userns_clone == "0" and not evidence.has("CAP_SYS_ADMIN"):
        return {}
    return None


def _not_linux(_: FailedStep, evidence: Evidence) -> Found | None:
    names = {"gvisor": "gVisor", "wsl1": "WSL 1"}
    place = next((name for name in names if name in evidence.places), "")
    return {"place": names[place]} if place else None


POLICY = (
    Cause(
        name="not-linux",
        title="This system imitates Linux, and is not Linux itself",
        steps=MAKING | MOUNTING | MAPPING | SETTING,
        errnos=ANY,
        find=_not_linux,
        why="this is {place}, which imitates Linux and has only a part of namespaces",
        remedy="use a virtual machine, or another computer; nsbox doctor lists what works here",
        places={
            "wsl1": "in Windows: wsl --set-version NAME 2, with the NAME that wsl --list shows",
            "colab": "Colab allows no more; use a virtual machine",
        },
        meaning="Some hosts run Linux programs on another kernel. What that kernel does not implement fails, "
        "sometimes with a misleading error number.",
        manual="namespaces(7)",
        example={"place": "gVisor"},
    ),
    Cause(
        name="seccomp-kill",
        title="A seccomp filter kills the process for the system call",
        steps=ALL_STEPS - {"unmount proc", "cwd", "write map", "exec"},
        errnos=frozenset({EPERM}),
        find=_kills,
        why="a filter for system calls (seccomp) kills a process for this one, whatever the arguments are: {calls}",
        remedy="in the unit of the systemd service, add SystemCallFilter={calls}, or SystemCallErrorNumber=EPERM, with "
        "which the filter refuses instead of killing; elsewhere, ask for a filter that allows it",
        meaning="A filter for system calls was put on this process when its service was started. It kills a process "
        "for calls that it does not allow, with SIGSYS. systemd does that for SystemCallFilter=, unless "
        "SystemCallErrorNumber= is set. nsbox tries such calls in a child, so that the caller is not killed.",
        manual="seccomp(2)",
        example={"calls": "mount"},
    ),
    Cause(
        name="seccomp-filter",
        title="A seccomp filter refuses the system call",
        steps=MAKING | MOUNTING | {"exec init"},
        errnos=frozenset({EPERM, EACCES, ENOSYS}),
        find=_filter,
        why="a filter for system calls (seccomp) refuses this one before the kernel: {sign}",
        remedy="start the container or service without its seccomp filter, or ask its administrator to; no setting "
        "inside it can help",
        places={
            "kubernetes": "the pod needs securityContext.seccompProfile.type: Unconfined in its YAML, or hostUsers: "
            "false with a profile that allows it; no setting inside the pod can help",
            "jupyterhub": "ask the administrator of the hub for a seccompProfile of type Unconfined for the user's "
            "pod; no setting inside can help",
            "binder": "Binder allows no namespaces, and no setting changes that; use another host",
            "podman": "start the container anew with the option added: podman run --security-opt seccomp=unconfined; "
            "no setting inside it can help",
            "docker": "start the container anew with the option added: docker run --security-opt seccomp=unconfined "
            "(or --cap-add SYS_ADMIN); no setting inside it can help",
        },
        meaning="A filter for system calls was put on this process when its container was started. It refuses calls "
        "before the kernel looks at them, also those of root. Containers have such a filter by default.",
        manual="seccomp(2)",
        example={"sign": "unshare(0), which asks for nothing, is refused"},
    ),
    Cause(
        name="ubuntu-apparmor",
        title="Ubuntu gives an ordinary user no rights in new user namespaces",
        steps=MAKING | MOUNTING | MAPPING | SETTING | {"set groups", "setgid", "setuid"},
        errnos=DENIED,
        find=_restricted,
        why="kernel.apparmor_restrict_unprivileged_userns is 1: an ordinary user may make a user namespace, but has no "
        "rights in it",
        remedy="sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
        places={
            "github": "add a step before this one: `- run: sudo sysctl -w "
            "kernel.apparmor_restrict_unprivileged_userns=0`",
            "docker": "both are needed: on the host, sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; "
            "then start the container anew with the option added: docker run --security-opt apparmor=unconfined",
        },
        meaning="Since version 23.10 Ubuntu lets every user make a user namespace, but gives no rights in it. So the "
        "user namespace is made, and the next step fails.",
        manual="apparmor(7)",
    ),
    Cause(
        name="apparmor-profile",
        title="An AppArmor profile denies it",
        steps=MAKING | MOUNTING | MAPPING | SETTING,
        errnos=frozenset({EACCES}),
        find=_profile,
        why="AppArmor, which has rules of its own beside the file permissions, confines this process by the profile "
        "{label!r}",
        remedy="run it where that profile does not apply, such as in a terminal outside of the container, snap or "
        "service; or ask the administrator for a profile that allows mounts and user namespaces",
        places={
            "docker": "start the container anew with the option added: docker run --security-opt apparmor=unconfined",
            "podman": "start the container anew with the option added: podman run --security-opt apparmor=unconfined",
            "kubernetes": "the pod needs securityContext.appArmorProfile.type: Unconfined in its YAML",
        },
        meaning="AppArmor is a second set of rules beside the file permissions. The profile for containers forbids "
        'mounts, also to root. It refuses with EACCES, "Permission denied", where the kernel itself returns EPERM.',
        manual="apparmor(7)",
        example={"label": "docker-default (enforce)"},
    ),
    Cause(
        name="selinux",
        title="SELinux denies it",
        steps=MAKING | MOUNTING | MAPPING | SETTING | {"exec init"},
        errnos=frozenset({EACCES}),
        find=_selinux,
        why="SELinux, which has rules of its own beside the file permissions, confines this process as {label!r}",
        remedy="run `sudo ausearch -m AVC -ts recent`, and send its output to the administrator of the machine: it "
        "names what SELinux must allow",
        places={
            "docker": "start the container anew with the option added: docker run --security-opt label=disable",
            "podman": "start the container anew with the option added: podman run --security-opt label=disable",
            "kubernetes": "the pod needs securityContext.seLinuxOptions with a type that may create user namespaces",
        },
        meaning="SELinux is a second set of rules beside the file permissions, with a rule for making user namespaces. "
        'It refuses with EACCES, "Permission denied", where the kernel itself returns EPERM.',
        manual="selinux(8)",
        example={"label": "system_u:system_r:container_t:s0:c1,c2"},
    ),
    Cause(
        name="userns-switched-off",
        title="User namespaces are switched off for ordinary users",
        steps=MAKING,
        errnos=frozenset({EPERM}),
        find=_switched_off,
        why="kernel.unprivileged_userns_clone is 0: only root may make user namespaces",
        remedy="sudo sysctl -w kernel.unprivileged_userns_clone=1 (for a container: on its host), or run as root",
        meaning="Older Debian kernels, and some others, have a switch that allows user namespaces to root only.",
        manual="user_namespaces(7)",
    ),
)
