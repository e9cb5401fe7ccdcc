"""Why a namespace cannot be kept at a file, or released again."""

from __future__ import annotations

from errno import EACCES, EBUSY, EINVAL, ENOENT, ENOTDIR, EPERM

from nsbox.diagnosis.causes.cause import Cause, FailedStep, Found, always, never
from nsbox.diagnosis.evidence import Evidence

__all__ = ["PINS"]

_STEPS = frozenset({"pin", "unpin"})


def _no_right(_: FailedStep, evidence: Evidence) -> Found | None:
    return None if evidence.has("CAP_SYS_ADMIN") else {}


PINS = (
    Cause(
        name="no-right-to-pin",
        title="The caller may not mount here",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_no_right,
        why="a namespace is kept at a file by a mount, for which the caller needs CAP_SYS_ADMIN, a right of root, in "
        "its own mount namespace",
        remedy="run as root, or in a shell of `nsbox unshare -r -m`: the mount is then gone when that shell exits",
        meaning="A namespace lives as long as a process is in it, or as long as it is mounted on a file.",
        manual="mount(2)",
    ),
    Cause(
        name="unreachable-pin",
        title="The directory of the file may not be searched",
        steps=_STEPS,
        errnos=frozenset({EACCES}),
        find=always,
        why="the caller may not search (enter) a directory on the way to the file, or may not make a file there",
        remedy="run as root, or name a file in a directory of your own",
        meaning="The file is looked up and made with the rights of the caller.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="no-pin-file",
        title="The file on which the namespace is to be mounted does not exist",
        steps=_STEPS,
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=always,
        why="the file on which the namespace is to be mounted does not exist",
        remedy="make it first: touch FILE",
        meaning="A namespace in which no process is left lives on while it is mounted on a file.",
        manual="unshare(1)",
    ),
    Cause(
        name="pin-refused",
        title="The file is on a shared mount, or the kernel takes the new mount namespace for an older one",
        steps=frozenset({"pin"}),
        errnos=frozenset({EINVAL}),
        find=never,
        why="the kernel does not mount that namespace there",
        remedy="put the file on a private mount (as root: mount --bind DIR DIR && mount --make-private DIR); and for "
        "a mount namespace try once more on a single processor: taskset -c 0 and then the command",
        meaning="A mount namespace may be mounted only in an older one: otherwise the two could keep each other alive "
        "for ever, and on a shared mount it would appear in itself. Linux 6.18 compares their ages by numbers that "
        "each processor assigns by itself, and so sometimes takes the newer one for the older.",
        manual="unshare(1), mount_namespaces(7)",
        traceless=lambda _, __: True,
    ),
    Cause(
        name="cannot-unpin",
        title="The mount at the file cannot be unmounted",
        steps=frozenset({"unpin"}),
        errnos=frozenset({EINVAL, EBUSY}),
        find=always,
        why="nothing is mounted there that the caller may unmount",
        remedy="see what is mounted there: nsbox.mounts(), or findmnt FILE",
        meaning="Mounts that came into a mount namespace together, or from the mount namespace of another user, can be "
        "unmounted only together.",
        manual="umount(2)",
    ),
)
