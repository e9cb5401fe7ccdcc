"""Why `nsbox unshare`, `nsbox nsenter` and a box cannot change the root or the working directory."""

from __future__ import annotations

from errno import EACCES, ENOENT, ENOTDIR, EPERM

from nsbox.diagnosis.causes.cause import Cause, FailedStep, Found, always
from nsbox.diagnosis.evidence import Evidence

__all__ = ["DIRECTORIES"]

_ROOT = frozenset({"chroot", "target root"})
_ANY = _ROOT | {"chdir", "target wd"}


def _no_chroot(_: FailedStep, evidence: Evidence) -> Found | None:
    return None if evidence.has("CAP_SYS_CHROOT") else {}


DIRECTORIES = (
    Cause(
        name="hidden-directory",
        title="The caller's working directory is not there after the mounts",
        steps=frozenset({"directory"}),
        errnos=frozenset({ENOENT, ENOTDIR, EACCES}),
        find=always,
        why="the caller's working directory cannot be reached by its path after the mounts: they hide it, or this user "
        "may not search (enter) a directory on the way",
        remedy='start elsewhere: cwd="/" is always there; or show that directory too, with Bind(DIRECTORY, DIRECTORY)',
        meaning="A process inherits its working directory as a reference, which would lead around the new mounts, to "
        "what they hide. So it is looked up anew, by its path, after the mounts.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="no-such-directory",
        title="There is no such directory",
        steps=_ANY,
        errnos=frozenset({ENOENT}),
        find=always,
        why="no directory has that name here; in a new root, and in joined mounts, a path is looked up inside",
        remedy="correct the path, or make the directory first (mkdir -p DIRECTORY)",
        meaning="A path is looked up from the root and through the mounts that a process has at that moment. With "
        "other mounts, the same path leads to another place.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="not-a-directory",
        title="The path is that of a file, not of a directory",
        steps=_ANY,
        errnos=frozenset({ENOTDIR}),
        find=always,
        why="the path, or a part of it, is that of a file",
        remedy="name a directory: ls -ld PATH shows what it is",
        meaning="Only a directory can be the root or the working directory of a process.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="closed-directory",
        title="This user may not enter the directory",
        steps=_ANY | {"remember wd"},
        errnos=frozenset({EACCES}),
        find=always,
        why="this user may not enter the directory, or one on the way to it",
        remedy="as its owner: chmod a+x DIRECTORY, for each one on the way; or name another",
        meaning="To enter a directory, a user needs the x permission for it and for all above it. Root of a user "
        "namespace has no more rights over directories of other users than the user to which it is mapped.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="no-right-to-chroot",
        title="The caller may not change its root directory",
        steps=_ROOT,
        errnos=frozenset({EPERM}),
        find=_no_chroot,
        why="to change the root directory the caller needs CAP_SYS_CHROOT, a right of root, and does not have it",
        remedy="add a user namespace (unshare -r, nsenter -U), or run as root",
        meaning="A user who could choose the root could give setuid programs files of its own making. So only root "
        "may choose it, and root of a user namespace, where setuid programs get no rights outside.",
        manual="chroot(2)",
    ),
)
