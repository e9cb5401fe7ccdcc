"""A mount, and the parser of mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nsbox.errors import SpecError

__all__ = ["Mount", "holding", "normal_path", "nsfs_mounts", "parse", "visible_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount.

    Attributes:
        id: Its number, unique in the machine at a time.
        parent: The number of the mount that it is on; at the top, its own number or one that is not listed.
        device: The device number of the file system: major and minor.
        root: The directory of the file system that is mounted.
        point: Where it is mounted, below the root directory of the process.
        options: Options of this mount, as ``"nosuid"``.
        propagation: Its tags: ``"shared:2"``, ``"master:1"``, ``"propagate_from:3"``, ``"unbindable"``; none for a
            private mount (mount_namespaces(7)).
        fstype: The type of the file system.
        source: What is mounted, which depends on the type.
        super_options: Options of the file system.
        pid_namespace: The PID namespace that a proc shows; None for other types, and where the caller may not know it.
    """

    id: int
    parent: int
    device: tuple[int, int]
    root: str
    point: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]
    pid_namespace: int | None = None


def _unescaped(field: str) -> str:
    """Decode octal numbers, which stand for blanks, tabs, newlines and backslashes. A path can contain any bytes."""
    if "\\" not in field:
        return field
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8) & 0xFF]), os.fsencode(field)))


def parse(text: bytes) -> list[Mount]:
    """Parse a mountinfo. Lines in any other form are left out."""
    return [mount for line in text.split(b"\n") if (mount := _parse_line(os.fsdecode(line))) is not None]


def _parse_line(line: str) -> Mount | None:
    fields = line.split(" ")
    try:
        hyphen = fields.index("-", 6)
        major, minor = fields[2].split(":")
        # The source may be empty, and the last field is missing in some old kernels.
        fstype, source, *rest = [*fields[hyphen + 1 :], ""]
        return Mount(
            id=int(fields[0]),
            parent=int(fields[1]),
            device=(int(major), int(minor)),
            root=_unescaped(fields[3]),
            point=_unescaped(fields[4]),
            options=tuple(fields[5].split(",")),
            propagation=tuple(fields[6:hyphen]),
            fstype=_unescaped(fstype),
            source=_unescaped(source),
            super_options=tuple(filter(None, " ".join(rest).strip(" ").split(","))),
        )
    except ValueError:
        return None


def normal_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Return an absolute path as mountinfo has it, without the slashes that are not needed.

    Raises:
        SpecError: for a relative path, and one with ``..``, which depends on links.
    """
    text = os.fsdecode(path)
    names = [name for name in text.split("/") if name not in ("", ".")]
    if not text.startswith("/") or ".." in names:
        raise SpecError(f"path: expected an absolute path without '..', got {path!r}")
    return "/" + "/".join(names)


def visible_at(mounts: Iterable[Mount], point: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Mount | None:
    """Return the mount that a process finds at a path, from its mountinfo.

    A later mount on the same path covers an earlier one, and a mount on a directory above hides what is mounted below.
    Both stay in the list. A mount on the root directory of a process covers nothing for that process: paths are looked
    up from the root directory itself (path_resolution(7)).

    Args:
        mounts: The mounts in its mountinfo.
        point: An absolute path without ``..``; links are not followed.

    Returns:
        The mount; None if the path is no mount point, or if its mounts are hidden.

    Raises:
        SpecError: for any other path.
    """
    path = normal_path(point)
    found = holding(mounts, path)
    return found if found is not None and found.point == path else None


def holding(mounts: Iterable[Mount], path: str) -> Mount | None:
    """Return the mount in which a process finds a normal path; None if that mount is not listed (see `_root_of`)."""
    mounts = list(mounts)
    root = _root_of(mounts)
    found = root if isinstance(root, Mount) else None
    at = root.id if isinstance(root, Mount) else root
    # A mount has a single child at each of its directories: another mount there is made on that child.
    children: dict[tuple[int | None, str], Mount] = {}
    children |= {(mount.parent, mount.point): mount for mount in mounts if mount.parent != mount.id}
    end = path.find("/", 1)
    while path != "/":
        prefix = path if end < 0 else path[:end]
        while (child := children.get((at, prefix))) is not None:
            found, at = child, child.id
        if end < 0:
            break
        end = path.find("/", end + 1)
    return found


def _root_of(mounts: Iterable[Mount]) -> Mount | int | None:
    """Return the mount with the root directory of the process, or its number if it is not listed.

    After chroot(2) the root directory may be one inside of a mount. Then mountinfo leaves out that mount, as its own
    root cannot be reached. Its number is known from the mounts on it.
    """
    ids = {mount.id for mount in mounts}
    top = [mount for mount in mounts if mount.parent not in ids - {mount.id}]
    if len(top) == 1 and top[0].point == "/":
        return top[0]
    return top[0].parent if top else None


_NAMESPACE = re.compile(r"(\w+):\[([0-9]+)\]")


def nsfs_mounts(text: bytes) -> Iterator[tuple[str, int, str]]:
    """Find the namespaces whose files are mounted in a mountinfo: the link, the id and the mount point of each."""
    # Most lines are left out before they are parsed: there may be many mount namespaces, with many mounts each.
    for mount in parse(b"\n".join(line for line in text.split(b"\n") if b" - nsfs " in line)):
        if mount.fstype == "nsfs" and (found := _NAMESPACE.fullmatch(mount.root)):
            yield found[1], int(found[2]), mount.point
