"""Why a root and mounts cannot be made, before a program starts and in a box that runs."""

from __future__ import annotations

from collections.abc import Callable
from errno import EACCES, EAGAIN, EBUSY, EINVAL, ELOOP, ENODEV, ENOENT, ENOSPC, ENOTBLK, ENOTDIR, ENXIO, EPERM, EROFS

from nsbox.diagnosis.causes.cause import MOUNTING, Cause, FailedStep, Found, always
from nsbox.diagnosis.evidence import Evidence
from nsbox.spec.kinds import KINDS

__all__ = ["MOUNTS"]

_HARDENED = frozenset({"private tmp", "private pts", "mask proc", "read-only sys"})
_NEW = frozenset({"tmpfs", "layers", "proc", "mount proc"}) | _HARDENED
_BY_DESCRIPTOR = _NEW | {"overlay", "bind"}
_REQUESTS = frozenset({"mount", "mount shm"})
_SOURCE_BELOW_TARGET = "looking up the source, which is below a target of the same list"
_SOURCE, _TARGET, _ATTACH = "looking up the source", "looking up the target", "mounting it there"
_OLD_ROOT, _OPTION, _FILE_SYSTEM = "letting go of the old root", "an option", "making the file system"
_SHOWN = {"proc": "pid", "sysfs": "net", "mqueue": "ipc", "cgroup2": "cgroup"}
"""File systems that show a namespace, with its kind."""


def _at(*parts: str) -> Callable[[FailedStep, Evidence], Found | None]:
    """Return the function that recognises a failure by the part of a mount that failed, which the core reports."""
    return lambda failed, _: {} if failed.detail in parts else None


def _flags(failed: FailedStep) -> tuple[str, ...]:
    return tuple(failed.argument("mountflags") or ())


def _is_bind(failed: FailedStep) -> bool:
    return "MS_BIND" in _flags(failed) and "MS_REMOUNT" not in _flags(failed)


def _changes(failed: FailedStep) -> bool:
    """Whether a mount that exists is changed or moved."""
    return bool({"MS_REMOUNT", "MS_MOVE", "MS_PRIVATE", "MS_SLAVE", "MS_SHARED"} & set(_flags(failed)))


def _fstype(failed: FailedStep) -> str:
    return str(failed.argument("fsname") or failed.argument("filesystemtype") or "")


def _bound_paths(failed: FailedStep, _: Evidence) -> Found | None:
    if not (_is_bind(failed) or "MS_MOVE" in _flags(failed)):
        return None
    return {"source": str(failed.argument("source")), "target": str(failed.argument("target"))}


def _unlike(failed: FailedStep, _: Evidence) -> Found | None:
    by_path = failed.errno == ENOTDIR and (_is_bind(failed) or "MS_MOVE" in _flags(failed))
    return {} if failed.detail == _ATTACH or by_path else None


def _locked_below(failed: FailedStep, _: Evidence) -> Found | None:
    return {} if failed.detail == _SOURCE or _is_bind(failed) else None


def _place(failed: FailedStep, _: Evidence) -> Found | None:
    target = failed.argument("target")
    return None if _is_bind(failed) or failed.detail else {"target": str(target or "the directory")}


def _unreachable(failed: FailedStep, _: Evidence) -> Found | None:
    by_request = failed.step in _REQUESTS or (failed.step == "mount proc" and failed.calls_one_of("mount"))
    is_path = failed.detail in (_SOURCE, _SOURCE_BELOW_TARGET, _TARGET, _OPTION)
    return {} if is_path or by_request else None


def _no_file_system(failed: FailedStep, _: Evidence) -> Found | None:
    fstype = _fstype(failed)
    return {"fstype": fstype} if fstype else None


def _not_a_mount_point(failed: FailedStep, _: Evidence) -> Found | None:
    which = "source" if "MS_MOVE" in _flags(failed) else "target"
    return {"path": str(failed.argument(which))} if _changes(failed) else None


def _no_type(failed: FailedStep, _: Evidence) -> Found | None:
    return {} if not _fstype(failed) else None


def _refusing_file_system(failed: FailedStep, _: Evidence) -> Found | None:
    fstype = _fstype(failed)
    return {"fstype": fstype} if fstype and failed.step in ("mount", "detached mount") else None


def _foreign(failed: FailedStep, evidence: Evidence) -> Found | None:
    # The evidence is the caller's: with CAP_SYS_ADMIN over the older namespace the kernel would not have refused.
    kind = _SHOWN.get(_fstype(failed), "")
    if not kind or evidence.has("CAP_SYS_ADMIN"):
        return None
    return {"fstype": _fstype(failed), "kind": KINDS[kind].name, "letter": KINDS[kind].letter}


def _foreign_detached(_: FailedStep, evidence: Evidence) -> Found | None:
    return None if evidence.has("CAP_SYS_ADMIN") else {}


def _for_root_only(failed: FailedStep, evidence: Evidence) -> Found | None:
    fstype = _fstype(failed)
    return {"fstype": fstype} if fstype and not evidence.has("CAP_SYS_ADMIN") else None


def _source(failed: FailedStep, _: Evidence) -> Found | None:
    return {"source": str(failed.argument("source"))}


def _open_for_writing(failed: FailedStep, _: Evidence) -> Found | None:
    return {"target": str(failed.argument("target"))} if "MS_REMOUNT" in _flags(failed) else None


def _busy(failed: FailedStep, _: Evidence) -> Found | None:
    return None if "MS_REMOUNT" in _flags(failed) else {}


def _landlock(_: FailedStep, evidence: Evidence) -> Found | None:
    if not evidence.landlock:
        return None
    return {"layers": "a domain" if evidence.landlock == 1 else f"{evidence.landlock} domains"}


def _lower_layer(failed: FailedStep, _: Evidence) -> Found | None:
    # With the upper layer in memory only the lower ones can be the reason.
    if failed.detail not in (_OPTION, _FILE_SYSTEM) or not failed.calls_one_of("mkdirat"):
        return None
    settings = (dict(call.arguments) for call in failed.calls if call.name == "fsconfig")
    layers = [str(setting["value"]) for setting in settings if str(setting["key"]).startswith("lowerdir")]
    return {"layer": layers[0] if layers else "the directory"}


def _no_mount_point(_: FailedStep, evidence: Evidence) -> Found | None:
    return {} if evidence.root_is_mount is False else None


MOUNTS = (
    Cause(
        name="landlock",
        title="A Landlock sandbox forbids all mounts",
        steps=MOUNTING | {"pin", "unpin", "unmount"},
        errnos=frozenset({EPERM}),
        find=_landlock,
        why="this process is in {layers} of Landlock, a sandbox in which nothing can be mounted or unmounted",
        remedy="start it outside that sandbox, such as in a plain terminal: a process cannot leave it",
        meaning="With Landlock a program restricts itself and all programs that it starts. Mounts are then forbidden, "
        "also in new namespaces and to root.",
        manual="landlock(7)",
        example={"layers": "a domain"},
    ),
    Cause(
        name="no-source",
        title="The source of a bind mount does not exist",
        steps=frozenset({"source"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_at(_SOURCE),
        why="the source does not exist",
        remedy="correct the path of the source, the first of the two: it must exist outside, before anything is "
        "mounted",
        meaning="A bind mount shows at a second place what is at the first. Sources are looked up before any mount is "
        "made, so the order of mounts does not matter.",
        manual="mount(2)",
    ),
    Cause(
        name="source-in-new-mount",
        title="The source of a bind mount is in a mount of the same list",
        steps=frozenset({"source"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_at(_SOURCE_BELOW_TARGET),
        why="the source does not exist outside; it is below a target of the same list, and sources are looked up "
        "before any mount is made",
        remedy="make the first mount in a box and the bind in another one inside it: "
        "Box(mounts=[FIRST]).Box(mounts=[Bind(SOURCE, TARGET)])",
        meaning="The sources of a list are all looked up first. So two binds can exchange two directories, and no "
        "source is ever taken from a mount that only hides something.",
        manual="open_tree(2)",
    ),
    Cause(
        name="no-bind-path",
        title="The source or the target of a mount does not exist in the box",
        steps=frozenset({"mount"}),
        errnos=frozenset({ENOENT}),
        find=_bound_paths,
        why="{source} or {target} does not exist in the box",
        remedy="see which of the two is missing: box.run(['ls', '-ld', {source!r}, {target!r}]); then make it: "
        "box.run(['mkdir', '-p', {target!r}]), or touch for a file",
        meaning="Box.mount takes paths as a program in the box would: both must exist there.",
        manual="mount(2)",
        example={"source": "SOURCE", "target": "TARGET"},
    ),
    Cause(
        name="locked-below",
        title="Mounts below the source may not be left out",
        steps=frozenset({"source", "root", "mount"}),
        errnos=frozenset({EINVAL}),
        find=_locked_below,
        why="there are mounts below the source that a user namespace may not leave out, or the source is marked "
        "unbindable",
        remedy="take them along: leave recursive=False out, as recursive=True is the default; for Box.mount "
        "flags='rbind'",
        meaning="A mount can hide files from users with fewer rights. So a user namespace may copy a tree of mounts "
        "only as a whole.",
        manual="mount_namespaces(7)",
    ),
    Cause(
        name="no-root",
        title="The directory for the new root does not exist",
        steps=frozenset({"root"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=always,
        why="there is no such directory",
        remedy="make that directory first (mkdir -p DIRECTORY), or correct the path",
        meaning="The root of the new mount namespace is a directory of the old one.",
        manual="pivot_root(2)",
    ),
    Cause(
        name="no-target",
        title="The target of a mount does not exist",
        steps=_BY_DESCRIPTOR,
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_at(_TARGET),
        why="the target does not exist, and nsbox creates nothing in files of the caller",
        remedy="make it first, in the new root if there is one: mkdir -p DIRECTORY, or touch FILE to bind a file on",
        meaning="Targets are looked up in the new root if there is one. What nsbox made there would stay. It makes "
        "only those in a Tmpfs of the same list, or in a root that is kept in memory.",
        manual="openat2(2)",
    ),
    Cause(
        name="unreachable",
        title="A directory on the way to the source or the target may not be searched",
        steps=_BY_DESCRIPTOR | _REQUESTS | {"root", "source"},
        errnos=frozenset({EACCES}),
        find=_unreachable,
        why="this user may not search (enter) a directory on the way",
        remedy="as its owner: chmod a+x DIRECTORY, for each one on the way; or name another path",
        meaning="Root of a user namespace has rights of root only over files of users that are mapped in it.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="no-path",
        title="A link on the way is no path",
        steps=_BY_DESCRIPTOR,
        errnos=frozenset({ELOOP}),
        find=_at(_TARGET),
        why="on the way is a link of /proc that is no path, or there are too many links",
        remedy="use the path that the link leads to: readlink -f PATH prints it",
        meaning="Links such as /proc/self/root lead out of any root. Targets are looked up without them.",
        manual="openat2(2)",
    ),
    Cause(
        name="moving-target",
        title="Directories on the way were moved while the target was looked up",
        steps=_BY_DESCRIPTOR,
        errnos=frozenset({EAGAIN}),
        find=always,
        why="directories on the way were moved again and again while the target was looked up",
        remedy="try again when no program moves them",
        meaning="While directories are moved, the kernel cannot be sure that a path with `..` stays inside the root. "
        "It returns EAGAIN, and nsbox tries a thousand times.",
        manual="openat2(2)",
    ),
    Cause(
        name="unlike",
        title="A directory cannot be mounted on a file, nor a file on a directory",
        steps=_BY_DESCRIPTOR | {"mount"},
        errnos=frozenset({EINVAL, ENOTDIR}),
        find=_unlike,
        why="a directory can be mounted only on a directory, a file only on a file",
        remedy="make a target of the same kind: mkdir DIRECTORY, or touch FILE",
        meaning="A mount covers what is at its target, and must be of the same kind.",
        manual="mount(2)",
    ),
    Cause(
        name="no-directory",
        title="The target of a mount is no directory",
        steps=frozenset({"mount proc", "mount", "mount shm", "private proc"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_place,
        why="{target} does not exist, or is no directory",
        remedy="make that directory first (mkdir -p {target}), or name another one",
        meaning="A file system is mounted on a directory that exists.",
        manual="mount(2)",
        example={"target": "DIRECTORY"},
    ),
    Cause(
        name="no-file-system",
        title="This kernel does not have that file system",
        steps=_NEW | _REQUESTS | {"detached mount"},
        errnos=frozenset({ENODEV}),
        find=_no_file_system,
        why="this kernel has no file system {fstype}",
        remedy="correct the name (cat /proc/filesystems lists all), or load its module: sudo modprobe {fstype}",
        meaning="File systems can be left out of a kernel, or be in modules that are not loaded.",
        manual="filesystems(5)",
        example={"fstype": "overlay"},
    ),
    Cause(
        name="no-layer",
        title="A directory of an overlay does not exist",
        steps=frozenset({"layers"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_at(_OPTION, _FILE_SYSTEM),
        why="one of its directories does not exist",
        remedy="make its directories first, with mkdir -p: lower, and for writing upper and work",
        meaning="An overlay is made of directories that exist: lower ones, and for writing an upper and a work one.",
        manual="mount(8)",
    ),
    Cause(
        name="unfit-lower-layer",
        title="The directory cannot be a lower layer of an overlay",
        steps=frozenset({"layers"}),
        errnos=frozenset({EINVAL}),
        find=_lower_layer,
        why="{layer} has mounts below it that a user namespace may not leave out, or is itself made of overlays",
        remedy="see what is mounted there: findmnt --submounts {layer}; and use a directory without mounts, such as an "
        "unpacked root file system, or run as root without a user namespace",
        meaning="A layer is a directory without the mounts below it. They can hide files from users with fewer rights, "
        "so a user namespace may not look below them.",
        manual="mount_namespaces(7)",
        example={"layer": "DIRECTORY"},
    ),
    Cause(
        name="unfit-layers",
        title="The directories cannot be the layers of an overlay",
        steps=frozenset({"layers"}),
        errnos=frozenset({EINVAL, EBUSY}),
        find=_at(_OPTION, _FILE_SYSTEM),
        why="the kernel refuses these layers",
        remedy="put upper and work next to each other on a file system that is no overlay itself, such as a tmpfs (in "
        "most containers / is an overlay), and let no other overlay use them",
        meaning="The kernel prepares a changed file in work, and then moves it to upper in one step.",
        manual="mount(8)",
    ),
    Cause(
        name="root-stays",
        title="The root of this mount namespace cannot be exchanged",
        steps=frozenset({"root", "pivot root"}),
        errnos=frozenset({EINVAL, EBUSY}),
        find=_at(_ATTACH, _OLD_ROOT),
        why="the root of this mount namespace cannot be exchanged, as in a chroot or an initramfs",
        remedy="leave the chroot (exit), or wait until the machine has left its initramfs, and start from there",
        meaning="pivot_root(2) exchanges two mounts, of which the current root must be one.",
        manual="pivot_root(2)",
    ),
    Cause(
        name="root-is-no-mount",
        title="/ is no mount point",
        steps=frozenset({"propagation"}),
        errnos=frozenset({EINVAL}),
        find=_no_mount_point,
        why="/ is no mount point here, as in a chroot, so its propagation cannot be set",
        remedy='use propagation="unchanged" (--propagation=unchanged), or leave the chroot (exit) and start outside',
        meaning="Propagation, by which mounts appear in other mount namespaces, is a property of a mount. In a chroot "
        "/ is a directory within a mount.",
        manual="mount_namespaces(7)",
        traceless=lambda _, evidence: evidence.root_is_mount is None,
    ),
    Cause(
        name="not-a-mount-point",
        title="A mount is to be changed where nothing is mounted",
        steps=frozenset({"mount"}),
        errnos=frozenset({EINVAL}),
        find=_not_a_mount_point,
        why="{path} is no mount point in the box, or is locked to the mounts around it",
        remedy="make it one: box.mount({path!r}, {path!r}, flags='rbind'); box.mounts() lists all mount points",
        meaning="The flags remount, move, private, slave and shared change a mount that exists. In a user namespace, "
        "mounts that were there before cannot be moved one by one.",
        manual="mount(2), mount_namespaces(7)",
        example={"path": "PATH"},
    ),
    Cause(
        name="no-type",
        title="The call names no type of file system",
        steps=frozenset({"mount"}),
        errnos=frozenset({EINVAL}),
        find=_no_type,
        why="the call names no type of file system, and has no flag with which it needs none",
        remedy="name the type, as in box.mount('tmpfs', TARGET, 'tmpfs'); or show a directory at a second place: "
        "box.mount(SOURCE, TARGET, flags='bind')",
        meaning="Only with the flags bind, rbind, move, remount, private, slave and shared mount(2) needs no type.",
        manual="mount(2)",
    ),
    Cause(
        name="file-system-refuses",
        title="The file system refuses this source, or needs options",
        steps=frozenset({"mount", "detached mount"}),
        errnos=frozenset({EINVAL}),
        find=_refusing_file_system,
        why="{fstype} refuses this source, or needs options, which Box.mount does not pass on",
        remedy="for an overlay: nsbox.Box(mounts=[nsbox.Overlay(TARGET, [LOWER, ...])]); otherwise mount it with "
        "options: box.run(['mount', '-t', {fstype!r}, '-o', OPTIONS, SOURCE, TARGET]); sudo dmesg may show more",
        meaning="EINVAL is also what a file system returns when a device does not hold it.",
        manual="mount(2), mount(8)",
        example={"fstype": "overlay"},
    ),
    Cause(
        name="foreign-mount-namespace",
        title="The mount or PID namespace does not belong to the user namespace of the box",
        steps=frozenset({"detached mount"}),
        errnos=frozenset({EPERM}),
        find=_foreign_detached,
        why="nsbox-init has to make a mount for this request, and the box has no mount namespace of its own for that, "
        "or no PID namespace of its own to be shown",
        remedy="make the box with both, the letters m and p: nsbox.Box('mp')",
        meaning="Root of a user namespace has rights over the namespaces made in it, and not over older ones. Even a "
        "mount that is attached nowhere needs rights over the mount namespace, and a proc over the PID namespace that "
        "it shows.",
        manual="fsmount(2), user_namespaces(7)",
    ),
    Cause(
        name="foreign-file-system",
        title="The namespace that the file system shows does not belong to the user namespace of the box",
        steps=frozenset({"mount"}),
        errnos=frozenset({EPERM}),
        find=_foreign,
        why="{fstype} shows a {kind} namespace, and the box has none of its own, or a part of the old one is hidden",
        remedy="make the box with one, the letter {letter}: nsbox.Box('m{letter}')",
        meaning="Root of a user namespace may mount proc, sysfs, mqueue and cgroup2 only for namespaces made in it.",
        manual="user_namespaces(7)",
        example={"fstype": "sysfs", "kind": "net", "letter": "n"},
    ),
    Cause(
        name="file-system-for-root",
        title="A user namespace may not mount that file system",
        steps=frozenset({"mount"}),
        errnos=frozenset({EPERM}),
        find=_for_root_only,
        why="the kernel lets a user namespace mount only some file systems, and {fstype} is none of them",
        remedy="show a directory that is mounted already: box.mount(SOURCE, TARGET, flags='rbind'); or make the box "
        "as root with map_root_user=False",
        meaning="Most file systems trust what is on their device, so only root outside of user namespaces may mount "
        "them. All users may mount tmpfs, ramfs, overlay, and proc, sysfs, mqueue and cgroup2 of new namespaces.",
        manual="user_namespaces(7)",
        example={"fstype": "ext4"},
    ),
    Cause(
        name="no-block-device",
        title="The source is no block device",
        steps=frozenset({"mount"}),
        errnos=frozenset({ENOTBLK, ENXIO}),
        find=_source,
        why="{source} is no block device, or no driver serves that device",
        remedy="name a block device (lsblk lists all; sudo losetup --find --show FILE makes one of a file); or for a "
        "directory box.mount(SOURCE, TARGET, flags='bind')",
        meaning="A file system such as ext4 is read from a block device: a disk, a partition, or a file as a loop "
        "device.",
        manual="mount(2), losetup(8)",
        example={"source": "SOURCE"},
    ),
    Cause(
        name="read-only-device",
        title="The device can only be read",
        steps=frozenset({"mount"}),
        errnos=frozenset({EROFS}),
        find=_source,
        why="{source} can only be read",
        remedy="mount it read-only: add flags='ro' to Box.mount",
        meaning="Without the flag ro a file system is mounted for writing.",
        manual="mount(2)",
        example={"source": "SOURCE"},
    ),
    Cause(
        name="open-for-writing",
        title="A file on the mount is open for writing",
        steps=frozenset({"mount"}),
        errnos=frozenset({EBUSY}),
        find=_open_for_writing,
        why="a program has a file below {target} open for writing",
        remedy="end that program (box.ps() lists all), and call Box.mount again",
        meaning="A mount can become read-only only while no file on it is open for writing.",
        manual="mount(2)",
        example={"target": "TARGET"},
    ),
    Cause(
        name="busy-target",
        title="The target of a mount is in use",
        steps=_BY_DESCRIPTOR | _REQUESTS | {"root", "pivot root"},
        errnos=frozenset({EBUSY}),
        find=_busy,
        why="the same is mounted there already, or the target is in use",
        remedy="mount it elsewhere",
        meaning="The kernel does not mount the same file system twice at one place.",
        manual="mount(2)",
    ),
    Cause(
        name="mount-limit",
        title="The mount namespace has as many mounts as it may have",
        steps=_BY_DESCRIPTOR | _REQUESTS | {"root", "source", "detached mount", "pin"},
        errnos=frozenset({ENOSPC}),
        find=always,
        why="no disk is full: the mount namespace has as many mounts as fs.mount-max allows",
        remedy="unmount what is not needed (wc -l /proc/self/mountinfo counts the mounts; umount --lazy DIRECTORY "
        "removes a tree of them), or raise the limit: sudo sysctl -w fs.mount-max=200000",
        meaning="Each recursive bind mount copies all mounts below its source.",
        manual="proc_sys_fs(5)",
    ),
)
