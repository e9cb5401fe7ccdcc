"""Why boxes cannot be connected by pairs of network interfaces and bridges (veth(4), bridge(8))."""

from __future__ import annotations

from errno import (
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EEXIST,
    EHOSTUNREACH,
    EINVAL,
    ENETDOWN,
    ENETUNREACH,
    ENODEV,
    EOPNOTSUPP,
    EPERM,
    ETIMEDOUT,
)

from nsbox.diagnosis.causes.cause import Cause, FailedStep, Found, always
from nsbox.diagnosis.evidence import Evidence

__all__ = ["CONNECTIONS"]

_STEPS = frozenset({"veth", "bridge", "bridge port", "link up", "address", "carrier", "route", "remove veth"})


def _named(failed: FailedStep, _: Evidence) -> Found | None:
    return {"name": str(failed.argument("ifname")), "address": str(failed.argument("address"))}


def _route(failed: FailedStep, _: Evidence) -> Found | None:
    return {"to": str(failed.argument("destination")), "router": str(failed.argument("gateway"))}


def _ipv6(failed: FailedStep, evidence: Evidence) -> Found | None:
    return _named(failed, evidence) if ":" in str(failed.argument("address")) else None


_EXAMPLE = {"name": "eth0", "address": "10.0.0.1/24"}
_ROUTE = {"to": "192.0.2.0/24", "router": "10.0.0.2"}

CONNECTIONS = (
    Cause(
        name="foreign-network",
        title="The caller has no rights over the network namespaces of both boxes",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=lambda _, evidence: None if evidence.has("CAP_NET_ADMIN") and evidence.uid == 0 else {},
        why="the caller needs CAP_NET_ADMIN over both network namespaces, which only the user who made both boxes has",
        remedy="make both boxes as the same user, and connect them in the process that made them",
        meaning="The user who makes a user namespace has all rights over it and over the namespaces that belong to it.",
        manual="user_namespaces(7), network_namespaces(7)",
    ),
    Cause(
        name="interface-exists",
        title="There is an interface of that name already",
        steps=frozenset({"veth"}),
        errnos=frozenset({EEXIST}),
        find=_named,
        why="one of the boxes has an interface {name} already, or one of the name for the other end",
        remedy="choose other names: nsbox.connect(a, b, names=('veth0', 'veth1'))",
        meaning="The name of an interface is unique in its network namespace.",
        manual="veth(4)",
        example=_EXAMPLE,
    ),
    Cause(
        name="interface-gone",
        title="The interface was removed",
        steps=_STEPS,
        errnos=frozenset({ENODEV}),
        find=_named,
        why="{name} was removed meanwhile, by a program in one of the boxes, or because the other box has ended",
        remedy="connect the boxes again: nsbox.connect(a, b)",
        meaning="The two ends of a pair exist only together.",
        manual="veth(4)",
        example=_EXAMPLE,
    ),
    Cause(
        name="address-taken",
        title="The interface has that address already",
        steps=frozenset({"address"}),
        errnos=frozenset({EEXIST, EADDRINUSE}),
        find=_named,
        why="{name} has the address {address} already",
        remedy="choose other addresses: nsbox.connect(a, b, addresses=[('192.0.2.1/24', '192.0.2.2/24')])",
        meaning="An address can be given to an interface once.",
        manual="rtnetlink(7)",
        example=_EXAMPLE,
    ),
    Cause(
        name="ipv6-off",
        title="IPv6 is switched off in the box",
        steps=frozenset({"address"}),
        errnos=frozenset({EACCES, EOPNOTSUPP}),
        find=_ipv6,
        why="IPv6 is switched off for {name}, so it cannot have the address {address}",
        remedy="switch it on in the box, where /proc is writable: echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; "
        "or give addresses of IPv4 only: nsbox.connect(a, b, addresses=[('192.0.2.1/24', '192.0.2.2/24')])",
        meaning="Each network namespace has its own settings below /proc/sys/net.",
        manual="ipv6(7)",
        example={"name": "eth0", "address": "fd00::1/64"},
    ),
    Cause(
        name="unusable-address",
        title="The address cannot be that of an interface",
        steps=frozenset({"address"}),
        errnos=frozenset({EINVAL, EADDRNOTAVAIL}),
        find=_named,
        why="the kernel does not take {address} as the address of an interface, such as one for a group (multicast)",
        remedy="choose other addresses: nsbox.connect(a, b, addresses=[('192.0.2.1/24', '192.0.2.2/24')])",
        meaning="Some ranges of addresses have a special use.",
        manual="ip(7), ipv6(7)",
        example={"name": "eth0", "address": "ff02::1/64"},
    ),
    Cause(
        name="route-exists",
        title="The box has a route for that network already",
        steps=frozenset({"route"}),
        errnos=frozenset({EEXIST}),
        find=_route,
        why="the box has a route for {to} already",
        remedy="remove that one in the box first: ip route delete NETWORK; nsbox.networks(box) lists the routes",
        meaning="For each network a table has one route of the same preference.",
        manual="ip-route(8), rtnetlink(7)",
        example=_ROUTE,
    ),
    Cause(
        name="router-not-reachable",
        title="The router is in none of the networks of the box",
        steps=frozenset({"route"}),
        errnos=frozenset({EHOSTUNREACH, EINVAL, ENETDOWN, ENETUNREACH}),
        find=_route,
        why="{router} is no address of another host in a network that the box is in, so nothing can be sent to it",
        remedy="give the address of a router at the other end of the connection; nsbox.networks(box) lists the "
        "networks of the box",
        meaning="A router is the next station of a packet, so it must be reachable directly.",
        manual="ip-route(8), rtnetlink(7)",
        example=_ROUTE,
    ),
    Cause(
        name="no-carrier",
        title="The other end of the connection did not come up",
        steps=frozenset({"carrier"}),
        errnos=frozenset({ETIMEDOUT}),
        find=always,
        why="a program in a box brought its interface down, or the machine was too busy",
        remedy="connect the boxes again: nsbox.connect(a, b)",
        meaning="An interface of a pair can send only when both ends are up. The kernel notices that with a delay.",
        manual="veth(4), netdevice(7)",
    ),
)
