"""Why a new root, the mounts in it, and limits cannot be had."""

from __future__ import annotations

import resource
from collections.abc import Callable
from errno import (
    EACCES,
    EAGAIN,
    EBUSY,
    EINVAL,
    ELOOP,
    ENODEV,
    ENOENT,
    ENOSYS,
    ENOTDIR,
    EPERM,
    EROFS,
)

from nsbox.diagnosis.causes.cause import DENIED, Cause, Failure, Found
from nsbox.diagnosis.evidence import Evidence

__all__ = ["WORLD"]

_MADE = frozenset({"tmpfs", "overlay", "proc", "mount proc"})
_MOUNTS = _MADE | {"bind"}
_ALL = _MOUNTS | {"root", "pivot root"}


def _always(_: Failure, __: Evidence) -> Found | None:
    return {}


def _at(*parts: str) -> Callable[[Failure, Evidence], Found | None]:
    """Return what recognises a failure by the part of a mount that failed, which the core reports."""
    return lambda failure, _: {} if failure.detail in parts else None


def _unknown_file_system(failure: Failure, _: Evidence) -> Found | None:
    fstype = failure.argument("fsname") or failure.argument("filesystemtype")
    return {"fstype": str(fstype)} if fstype else None


def _own_limit(failure: Failure, _: Evidence) -> Found | None:
    (name,) = failure.argument("resource") or ("",)
    hard = resource.getrlimit(getattr(resource, name))[1] if hasattr(resource, name) else resource.RLIM_INFINITY
    return {"name": name, "hard": "unlimited" if hard == resource.RLIM_INFINITY else str(hard)}


WORLD = (
    Cause(
        name="old-mount-calls",
        title="The kernel does not know how to mount by descriptor",
        steps=_ALL,
        errnos=frozenset({ENOSYS}),
        find=_always,
        why="the kernel does not know this call, or a filter for system calls (seccomp) says so",
        remedy="use Linux 5.12 or newer (uname -r prints which it is), outside of any container or sandbox",
        meaning="Mounts with safely resolved targets take calls that came between Linux 5.2 and 5.12.",
        manual="open_tree(2), fsopen(2), mount_setattr(2), openat2(2)",
    ),
    Cause(
        name="no-source",
        title="There is nothing to bind",
        steps=frozenset({"bind"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_at("looking up the source"),
        why="the source is not there",
        remedy="correct the path of the source, the first of the two: it must exist outside, before anything is "
        "mounted",
        meaning="A bind mount shows at a second place what is at the first.",
        manual="mount(2)",
    ),
    Cause(
        name="locked-below",
        title="Mounts below the source may not be left out",
        steps=frozenset({"bind", "root"}),
        errnos=frozenset({EINVAL}),
        find=_at("looking up the source"),
        why="there are mounts below the source that may not be left out in a user namespace, or it is marked "
        "unbindable",
        remedy="take them along: leave recursive=False out, as recursive=True is the default",
        meaning="What a mount hides must stay hidden from somebody with fewer rights. So in a user namespace a tree of "
        "mounts comes as a whole.",
        manual="mount_namespaces(7)",
    ),
    Cause(
        name="no-root",
        title="The new root is not there",
        steps=frozenset({"root"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_always,
        why="there is no such directory",
        remedy="make that directory first, or correct the path",
        meaning="The root of the new mount namespace is a directory of the old one.",
        manual="pivot_root(2)",
    ),
    Cause(
        name="no-target",
        title="There is nothing to mount on",
        steps=_MOUNTS,
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_at("looking up the target"),
        why="there is nothing to mount on, and nsbox creates nothing",
        remedy="make it first, in the new root if there is one: mkdir -p DIRECTORY, or touch FILE to bind a file on",
        meaning="Mounts are looked up in the new root if there is one, and what had to be made there would stay.",
        manual="openat2(2)",
    ),
    Cause(
        name="unreachable",
        title="A directory on the way may not be searched",
        steps=_MOUNTS | {"root"},
        errnos=frozenset({EACCES}),
        find=_at("looking up the source", "looking up the target"),
        why="a directory on the way may not be searched (entered) by this user",
        remedy="as its owner: chmod a+x DIRECTORY, for each one on the way; or name another path",
        meaning="In a user namespace one is root only over files of mapped users.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="no-path",
        title="The way leads through a link that is no path",
        steps=_MOUNTS,
        errnos=frozenset({ELOOP}),
        find=_at("looking up the target"),
        why="the way leads through a link of /proc that is no path, or through too many links",
        remedy="use the path that the link leads to: readlink -f PATH prints it",
        meaning="Links such as /proc/self/root lead out of any root. Targets are looked up without them.",
        manual="openat2(2)",
    ),
    Cause(
        name="moving-target",
        title="Directories on the way were moved all the time",
        steps=_MOUNTS,
        errnos=frozenset({EAGAIN}),
        find=_at("looking up the target"),
        why="directories on the way were moved all the time while the target was looked up",
        remedy="try again, when nobody moves them",
        meaning="With `..` in a path the kernel cannot be sure to have stayed inside when directories are moved, and "
        "asks to try again; nsbox does so a thousand times.",
        manual="openat2(2)",
    ),
    Cause(
        name="unlike",
        title="A directory and a file do not go on each other",
        steps=_MOUNTS,
        errnos=frozenset({EINVAL, ENOTDIR}),
        find=_at("mounting it there"),
        why="a directory can only be mounted on a directory, a file only on a file",
        remedy="make a target of the same kind: mkdir for a directory, touch for a file",
        meaning="What is mounted takes the place of what is there, and must be of its kind.",
        manual="mount(2)",
    ),
    Cause(
        name="no-file-system",
        title="This kernel does not have that file system",
        steps=_MADE,
        errnos=frozenset({ENODEV}),
        find=_unknown_file_system,
        why="this kernel has no {fstype}",
        remedy="load its module: sudo modprobe {fstype}; or leave it out",
        meaning="File systems can be left out of a kernel, or be in modules that are not loaded.",
        manual="filesystems(5)",
        example={"fstype": "overlay"},
    ),
    Cause(
        name="no-layer",
        title="A layer of an overlay is not there",
        steps=frozenset({"overlay"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_at("an option", "making the file system"),
        why="one of its directories is not there",
        remedy="make its directories first, with mkdir -p: lower, and for writing upper and work",
        meaning="An overlay is made of directories that exist: lower ones, and for writing an upper and a work one.",
        manual="mount(8)",
    ),
    Cause(
        name="unfit-layers",
        title="The directories do not make an overlay",
        steps=frozenset({"overlay"}),
        errnos=frozenset({EINVAL, EBUSY}),
        find=_at("an option", "making the file system"),
        why="the kernel refuses these layers",
        remedy="put upper and work next to each other on a file system that is no overlay itself, such as a tmpfs (in "
        "most containers / is an overlay), and let no other overlay use them",
        meaning="What is written to an overlay is prepared in work and then moved to upper, in one step.",
        manual="mount(8)",
    ),
    Cause(
        name="root-stays",
        title="The root cannot be exchanged",
        steps=frozenset({"root", "pivot root"}),
        errnos=frozenset({EINVAL, EBUSY}),
        find=_at("mounting it there", "letting go of the old root"),
        why="the root of this mount namespace cannot be exchanged, as in a chroot or an initramfs",
        remedy="leave the chroot (exit), or wait until the machine has left its initramfs, and start from there",
        meaning="pivot_root(2) exchanges two mounts, of which the current root must be one.",
        manual="pivot_root(2)",
    ),
    Cause(
        name="limit-too-high",
        title="The limit is above the caller's own",
        steps=frozenset({"rlimit"}),
        errnos=frozenset({EPERM}),
        find=_own_limit,
        why="the caller's own hard limit {name} is {hard}",
        remedy="stay at or below it; to go above, run as root outside of any user namespace (with CAP_SYS_RESOURCE), "
        "for RLIMIT_NOFILE also with a higher fs.nr_open",
        meaning="Anybody may lower a limit, and only the privileged may raise it again.",
        manual="getrlimit(2)",
        example={"name": "RLIMIT_NOFILE", "hard": "4096"},
    ),
    Cause(
        name="too-many-cgroups",
        title="There may be no further cgroup",
        steps=frozenset({"cgroup"}),
        errnos=frozenset({EAGAIN}),
        find=_always,
        why="a cgroup above has reached a limit of cgroups (cgroup.max.descendants, cgroup.max.depth)",
        remedy="remove cgroups that were left behind (rmdir their directories in /sys/fs/cgroup), or write a higher "
        "limit to that file",
        meaning="The number of cgroups below another can be limited.",
        manual="cgroups(7)",
    ),
    Cause(
        name="foreign-cgroup",
        title="The cgroup is somebody else's",
        steps=frozenset({"cgroup", "join cgroup"}),
        errnos=DENIED | {EROFS},
        find=_always,
        why="the cgroup has been handed to somebody else, or is read-only",
        remedy="start this program in a cgroup of its own: systemd-run --user --scope -p Delegate=yes PROGRAM",
        meaning="A process can be moved by whoever may write to where it is, where it goes, and what is above both.",
        manual="cgroups(7)",
    ),
)
