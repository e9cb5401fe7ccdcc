"""Why the world inside cannot be set up: mounts, clocks, limits, the loopback interface."""

from __future__ import annotations

from errno import EACCES, EBUSY, EINVAL, ENOENT, ENOTDIR, EPERM, ERANGE, EROFS

from nsbox.diagnosis.causes.cause import DENIED, MOUNTING, SETTING, Cause, Failure, Found
from nsbox.diagnosis.evidence import Evidence

__all__ = ["MOUNTS", "hidden_proc"]

_PROC = frozenset({"mount proc", "proc"})


def hidden_proc(evidence: Evidence) -> tuple[str, ...]:
    """Return what keeps a user namespace from mounting proc: what is hidden everywhere; empty if one proc is whole."""
    if not evidence.procs or any(not proc.hidden and not proc.read_only for proc in evidence.procs):
        return ()
    return next((proc.hidden or (f"{proc.target}, read-only",) for proc in evidence.procs), ())


def _masked(_: Failure, evidence: Evidence) -> Found | None:
    hidden = hidden_proc(evidence)
    if not hidden:
        return None
    more = f" and {len(hidden) - 4} more" if len(hidden) > 4 else ""
    return {"hidden": ", ".join(hidden[:4]) + more}


def _no_proc(_: Failure, evidence: Evidence) -> Found | None:
    return {} if not evidence.procs and evidence.root_is_mount is not None else None


def _landlock(_: Failure, evidence: Evidence) -> Found | None:
    return (
        {"layers": "a domain" if evidence.landlock == 1 else f"{evidence.landlock} domains"}
        if evidence.landlock
        else None
    )


def _foreign(failure: Failure, evidence: Evidence) -> Found | None:
    # Told by the caller's rights: with CAP_SYS_ADMIN over the older one the mount would not have been refused.
    return None if evidence.has("CAP_SYS_ADMIN") or failure.errno != EPERM else {}


def _no_mount_point(_: Failure, evidence: Evidence) -> Found | None:
    return {} if evidence.root_is_mount is False else None


def _always(_: Failure, __: Evidence) -> Found | None:
    return {}


def _sysctl_read_only(failure: Failure, _: Evidence) -> Found | None:
    return {} if failure.errno == EROFS else None


MOUNTS = (
    Cause(
        name="no-directory",
        title="The place for a mount is no directory",
        steps=_PROC,
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_always,
        why="the place for the new proc does not exist, or is no directory",
        remedy="make that directory first (mkdir -p), or name another one",
        meaning="A file system is mounted on a directory that exists.",
        manual="mount(2)",
    ),
    Cause(
        name="landlock",
        title="A Landlock sandbox forbids all mounts",
        steps=MOUNTING,
        errnos=frozenset({EPERM}),
        find=_landlock,
        why="this process is in {layers} of Landlock, a sandbox in which nothing can be mounted",
        remedy="start it outside that sandbox, such as in a plain terminal: inside it cannot be switched off",
        meaning="Landlock lets a program restrict itself and all it starts. Whatever else it allows, mounts are "
        "forbidden from then on, also in new namespaces and to root.",
        manual="landlock(7)",
        example={"layers": "a domain"},
    ),
    Cause(
        name="masked-proc",
        title="Parts of /proc are hidden, and a new proc would show them",
        steps=_PROC,
        errnos=frozenset({EPERM}),
        find=_masked,
        why="parts of /proc are hidden by mounts ({hidden}), and a new proc would show them again",
        remedy="run as root without a user namespace, or go without a new proc (mount_proc=False, no --mount-proc); "
        "it also helps if root mounts a whole proc somewhere before: mount -t proc proc DIRECTORY",
        places={
            "kubernetes": "the pod needs procMount: Unmasked together with hostUsers: false in its YAML",
            "jupyterhub": "ask whoever runs the hub for procMount: Unmasked with hostUsers: false in the user's pod",
            "podman": "start the container anew with the option added: podman run --security-opt unmask=ALL",
            "docker": "start the container anew with the option added: docker run --security-opt "
            "systempaths=unconfined",
        },
        meaning="Containers cover sensitive files of /proc by mounting something over them. Inside a user namespace "
        "the kernel refuses a fresh proc as long as no proc is visible without such covers. In the kernel's log it "
        "says "
        '"Mount too revealing".',
        manual="user_namespaces(7), mount_namespaces(7)",
        example={"hidden": "/proc/kcore, /proc/sys"},
    ),
    Cause(
        name="no-visible-proc",
        title="No proc is visible, so none may be mounted",
        steps=_PROC,
        errnos=frozenset({EPERM}),
        find=_no_proc,
        why="no proc is mounted here, and a user namespace may mount only what is visible already",
        remedy="first, as root outside of the user namespace: mount -t proc proc /proc; or run as root without one",
        meaning="In a user namespace a fresh proc may show nothing that could not be seen before.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="foreign-pid-namespace",
        title="The PID namespace does not belong to the new user namespace",
        steps=_PROC,
        errnos=frozenset({EPERM}),
        find=_foreign,
        why="in a user namespace, proc can only be mounted for a PID namespace that belongs to it",
        remedy="make a new PID namespace, too: --pid --fork on the command line, the letter p among the namespaces in "
        "Python",
        meaning="proc shows a PID namespace. Root of a user namespace is root over the namespaces made in it, and not "
        "over older ones.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="foreign-mount-namespace",
        title="The mount or PID namespace does not belong to the user namespace of the box",
        steps=frozenset({"detached mount"}),
        errnos=frozenset({EPERM}),
        find=_foreign,
        why="to look there nsbox-init has to make a mount, and the box has no mount namespace of its own for it, or no "
        "PID namespace to be shown",
        remedy="make the box with both: the letters m and p among the namespaces",
        meaning="Root of a user namespace is root over the namespaces made in it, and not over older ones. Even a "
        "mount that appears nowhere takes rights over the mount namespace, and a proc over the PID namespace it shows.",
        manual="fsmount(2), user_namespaces(7)",
    ),
    Cause(
        name="no-mount-right",
        title="Something that leaves no trace forbids it, such as a security module",
        steps=MOUNTING | SETTING,
        errnos=DENIED,
        find=lambda _, __: None,
        why="it is forbidden",
        remedy="run nsbox doctor, which tries each step by itself; then try the same outside of any container and "
        "sandbox",
        meaning="A filter for system calls can look at single arguments, and security modules need not say what they "
        "forbid. Then nothing can be read that would tell who refused.",
        manual="mount(2), seccomp(2)",
        traceless=lambda _, __: True,
    ),
    Cause(
        name="root-is-no-mount",
        title="/ is no mount point",
        steps=frozenset({"propagation"}),
        errnos=frozenset({EINVAL}),
        find=_no_mount_point,
        why="/ is no mount point here, as in a chroot, so its propagation cannot be set",
        remedy='use propagation="unchanged" (--propagation=unchanged), or leave the chroot (exit) and start outside',
        meaning="Whether mounts spread to other mount namespaces is a property of each mount. In a chroot / is a "
        "directory within a mount.",
        manual="mount_namespaces(7)",
        traceless=lambda _, evidence: evidence.root_is_mount is None,
    ),
    Cause(
        name="busy-target",
        title="The place for a mount is in use",
        steps=_PROC,
        errnos=frozenset({EBUSY}),
        find=_always,
        why="the same is mounted there already, or the place is in use",
        remedy="mount it elsewhere",
        meaning="The kernel does not mount the same file system twice at one place.",
        manual="mount(2)",
    ),
    Cause(
        name="pin-refused",
        title="The file is on a shared mount, or the kernel takes the new mount namespace for an older one",
        steps=frozenset({"pin"}),
        errnos=frozenset({EINVAL}),
        find=lambda _, __: None,
        why="the kernel does not mount that namespace there",
        remedy="put the file on a private mount (as root: mount --bind DIR DIR && mount --make-private DIR); and for "
        "a mount namespace try once more on a single processor: taskset -c 0 and then the command",
        meaning="A mount namespace may only be mounted in an older one, or the two could keep each other alive for "
        "ever, and on a shared mount it would spread into itself. Linux 6.18 tells older from newer by numbers that "
        "each processor gives out by itself, and so sometimes errs.",
        manual="unshare(1), mount_namespaces(7)",
        traceless=lambda _, __: True,
    ),
    Cause(
        name="no-pin-file",
        title="There is no file to mount the namespace on",
        steps=frozenset({"pin"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_always,
        why="the file on which the namespace is to be mounted does not exist",
        remedy="make it first: touch FILE",
        meaning="A namespace that no process is in any more lives on where it is mounted on a file.",
        manual="unshare(1)",
    ),
    Cause(
        name="pid-max-value",
        title="The limit is one that the kernel does not take",
        steps=frozenset({"pid_max"}),
        errnos=frozenset({EINVAL}),
        find=_always,
        why="pid_max must be from 301 to 4194304, and not above that of the outer PID namespaces",
        remedy="choose a number in that range",
        meaning="The first 300 numbers are kept for the time after the numbers wrap.",
        manual="proc_sys_kernel(5)",
    ),
    Cause(
        name="read-only-sysctl",
        title="/proc/sys is read-only or missing",
        steps=frozenset({"pid_max"}),
        errnos=frozenset({EROFS, ENOENT, EACCES}),
        find=_always,
        why="/proc/sys is read-only, or not there, as in most containers",
        remedy="add mount_proc=True, which gives the namespace a /proc of its own",
        places={
            "docker": "add mount_proc=True, which gives the namespace a /proc of its own; or start the container anew "
            "with the option added: docker run --security-opt systempaths=unconfined",
        },
        meaning="Settings of the kernel are files in /proc/sys. Containers often mount that part read-only.",
        manual="proc_sys_kernel(5)",
    ),
    Cause(
        name="clock-range",
        title="A clock would become negative, or too large",
        steps=frozenset({"clock offsets"}),
        errnos=frozenset({ERANGE}),
        find=_always,
        why="with this offset a clock would become negative, or go beyond the kernel's range of 146 years",
        remedy="choose a smaller offset",
        meaning="The offset is added to the time since the machine was started, and that sum may not be below zero.",
        manual="time_namespaces(7)",
    ),
    Cause(
        name="no-clock-file",
        title="There is no file to set the clocks by",
        steps=frozenset({"clock offsets"}),
        errnos=frozenset({ENOENT, EROFS}),
        find=_always,
        why="/proc/self/timens_offsets cannot be opened: proc is not mounted or read-only, or the kernel has no time "
        "namespaces",
        remedy="leave the clocks alone (no boottime, no monotonic), or as root: mount -t proc proc /proc",
        meaning="The clocks of a new time namespace are set through a file of /proc, before the first process enters "
        "it.",
        manual="time_namespaces(7)",
    ),
)
