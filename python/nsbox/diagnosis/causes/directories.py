"""Why `nsbox unshare` and `nsbox nsenter` cannot change the root or the working directory."""

from __future__ import annotations

from errno import EACCES, ENOENT, ENOTDIR, EPERM

from nsbox.diagnosis.causes.cause import Cause, Failure, Found
from nsbox.diagnosis.evidence import Evidence

__all__ = ["DIRECTORIES"]

_ROOT = frozenset({"chroot", "target root"})
_ANY = _ROOT | {"chdir", "target wd"}


def _always(_: Failure, __: Evidence) -> Found | None:
    return {}


def _no_chroot(_: Failure, evidence: Evidence) -> Found | None:
    return None if evidence.has("CAP_SYS_CHROOT") else {}


DIRECTORIES = (
    Cause(
        name="no-such-directory",
        title="There is no such directory",
        steps=_ANY,
        errnos=frozenset({ENOENT}),
        find=_always,
        why="no directory has that name here; in a new root, and in joined mounts, a path means what it means inside",
        remedy="correct the path, or make the directory first",
        meaning="A path leads through the mounts and from the root that a process has at that moment. Once these are "
        "other ones, the same path leads elsewhere.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="not-a-directory",
        title="That is a file, and no directory",
        steps=_ANY,
        errnos=frozenset({ENOTDIR}),
        find=_always,
        why="the path, or a part of it, is that of a file",
        remedy="name a directory",
        meaning="Only a directory can be the root or the working directory of a process.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="closed-directory",
        title="The directory may not be entered",
        steps=_ANY,
        errnos=frozenset({EACCES}),
        find=_always,
        why="this user may not enter the directory, or one on the way to it",
        remedy="as its owner: chmod a+x DIRECTORY, for each one on the way; or name another",
        meaning="Entering a directory takes the x permission for it and for all above it. Root of a user namespace has "
        "no more rights over other people's directories than the user it stands for.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="no-right-to-chroot",
        title="The caller may not change its root directory",
        steps=_ROOT,
        errnos=frozenset({EPERM}),
        find=_no_chroot,
        why="another root directory takes a right of root, CAP_SYS_CHROOT, which the caller lacks",
        remedy="add a user namespace (unshare -r, nsenter -U), or run as root",
        meaning="A user who could choose the root could show setuid programs files of its own making. So only root "
        "may, and whoever is root of a user namespace, where such programs have no power outside.",
        manual="chroot(2)",
    ),
)
