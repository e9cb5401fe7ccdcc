"""Networks as text: for each its interfaces with their addresses, and its routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nsbox.records.names import safe
from nsbox.views import grid

if TYPE_CHECKING:
    from nsbox.records.networks import InterfaceRecord, NetworkRecord, RouteRecord

__all__ = ["connection", "listed", "route_text", "state", "title"]

_COLUMNS = (grid.Column("INTERFACE"), grid.Column("STATE"), grid.Column("ADDRESSES"), grid.Column("CONNECTED TO"))


def listed(networks: Sequence[NetworkRecord]) -> str:
    """Return the list."""
    return "\n\n".join("\n".join(_lines(network)) for network in networks)


def title(network: NetworkRecord) -> str:
    """Return what a network is: a host, a router, or a switch."""
    if network.is_switch:
        return f"{network.name} (a bridge in a network namespace of its own)"
    routes = f"; forwards {' and '.join(f'IPv{version}' for version in network.forwards)}" if network.forwards else ""
    place = f" (the box of process {network.pid}{routes})" if network.pid is not None else ""
    return f"{network.name}{place}"


def _lines(network: NetworkRecord) -> Iterator[str]:
    yield safe(title(network))
    rows = [
        grid.Row([f"  {one.name}", state(one), " ".join(one.addresses) or "-", connection(network, one)])
        for one in network.interfaces
    ]
    for line in grid.human(_COLUMNS, rows, headings=False).splitlines():
        yield line.rstrip()
    for route in network.routes:
        yield safe(f"  route {route_text(route)}")


def state(interface: InterfaceRecord) -> str:
    """Return whether an interface can send."""
    if not interface.up:
        return "down"
    # The loopback interface is its own other end.
    return "up" if interface.carrier or interface.kind == "loopback" else "up, without carrier"


def connection(network: NetworkRecord, interface: InterfaceRecord) -> str:
    """Return what is at the other end of an interface; empty for one that has none."""
    parts = []
    if interface.bridge:
        parts.append(f"port of {interface.bridge}")
    if interface.peer:
        place = "" if interface.peer_in == network.name else f" of {interface.peer_in}"
        parts.append(f"{interface.peer}{place}")
    elif interface.kind == "veth":
        parts.append("an interface in another network, which is not shown")
    elif interface.kind not in ("", "loopback"):
        parts.append(f"({interface.kind})")
    return ", ".join(parts)


def route_text(route: RouteRecord) -> str:
    """Return a route as ip-route(8) shows it."""
    parts = [route.kind] if route.kind != "unicast" else []
    parts.append(route.destination if route.destination != "default" or route.version == 4 else "default (IPv6)")
    if route.via:
        parts += ["via", route.via]
    if route.interface:
        parts += ["dev", route.interface]
    return " ".join(parts)
