"""A range of ids that nothing else on this machine uses, for the user namespace of a box of root.

The ids are those that systemd-nspawn uses for the same purpose: 0x00080000 to 0x6FFFFFFF, in pieces of 65,536
(https://systemd.io/UIDS-GIDS). A piece is chosen at random. It is free if no process has an id of it, and if no user,
group or grant (subuid(5)) is in it. No list is kept of those in use: of 28,000 pieces two boxes can get the same one.
They are still apart, as each has a PID namespace and mounts of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nsbox.errors import UnsupportedError
from nsbox.spec.id_maps import parse_id_map

__all__ = ["COUNT", "private_range"]

COUNT = 65_536
"""Number of ids: as many as a system has for its users and services."""

_PIECES = range(0x0008_0000, 0x6FFF_0000 + 1, COUNT)
_MAX_ATTEMPTS = 1000
_FILES = (("/etc/passwd", 2, 0), ("/etc/group", 2, 0), ("/etc/subuid", 1, 2), ("/etc/subgid", 1, 2))
"""Files with an id in each line: the number of its field, and of the field with the count of ids, if there is one."""


def private_range() -> int:
    """Return the first of `COUNT` free ids, for users and groups alike.

    Raises:
        UnsupportedError: when none are free, or the user namespace of this process has no such ids.
    """
    maps = [parse_id_map(Path(f"/proc/self/{name}").read_text()) for name in ("uid_map", "gid_map")]
    taken = set(_taken())
    for _ in range(_MAX_ATTEMPTS):
        first = _PIECES[int.from_bytes(os.urandom(8)) % len(_PIECES)]
        mapped = all(
            any(start <= first and first + COUNT <= start + count for start, _, count in map_) for map_ in maps
        )
        if mapped and first not in taken:
            return first
    raise UnsupportedError(
        f"private_ids: no {COUNT} ids from {_PIECES.start} on are free and mapped here (/proc/self/uid_map)"
    )


def _taken() -> Iterator[int]:
    """Give the first id of each piece that something uses."""
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                try:
                    status = entry.stat()
                except OSError:
                    # It has ended meanwhile.
                    continue
                yield from (_piece(status.st_uid), _piece(status.st_gid))
    for name, field, count_field in _FILES:
        try:
            lines = Path(name).read_text(errors="surrogateescape").splitlines()
        except OSError:
            continue
        for fields in (line.split(":") for line in lines):
            if len(fields) > max(field, count_field) and fields[field].isdigit():
                first, count = int(fields[field]), 1
                if count_field and fields[count_field].isdigit():
                    count = int(fields[count_field])
                # Grants can be large: every piece that they touch, but none beyond the last one.
                yield from range(_piece(first), min(first + count, _PIECES.stop), COUNT)


def _piece(number: int) -> int:
    return number - number % COUNT
