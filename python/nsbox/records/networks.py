"""What a network namespace contains: interfaces, their addresses, and routes (network_namespaces(7), rtnetlink(7))."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["InterfaceRecord", "NetworkRecord", "RouteRecord"]


@dataclass(frozen=True, slots=True)
class InterfaceRecord:
    """An interface (netdevice(7)).

    Attributes:
        name: Its name.
        index: Its number in its network namespace.
        kind: What it is: ``"veth"``, ``"bridge"``, ``"loopback"`` and so on; empty for hardware.
        up: Whether it was brought up (IFF_UP).
        carrier: Whether it can send: the other end is there, and up.
        mac: Its hardware address; empty if it has none.
        mtu: The largest packet that it sends, in bytes.
        addresses: Its addresses with the lengths of their prefixes, such as ``"10.0.0.1/24"``.
        bridge: The name of the bridge of which it is a port; empty if it is none.
        peer: The name of the interface at the other end of a pair (veth(4)); empty if there is none, or it is unknown.
        peer_in: The name of the network that the peer is in; empty if that is none of those that were read.
    """

    name: str
    index: int
    kind: str = ""
    up: bool = False
    carrier: bool = False
    mac: str = ""
    mtu: int = 0
    addresses: tuple[str, ...] = ()
    bridge: str = ""
    peer: str = ""
    peer_in: str = ""


@dataclass(frozen=True, slots=True)
class RouteRecord:
    """A route in the main table (ip-route(8)).

    Attributes:
        destination: The network of the destinations, such as ``"10.0.0.0/24"``; ``"default"`` for all that have no
            other route.
        via: The address of the next router; empty if the destinations are reached directly.
        interface: The name of the interface; empty for a route that refuses.
        version: 4 or 6.
        kind: ``"unicast"``; or what it does with a packet instead, such as ``"blackhole"`` and ``"unreachable"``.
    """

    destination: str
    via: str
    interface: str
    version: int
    kind: str = "unicast"


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """A network namespace.

    Attributes:
        name: The name under which it is shown.
        id: The id of the namespace: the number in its link in ``/proc/PID/ns``.
        pid: The PID of the init of the box, as the caller sees it; None for that of a switch, in which no process is.
        interfaces: Its interfaces, by their index.
        routes: Its routes, those of IPv4 first.
        forwards: The versions of IP of which it forwards packets from one interface to another, as a router does.
        is_switch: Whether it contains the bridge with which `nsbox.connect` has connected boxes, and nothing else.
    """

    name: str
    id: int
    pid: int | None = None
    interfaces: tuple[InterfaceRecord, ...] = ()
    routes: tuple[RouteRecord, ...] = ()
    forwards: tuple[int, ...] = ()
    is_switch: bool = False
