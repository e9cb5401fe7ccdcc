"""Why a new proc cannot be mounted."""

from __future__ import annotations

from errno import EINVAL, EPERM

from nsbox.diagnosis.causes.cause import Cause, FailedStep, Found
from nsbox.diagnosis.evidence import Evidence

__all__ = ["PROC", "hidden_proc"]

_STEPS = frozenset({"mount proc", "proc"})


def hidden_proc(evidence: Evidence) -> tuple[str, ...]:
    """Return what keeps a user namespace from mounting proc: what is hidden everywhere; empty if one proc is whole."""
    if not evidence.procs or any(not proc.hidden and not proc.read_only for proc in evidence.procs):
        return ()
    return next((proc.hidden or (f"{proc.target}, read-only",) for proc in evidence.procs), ())


def _masked(_: FailedStep, evidence: Evidence) -> Found | None:
    hidden = hidden_proc(evidence)
    if not hidden:
        return None
    more = f" and {len(hidden) - 4} more" if len(hidden) > 4 else ""
    return {"hidden": ", ".join(hidden[:4]) + more}


def _no_proc(_: FailedStep, evidence: Evidence) -> Found | None:
    return {} if not evidence.procs and evidence.root_is_mount is not None else None


def _foreign(_: FailedStep, evidence: Evidence) -> Found | None:
    # With CAP_SYS_ADMIN over the older PID namespace the kernel would not have refused.
    return None if evidence.has("CAP_SYS_ADMIN") else {}


def _pidns(failed: FailedStep, _: Evidence) -> Found | None:
    return {} if failed.argument("key") == "pidns" else None


PROC = (
    Cause(
        name="masked-proc",
        title="Parts of /proc are hidden, and a new proc would show them",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_masked,
        why="parts of /proc are hidden by mounts ({hidden}), and a new proc would show them again",
        remedy="run as root without a user namespace, or without a new proc (mount_proc=False, no --mount-proc); "
        "it also helps if root mounts a whole proc somewhere before: mount -t proc proc DIRECTORY",
        places={
            "kubernetes": "the pod needs procMount: Unmasked together with hostUsers: false in its YAML",
            "jupyterhub": "ask the administrator of the hub for procMount: Unmasked with hostUsers: false in the "
            "user's pod",
            "podman": "start the container anew with the option added: podman run --security-opt unmask=ALL",
            "docker": "start the container anew with the option added: docker run --security-opt "
            "systempaths=unconfined",
        },
        meaning="Containers cover sensitive files of /proc by mounting something over them. Inside a user namespace "
        "the kernel refuses a new proc as long as every proc that is visible has such covers. The kernel's log then "
        'has "Mount too revealing".',
        manual="user_namespaces(7), mount_namespaces(7)",
        example={"hidden": "/proc/kcore, /proc/sys"},
    ),
    Cause(
        name="no-visible-proc",
        title="No proc is visible, so none may be mounted",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_no_proc,
        why="no proc is mounted here, and a user namespace may mount only what is visible already",
        remedy="first, as root outside of the user namespace: mount -t proc proc /proc; or run as root without one",
        meaning="In a user namespace a new proc may show nothing that could not be seen before.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="foreign-pid-namespace",
        title="The PID namespace does not belong to the new user namespace",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_foreign,
        why="in a user namespace, proc can be mounted only for a PID namespace that belongs to it",
        remedy="make a new PID namespace, too: --pid --fork on the command line, the letter p among the namespaces in "
        "Python",
        meaning="proc shows a PID namespace. Root of a user namespace has rights over the namespaces made in it, and "
        "not over older ones.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="proc-of-other-pids",
        title="This kernel mounts a proc only for the caller's own PID namespace",
        steps=frozenset({"mount proc"}),
        errnos=frozenset({EINVAL}),
        find=_pidns,
        why="before Linux 6.17 a thread can mount a proc only for the PID namespace that it is in itself",
        remedy="do not mount it here, but start a program with one of its own: nsbox.run(..., mount_proc=True)",
        meaning="A thread that has unshared its PID namespace is still in the old one; only its children are not.",
        manual="proc(5)",
    ),
)
