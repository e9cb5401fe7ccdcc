"""The ids of network namespaces in the network subsystem, which ip-netns(8) lists (rtnetlink(7))."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsbox import _core

__all__ = ["of", "request"]

_RTM_NEWNSID, _RTM_GETNSID, _NLM_F_REQUEST = 88, 90, 1
_NETNSA_NSID, _NETNSA_FD = 1, 3
_KERNEL = (0, 0)


def of(proc: _core.Proc, handles: Mapping[int, tuple[int, bytes]]) -> dict[int, int]:
    """Return the ids of network namespaces, by their inode numbers; -1 for one without an id.

    Args:
        proc: A proc.
        handles: Where each can be opened, as for `_core.Proc.open_namespace`.
    """
    found: dict[int, int] = {}
    if not handles:
        return found
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    except OSError:
        return {}
    with netlink:
        for id_, handle in handles.items():
            try:
                namespace = proc.open_namespace(*handle)
                if os.fstat(namespace.fileno()).st_ino == id_:
                    found[id_] = request(netlink, namespace.fileno())
            except OSError:
                continue
    return found


def request(netlink: socket.socket, fd: int) -> int:
    """Return the id that the network namespace of a socket uses for another one; -1 if it uses none.

    The request is a header, a family with padding, and one attribute.

    Args:
        netlink: A socket of the family AF_NETLINK.
        fd: A descriptor of the other network namespace.

    Raises:
        OSError: when the kernel refuses.
    """
    attribute = struct.pack("=HHi", 8, _NETNSA_FD, fd)
    header = struct.pack("=IHHIIBxxx", 20 + len(attribute), _RTM_GETNSID, _NLM_F_REQUEST, 0, 0, 0)
    netlink.sendto(header + attribute, _KERNEL)
    while True:
        reply, sender = netlink.recvfrom(256)
        # Root of that namespace can send messages to this socket, too.
        if sender == _KERNEL:
            break
    if struct.unpack_from("=IH", reply)[1] != _RTM_NEWNSID:
        raise OSError(errno.EBADMSG, "no id in the reply")
    size, name, number = struct.unpack_from("=HHi", reply, 20)
    if (size, name) != (8, _NETNSA_NSID):
        raise OSError(errno.EBADMSG, "no id in the reply")
    return int(number)
