"""Requests to the kernel about a box's network (rtnetlink(7)), over a socket that its nsbox-init has made.

pyroute2 encodes and decodes the messages. Its sockets are not used: to make them it forks, or changes the namespaces of
the calling thread, which an ordinary user may not do. A socket that nsbox-init has made needs neither.

For a message with a destination address the kernel checks the capabilities of the sender alone; without an address also
those of the process that made the socket (``NETLINK_SKB_DST``). The caller owns the user namespaces of all its boxes
and so has all capabilities in each of them (user_namespaces(7)); the init of one box has none in another. So only the
caller can send a request that concerns two boxes, and it sends with an address.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from errno import ETIMEDOUT
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
)
from types import TracebackType
from typing import Any, Self, TypeAlias

from nsbox._core import Call
from nsbox.box.inside import BoxRequests
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import UnsupportedError
from nsbox.seeing import netns_ids
from nsbox.spec.step_names import StepName

__all__ = ["Address", "Interface", "Network", "Route"]

Address: TypeAlias = IPv4Address | IPv6Address
Interface: TypeAlias = IPv4Interface | IPv6Interface
Network: TypeAlias = IPv4Network | IPv6Network

_KERNEL = (0, 0)
_HEADER = struct.Struct("=IHHII")
_ERROR, _DONE = 2, 3
_WITH_REASON = 0x200
_REASON = 1
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SIOCGIFINDEX = 0x8933
_IFF_UP = 1
_CARRIER_SECONDS = 10.0
"""How long to wait for a carrier, which usually takes milliseconds."""
_NODAD = 0x02


def _messages() -> tuple[Any, Any, Any]:
    try:
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415 - slow, and may be missing
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415
        from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: PLC0415
    except ImportError:
        raise UnsupportedError(
            "pyroute2, which encodes requests about networks, is not installed; next: pip install 'nsbox[net]'"
        ) from None
    return ifinfmsg, ifaddrmsg, rtmsg


class Route:
    """A connection to the kernel for requests about the network of a box; a context manager.

    Raises:
        UnsupportedError: when pyroute2 is not installed.
        ClosedError: when the box has ended.
    """

    def __init__(self, box: BoxRequests) -> None:
        """Have nsbox-init make the socket."""
        self._link, self._address, self._route = _messages()
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
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the socket, which would keep the network namespace alive."""
        self._socket.close()

    def index(self, name: str) -> int | None:
        """Return the index of an interface, or None if no interface has that name (netdevice(7))."""
        try:
            reply = fcntl.ioctl(self._socket, _SIOCGIFINDEX, struct.pack("=16si20x", os.fsencode(name), 0))
        except OSError:
            return None
        return int(struct.unpack_from("=16xi", reply)[0])

    def addresses(self) -> list[Interface]:
        """Return the addresses of all interfaces."""
        return [address for _, address in self.indexed_addresses()]

    def indexed_addresses(self) -> list[tuple[int, Interface]]:
        """Return the addresses of all interfaces, each with the index of its interface."""
        found = []
        for message in self._dump(self._address, "RTM_GETADDR"):
            # On a point-to-point link IFA_ADDRESS is that of the peer.
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            found.append((message["index"], ip_interface(f"{address}/{message['prefixlen']}")))
        return found

    def links(self) -> Iterator[Any]:
        """Return the interfaces, as messages of pyroute2."""
        return self._dump(self._link, "RTM_GETLINK")

    def routes(self) -> Iterator[Any]:
        """Return the routes of all tables, as messages of pyroute2."""
        for family in (socket.AF_INET, socket.AF_INET6):
            yield from self._dump(self._route, "RTM_GETROUTE", family)

    def id_of(self, namespace: int) -> int | None:
        """Return the number that this network namespace uses for another one in its messages; None if it uses none.

        Args:
            namespace: A descriptor of the other one.
        """
        number = netns_ids.request(self._socket, namespace)
        return None if number < 0 else number

    def add_pair(self, name: str, peer: str, namespace: int) -> Call:
        """Make a pair of connected interfaces, one here and one in another namespace (veth(4)). Both are down.

        Args:
            name: The name of the interface here.
            peer: The name of the other interface.
            namespace: A descriptor of the network namespace of the other interface.

        Returns:
            The request.

        Raises:
            SpawnError: when the kernel refuses.
        """
        other = {"attrs": [("IFLA_IFNAME", peer), ("IFLA_NET_NS_FD", namespace)]}
        kind = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", other)]})]
        message = self._link()
        message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", {"attrs": kind})]
        return self._request(
            "veth", message, "RTM_NEWLINK", ifname=name, link_kind="veth", peer=peer, peer_netns={"file": "the peer"}
        )

    def add_bridge(self, name: str) -> Call:
        """Make a bridge, which is down (ip-link(8), bridge(8)).

        Returns:
            The request.

        Raises:
            SpawnError: when the kernel refuses; EOPNOTSUPP if it has no bridges.
        """
        message = self._link()
        message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]})]
        return self._request("bridge", message, "RTM_NEWLINK", ifname=name, link_kind="bridge")

    def join_bridge(self, index: int, name: str, bridge: int, bridge_name: str) -> Call:
        """Make an interface a port of a bridge.

        Returns:
            The request.

        Raises:
            SpawnError: when the kernel refuses.
        """
        message = self._link()
        message["index"], message["attrs"] = index, [("IFLA_MASTER", bridge)]
        return self._request("bridge port", message, "RTM_SETLINK", ifname=name, master=bridge_name)

    def add_route(self, destination: Network, via: Address) -> Call:
        """Add a route over a router, which must be reachable directly.

        Returns:
            The request.

        Raises:
            SpawnError: when the kernel refuses.
        """
        message = self._route()
        message["family"] = socket.AF_INET if via.version == 4 else socket.AF_INET6
        message["dst_len"] = destination.prefixlen
        message["table"], message["proto"], message["type"] = _RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST
        message["attrs"] = [("RTA_DST", str(destination.network_address))] if destination.prefixlen else []
        message["attrs"] = [*message["attrs"], ("RTA_GATEWAY", str(via))]
        shown = str(destination) if destination.prefixlen else "default"
        return self._request("route", message, "RTM_NEWROUTE", destination=shown, gateway=str(via))

    def bring_up(self, index: int, name: str) -> Call:
        """Bring an interface up.

        Returns:
            The request.

        Raises:
            SpawnError: when the kernel refuses.
        """
        message = self._link()
        message["index"], message["flags"], message["change"] = index, _IFF_UP, _IFF_UP
        return self._request("link up", message, "RTM_SETLINK", ifname=name, flags=("IFF_UP",))

    def await_carrier(self, index: int, name: str) -> Call:
        """Wait until an interface that is up has a carrier: without one the kernel drops what is sent.

        The kernel sets the carrier the next time it handles link events; since Linux 6.8 this request makes it do so.

        Returns:
            The request.

        Raises:
            SpawnError: when the peer does not come up in time.
        """
        call = Call("sendto", type=("RTM_GETLINK",), ifname=name)
        deadline = time.monotonic() + _CARRIER_SECONDS
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
                raise spawn_error(ETIMEDOUT, "carrier", "caller", [call], "the peer is not up")
            time.sleep(0.001)

    def add_address(self, index: int, name: str, address: Interface) -> Call:
        """Add an address to an interface, usable at once. The kernel adds the route to its network.

        Returns:
            The request.

        Raises:
            SpawnError: when the kernel refuses.
        """
        message = self._address()
        message["family"] = socket.AF_INET if address.version == 4 else socket.AF_INET6
        message["index"], message["prefixlen"] = index, address.network.prefixlen
        # Only the peer is on this link, so no duplicate address needs to be looked for (RFC 4862).
        message["flags"] = _NODAD if address.version == 6 else 0
        message["attrs"] = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
        return self._request("address", message, "RTM_NEWADDR", ifname=name, address=str(address))

    def remove(self, index: int, name: str) -> Call:
        """Remove an interface, and with it its peer.

        Returns:
            The request.

        Raises:
            SpawnError: when the kernel refuses; ENODEV if the interface does not exist.
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

    def _dump(self, form: Any, kind: str, family: int = socket.AF_UNSPEC) -> Iterator[Any]:
        request = form()
        request["family"] = family
        self._send(request, kind, _REQUEST | _DUMP)
        while True:
            for number, flags, body in self._received():
                if number in (_DONE, _ERROR):
                    return
                message = form(self._whole(number, flags, body))
                message.decode()
                yield message

    def _whole(self, number: int, flags: int, body: bytes) -> bytes:
        return _HEADER.pack(_HEADER.size + len(body), number, flags, self._number, 0) + body

    def _received(self) -> Iterator[tuple[int, int, bytes]]:
        """Receive one datagram, and return of each message in it the type, the flags and the body."""
        data, sender = self._socket.recvfrom(1 << 16)
        # Root of the box can send messages to this socket, too.
        while sender == _KERNEL and data:
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
    "RTM_NEWROUTE": 24,
    "RTM_GETROUTE": 26,
}
_RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST = 254, 4, 1
_REQUEST, _ACK, _DUMP, _CREATE = 0x1, 0x4, 0x300, 0x600


def _reason(body: bytes) -> str:
    """Return the kernel's message about an error; empty if it sent none (netlink(7), NETLINK_EXT_ACK)."""
    rest = body[4 + _HEADER.size :]
    while len(rest) > 4:
        length, kind = struct.unpack_from("=HH", rest)
        if kind == _REASON:
            return rest[4 : length - 1].decode(errors="replace")
        rest = rest[max(4, (length + 3) & ~3) :]
    return ""
