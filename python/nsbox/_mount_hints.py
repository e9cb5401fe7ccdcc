"""Why a mount fails: which part of it did, and with what."""

from __future__ import annotations

from errno import EACCES, EAGAIN, EBUSY, EINVAL, ELOOP, ENODEV, ENOENT, ENOSYS, ENOTDIR, EPERM

from nsbox import _evidence as evidence

__all__ = ["explain_part", "proc_refused"]


def explain_part(step: str, part: str, errno: int) -> tuple[str, str]:
    """Return the evidence and the hint; either may be empty.

    Args:
        step: The step that failed.
        part: The part of it, in the words of the core.
        errno: The error number.
    """
    if errno == ENOSYS:
        return (
            "the kernel, or a seccomp filter, does not know this call",
            "use Linux 5.12 or newer, outside of a sandbox",
        )
    match part:
        case "looking up the source":
            return _source(errno)
        case "looking up the target":
            return _target(step, errno)
        case "an option" | "making the file system":
            return _file_system(step, errno)
        case "mounting it there":
            return _attach(step, errno)
    return "", ""


def _source(errno: int) -> tuple[str, str]:
    if errno in (ENOENT, ENOTDIR):
        return "nothing is there", "bind what exists"
    if errno == EACCES:
        return "a directory on the way may not be searched by this user", "bind what this user can reach"
    if errno == EINVAL:
        return "it has mounts below that may not be left out in a user namespace, or it is unbindable", (
            "leave recursive at True (mount_namespaces(7))"
        )
    return "", ""


def _target(step: str, errno: int) -> tuple[str, str]:
    if errno == ENOENT and step == "root":
        return "nothing is there", "name a directory that exists"
    if errno == ENOENT:
        return "there is nothing to mount on, and nsbox creates nothing", (
            "make it first: a directory, or a file to bind a file on"
        )
    if errno == ENOTDIR:
        return "what is there is no directory", "name a directory"
    if errno == EACCES:
        return "a directory on the way may not be searched by this user", "name what this user can reach"
    if errno == ELOOP:
        return (
            "the way leads through a link of /proc that is no path, or through too many links",
            "name the place itself",
        )
    if errno == EAGAIN:
        return "directories on the way were moved all the time", "let nobody else change them meanwhile"
    return "", ""


def _file_system(step: str, errno: int) -> tuple[str, str]:
    if errno == ENODEV:
        return f"this kernel has no {step}", "leave it out"
    if errno == ENOENT:
        return "one of its directories is not there", "make it first"
    if errno in (EPERM, EACCES) and step in ("proc", "mount proc"):
        return proc_refused()
    if errno == EPERM:
        return f"this kernel does not let a user namespace mount {step}", "run as root"
    if errno == EINVAL and step == "overlay":
        return (
            "the kernel refuses these layers: upper and work lie on one file system that can be an upper layer, apart",
            ("see that upper and work are two directories next to each other, and that the file system is no overlay"),
        )
    if errno == EBUSY and step == "overlay":
        return "upper or work is a part of another overlay", "give each overlay its own"
    return "", ""


def _attach(step: str, errno: int) -> tuple[str, str]:
    if errno in (EINVAL, ENOTDIR) and step in ("root", "pivot root"):
        return "the root of this mount namespace cannot be exchanged, as in a chroot or an initramfs", (
            "start from a process whose root is the root of its mount namespace"
        )
    if errno in (EINVAL, ENOTDIR):
        return "a directory can only be mounted on a directory, a file only on a file", "name another target"
    return "", ""


def proc_refused() -> tuple[str, str]:
    """Say why a new proc is refused with EPERM."""
    if masks := evidence.masked_proc():
        return f"parts of /proc are hidden by mounts ({', '.join(masks[:4])}), and a new proc would show them", (
            "Docker: --security-opt systempaths=unconfined; Podman: --security-opt unmask=ALL; Kubernetes: "
            "procMount: Unmasked with hostUsers: false"
        )
    if evidence.lacks_capability("CAP_SYS_ADMIN"):
        return "in a user namespace, proc can only be mounted for a PID namespace that belongs to it", (
            "unshare the PID namespace too"
        )
    return "", ""
