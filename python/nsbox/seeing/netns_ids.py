"""What the network subsystem calls other network namespaces: the ids that ip-netns(8) lists (rtnetlink(7))."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsbox import _core

__all__ = ["of"]

_RTM_NEWNSID, _RTM_GETNSID, _NLM_F_REQUEST = 88, 90, 1
_NETNSA_NSID, _NETNSA_FD = 1, 3
_NOT_ASSIGNED = -1


def of(proc: _core.Proc, handles: Mapping[int, bytes]) -> dict[int, str]:
    """Ask for the ids of network namespaces, by their inode numbers, and where they can be opened in a proc."""
    found = {}
    try:
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    except OSError:
        return {}
    with asking:
        for id_, path in handles.items():
            try:
                file = proc.open(path)
                number = _ask(asking, file.fileno())
            except OSError:
                continue
            found[id_] = "unassigned" if number == _NOT_ASSIGNED else str(number)
    return found


def _ask(asking: socket.socket, fd: int) -> int:
    """Send one request and read its answer: a header, a family with padding, and one attribute."""
    attribute = struct.pack("=HHi", 8, _NETNSA_FD, fd)
    asking.send(struct.pack("=IHHIIBxxx", 20 + len(attribute), _RTM_GETNSID, _NLM_F_REQUEST, 0, 0, 0) + attribute)
    answer = asking.recv(256)
    if struct.unpack_from("=IH", answer)[1] != _RTM_NEWNSID:
        raise OSError(errno.EBADMSG, "no id in the answer")
    size, name, number = struct.unpack_from("=HHi", answer, 20)
    if (size, name) != (8, _NETNSA_NSID):
        raise OSError(errno.EBADMSG, "no id in the answer")
    return int(number)
