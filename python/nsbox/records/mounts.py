"""A mount, and the parser of mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Mount", "nsfs_mounts", "parse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount.

    Attributes:
        id: Its number, unique in the machine at a time.
        parent: The number of the mount that it is on; itself or an unseen one at the very top.
        device: The device number of the file system: major and minor.
        root: Which directory of the file system is mounted.
        point: Where it is mounted, below the root directory of the process.
        options: Options of this mount, as ``"nosuid"``.
        propagation: The fields that say so: ``"shared:2"``, ``"master:1"``, ``"propagate_from:3"``, ``"unbindable"``;
            none for a private mount (mount_namespaces(7)).
        fstype: The type of the file system.
        source: What is mounted, which depends on the type.
        super_options: Options of the file system.
        pid_namespace: The PID namespace that a proc shows; None for everything else, and where it may not be known.
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


def _unescaped(word: str) -> str:
    """Blanks, newlines and backslashes come as octal numbers. The bytes are those of a path."""
    if "\\" not in word:
        return word
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8) & 0xFF]), os.fsencode(word)))


def parse(text: bytes) -> list[Mount]:
    """Parse a mountinfo. Lines that are none are left out."""
    return [mount for line in text.split(b"\n") if (mount := _parse_line(os.fsdecode(line))) is not None]


def _parse_line(line: str) -> Mount | None:
    words = line.split(" ")
    try:
        end = words.index("-", 6)
        major, minor = words[2].split(":")
        # The source may be an empty word, and the last field is missing in some old kernels.
        fstype, source, *rest = [*words[end + 1 :], ""]
        return Mount(
            id=int(words[0]),
            parent=int(words[1]),
            device=(int(major), int(minor)),
            root=_unescaped(words[3]),
            point=_unescaped(words[4]),
            options=tuple(words[5].split(",")),
            propagation=tuple(words[6:end]),
            fstype=_unescaped(fstype),
            source=_unescaped(source),
            super_options=tuple(filter(None, " ".join(rest).strip(" ").split(","))),
        )
    except ValueError:
        return None


_NAMESPACE = re.compile(r"(\w+):\[([0-9]+)\]")


def nsfs_mounts(text: bytes) -> Iterator[tuple[str, int, str]]:
    """Find the namespaces whose files are mounted in a mountinfo: the link, the id and the mount point of each."""
    # Most lines are left out before they are parsed: there may be many mount namespaces, with many mounts each.
    for mount in parse(b"\n".join(line for line in text.split(b"\n") if b" - nsfs " in line)):
        if mount.fstype == "nsfs" and (found := _NAMESPACE.fullmatch(mount.root)):
            yield found[1], int(found[2]), mount.point
