"""Requests to the kernel about a box's network (rtnetlink(7)), over a socket that its nsbox-init has made.

pyroute2 knows the form of the messages. Its own sockets are not used: they are made by a fork or a change of
namespaces, which the threads of the caller would feel, and by a change that an ordinary user may not make. A socket
that comes from inside needs neither. What it may do is decided by who sends: with an address the kernel asks for the
rights of the sender alone, without one for those of the socket's maker as well (``NETLINK_SKB_DST``). The caller owns
the user namespaces of all of its boxes and so has every right in each of them (user_namespaces(7)), while the init of
one has none in another. So the caller can do what concerns two boxes at once.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from errno import ETIMEDOUT
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from types import TracebackType
from typing import Any, Self, TypeAlias

from nsbox._core import Call
from nsbox.box.inside import Surroundings
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import UnsupportedError
from nsbox.spec.step_names import StepName

__all__ = ["Interface", "Route"]

Interface: TypeAlias = IPv4Interface | IPv6Interface

_KERNEL = (0, 0)
_HEADER = struct.Struct("=IHHII")
_ERROR, _DONE = 2, 3
_WITH_REASON = 0x200
_REASON = 1
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SIOCGIFINDEX = 0x8933
_IFF_UP = 1
_PATIENCE = 10.0
"""Seconds for what takes the kernel milliseconds."""
_NODAD = 0x02


def _messages() -> tuple[Any, Any]:
    try:
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415 - takes its time, and may be missing
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415
    except ImportError:
        raise UnsupportedError(
            "what is said to the kernel about networks is put into words by pyroute2, which is not installed; "
            "next: pip install 'nsbox[net]'"
        ) from None
    return ifinfmsg, ifaddrmsg


class Route:
    """A conversation with the kernel about the network of a box; a context manager.

    Raises:
        UnsupportedError: when pyroute2 is not installed.
        ClosedError: when the box has ended.
    """

    def __init__(self, box: Surroundings) -> None:
        """Get a socket from inside."""
        self._link, self._address = _messages()
        self._number = 0
        self._socket = box.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        for option in (_CAP_ACK, _EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the socket: it would keep the network namespace alive."""
        self._socket.close()

    def index(self, name: str) -> int | None:
        """Return the number of an interface, or None if there is none of that name (netdevice(7))."""
        try:
            answer = fcntl.ioctl(self._socket, _SIOCGIFINDEX, struct.pack("=16si20x", os.fsencode(name), 0))
        except OSError:
            return None
        return int(struct.unpack_from("=16xi", answer)[0])

    def addresses(self) -> list[Interface]:
        """Return the addresses of all interfaces."""
        found = []
        for data in self._dump(self._address(), "RTM_GETADDR"):
            message = self._address(data)
            message.decode()
            # On a link between two points the other is the address.
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            found.append(ip_interface(f"{address}/{message['prefixlen']}"))
        return found

    def add_pair(self, name: str, peer: str, namespace: int) -> Call:
        """Make two interfaces that are connected: one here, one in another namespace (veth(4)). Both are down.

        Args:
            name: The name of the one here.
            peer: The name of the other.
            namespace: A descriptor of the network namespace of the other.

        Returns:
            The call.

        Raises:
            SpawnError: when the kernel refuses.
        """
        other = {"attrs": [("IFLA_IFNAME", peer), ("IFLA_NET_NS_FD", namespace)]}
        kind = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", other)]})]
        message = self._link()
        message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", {"attrs": kind})]
        return self._request(
            "veth", message, "RTM_NEWLINK", ifname=name, link_kind="veth", peer=peer, peer_netns={"file": "the other"}
        )

    def bring_up(self, index: int, name: str) -> Call:
        """Bring an interface up.

        Returns:
            The call.

        Raises:
            SpawnError: when the kernel refuses.
        """
        message = self._link()
        message["index"], message["flags"], message["change"] = index, _IFF_UP, _IFF_UP
        return self._request("link up", message, "RTM_SETLINK", ifname=name, flags=("IFF_UP",))

    def await_carrier(self, index: int, name: str) -> Call:
        """Wait until an interface that is up can send: before, what is sent is dropped.

        The kernel begins with that when it has looked after links the next time; since Linux 6.8 being asked makes it.

        Returns:
            The call.

        Raises:
            SpawnError: when the other end does not come up.
        """
        call = Call("sendto", type=("RTM_GETLINK",), ifname=name)
        deadline = time.monotonic() + _PATIENCE
        while True:
            message = self._link()
            message["index"] = index
            self._send(message, "RTM_GETLINK", _REQUEST)
            for number, flags, body in self._received():
                if number == _ERROR:
                    errno = -struct.unpack_from("=i", body)[0]
                    raise spawn_error(errno, "carrier", "caller", [call], _reason(body) if flags & _WITH_REASON else "")
                link = self._link(self._whole(number, flags, body))
                link.decode()
                if link.get_attr("IFLA_OPERSTATE") == "UP":
                    return call
            if time.monotonic() > deadline:
                raise spawn_error(ETIMEDOUT, "carrier", "caller", [call], "the other end is not up")
            time.sleep(0.001)

    def add_address(self, index: int, name: str, address: Interface) -> Call:
        """Give an address to an interface, in use from now on; with its network, to which a route is added.

        Returns:
            The call.

        Raises:
            SpawnError: when the kernel refuses.
        """
        message = self._address()
        message["family"] = socket.AF_INET if address.version == 4 else socket.AF_INET6
        message["index"], message["prefixlen"] = index, address.network.prefixlen
        # Nobody else is on the cable, so whether somebody has the address already need not be found out (RFC 4862).
        message["flags"] = _NODAD if address.version == 6 else 0
        message["attrs"] = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
        return self._request("address", message, "RTM_NEWADDR", ifname=name, address=str(address))

    def remove(self, index: int, name: str) -> Call:
        """Remove an interface, and with it the other end of its pair.

        Returns:
            The call.

        Raises:
            SpawnError: when the kernel refuses; ENODEV if it is gone.
        """
        message = self._link()
        message["index"] = index
        return self._request("remove veth", message, "RTM_DELLINK", ifname=name)

    def _send(self, message: Any, kind: str, flags: int) -> None:
        self._number += 1
        message["header"] = {"type": _KINDS[kind], "flags": flags, "sequence_number": self._number, "pid": 0}
        message.encode()
        self._socket.sendto(bytes(message.data), _KERNEL)

    def _request(self, step: StepName, message: Any, kind: str, **arguments: Any) -> Call:
        call = Call("sendto", type=(kind,), **arguments)
        self._send(message, kind, _REQUEST | _ACK | (_CREATE if kind.startswith("RTM_NEW") else 0))
        for number, flags, body in self._received():
            if number == _ERROR and (errno := -struct.unpack_from("=i", body)[0]):
                raise spawn_error(errno, step, "caller", [call], _reason(body) if flags & _WITH_REASON else "")
            if number == _ERROR:
                break
        return call

    def _dump(self, message: Any, kind: str) -> Iterator[bytes]:
        self._send(message, kind, _REQUEST | _DUMP)
        while True:
            for number, flags, body in self._received():
                if number in (_DONE, _ERROR):
                    return
                yield self._whole(number, flags, body)

    def _whole(self, number: int, flags: int, body: bytes) -> bytes:
        return _HEADER.pack(_HEADER.size + len(body), number, flags, self._number, 0) + body

    def _received(self) -> Iterator[tuple[int, int, bytes]]:
        """Receive what belongs together: a number for the kind of each message, its flags, and what it says."""
        data = self._socket.recv(1 << 16)
        while data:
            length, number, flags, _, _ = _HEADER.unpack_from(data)
            yield number, flags, data[_HEADER.size : length]
            data = data[(length + 3) & ~3 :]


_KINDS = {
    "RTM_NEWLINK": 16,
    "RTM_DELLINK": 17,
    "RTM_GETLINK": 18,
    "RTM_SETLINK": 19,
    "RTM_NEWADDR": 20,
    "RTM_GETADDR": 22,
}
_REQUEST, _ACK, _DUMP, _CREATE = 0x1, 0x4, 0x300, 0x600


def _reason(body: bytes) -> str:
    """Return the kernel's own words about an error, if it has some (netlink(7), NETLINK_EXT_ACK)."""
    rest = body[4 + _HEADER.size :]
    while len(rest) > 4:
        length, kind = struct.unpack_from("=HH", rest)
        if kind == _REASON:
            return rest[4 : length - 1].decode(errors="replace")
        rest = rest[max(4, (length + 3) & ~3) :]
    return ""
