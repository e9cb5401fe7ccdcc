"""The networks of boxes, read over sockets that their nsbox-init makes: `networks` (rtnetlink(7))."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from nsbox.box.box import Box
from nsbox.box.netlink import Interface, Route
from nsbox.box.veth import FORWARDING, Switch
from nsbox.errors import SpecError
from nsbox.records.networks import InterfaceRecord, NetworkRecord, RouteRecord
from nsbox.records.recording import loaded, recorded
from nsbox.views import mime, network_list, network_picture
from nsbox.views.svg import Document

__all__ = ["Networks", "networks"]

_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_RT_TABLE_MAIN = 254
_ROUTE_KINDS = {1: "unicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
"""The types of routes in the main table that lead somewhere, or refuse (rtnetlink(7))."""


class Networks(mime.Picture, Sequence[NetworkRecord]):
    """Networks, in the order of the boxes, switches last; `str()` lists them, and a notebook shows a picture."""

    def __init__(self, records: Iterable[NetworkRecord]) -> None:
        """Keep what was read."""
        self._records = tuple(records)

    @overload
    def __getitem__(self, index: int) -> NetworkRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Networks: ...
    def __getitem__(self, index: int | slice) -> NetworkRecord | Networks:
        """Return the network at a position."""
        return Networks(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        """Count the networks."""
        return len(self._records)

    def drawn(self, *, legend: bool = True, width: int = mime.MAX_WIDTH) -> Document:
        """Draw a card for each box, lines for cables, a bar for a switch; in two rows if one is too wide."""
        return network_picture.picture(self._records, width=width, legend=legend)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as data that fit into JSON."""
        return recorded("networks", networks=self._records)

    @classmethod
    def from_dict(cls, data: object) -> Networks:
        """Return the networks of which `to_dict` made these data.

        Raises:
            SpecError: when the data are not those of networks.
        """
        return cls(loaded(data, "networks", networks=tuple[NetworkRecord, ...])["networks"])

    def __str__(self) -> str:
        """Return a list of all interfaces, addresses and routes."""
        return network_list.listed(self._records)

    def __repr__(self) -> str:
        """Return the names."""
        return f"<networks: {', '.join(record.name for record in self)}>"


def networks(*boxes: Box, **named: Box) -> Networks:
    """Return the interfaces, addresses and routes of boxes, and how they are connected.

    >>> with Box("n") as a, Box("n") as b, connect(a, b):
    ...     print(networks(a, b))

    Switches that connect any of them are in it as well (`nsbox.connect`). Nothing is entered, and no process is
    started. pyroute2 is needed (extra ``net``).

    Args:
        *boxes: Boxes, each with a network namespace of its own. They are shown under their host names, if they have UTS
            namespaces of their own, and otherwise by their numbers.
        **named: More boxes, shown under these names.

    Raises:
        SpecError: for something else than a box with a network namespace of its own.
        UnsupportedError: when pyroute2 is missing.
        ClosedError: when a box has ended.
    """
    given = [*((None, box) for box in boxes), *named.items()]
    for name, box in given:
        argument = name or "boxes"
        if not isinstance(box, Box):
            raise SpecError(f"{argument}: expected a box, got {box!r}")
        box._needs(argument, "net")
    names = _names(given)
    switches = list(dict.fromkeys(switch for _, box in given for switch in box._switches if switch.alive))
    with contextlib.ExitStack() as stack:
        opened = [_of_box(stack, name, box) for name, (_, box) in zip(names, given, strict=True)]
        for number, switch in enumerate(switches, 1):
            title = "switch" if len(switches) == 1 else f"switch {number}"
            opened += _of_switch(stack, title, switch)
        read = [_interfaces(one.route) for one in opened]
        return Networks(
            replace(
                one.record,
                interfaces=tuple(_with_peers(one, links, opened, read)),
                routes=tuple(_routes(one.route, links)),
            )
            for one, links in zip(opened, read, strict=True)
        )


@dataclass(frozen=True)
class _Opened:
    """A network that is being read.

    Attributes:
        route: A socket in it.
        namespace: A descriptor of it.
        record: What is known of it so far.
    """

    route: Route
    namespace: int
    record: NetworkRecord


@dataclass(frozen=True)
class _Link:
    """An interface as it was read.

    Attributes:
        record: What is known of it so far.
        peer_index: The index of the other end; None if it is no pair.
        peer_id: The id of the network namespace of the other end; None if that is the same.
    """

    record: InterfaceRecord
    peer_index: int | None
    peer_id: int | None


def _names(given: Sequence[tuple[str | None, Box]]) -> list[str]:
    names = [
        name or (box.hostname if "uts" in box.namespaces else f"box {number}")
        for number, (name, box) in enumerate(given, 1)
    ]
    return [
        f"{name} (process {box.pid})" if names.count(name) > 1 else name
        for name, (_, box) in zip(names, given, strict=True)
    ]


def _of_box(stack: contextlib.ExitStack, name: str, box: Box) -> _Opened:
    route = stack.enter_context(Route(box))
    namespace = stack.enter_context(box.namespace("net"))
    versions = [version for version, path in FORWARDING.items() if _is_on(box, path)]
    return _Opened(route, namespace.fileno(), NetworkRecord(name, namespace.id, box.pid, forwards=tuple(versions)))


def _is_on(box: Box, path: bytes) -> bool:
    try:
        return box._read(path) == "1"
    except OSError:
        # IPv6 may be missing.
        return False


def _of_switch(stack: contextlib.ExitStack, name: str, switch: Switch) -> Iterator[_Opened]:
    opened = stack.enter_context(switch._read())
    if opened is not None:
        route, namespace, id_ = opened
        yield _Opened(route, namespace, NetworkRecord(name, id_, is_switch=True))


def _interfaces(route: Route) -> list[_Link]:
    addresses: dict[int, list[Interface]] = {}
    for index, address in route.indexed_addresses():
        addresses.setdefault(index, []).append(address)
    messages = list(route.links())
    names = {message["index"]: message.get_attr("IFLA_IFNAME") for message in messages}
    found = []
    for message in messages:
        index, flags = message["index"], message["flags"]
        info = message.get_attr("IFLA_LINKINFO")
        kind = (info and info.get_attr("IFLA_INFO_KIND")) or ("loopback" if flags & _IFF_LOOPBACK else "")
        record = InterfaceRecord(
            names[index],
            index,
            kind=kind,
            up=bool(flags & _IFF_UP),
            carrier=bool(message.get_attr("IFLA_CARRIER")),
            mac="" if kind == "loopback" else message.get_attr("IFLA_ADDRESS") or "",
            mtu=message.get_attr("IFLA_MTU") or 0,
            addresses=tuple(map(str, addresses.get(index, ()))),
            bridge=names.get(message.get_attr("IFLA_MASTER"), ""),
        )
        is_pair = kind == "veth"
        found.append(
            _Link(
                record,
                message.get_attr("IFLA_LINK") if is_pair else None,
                message.get_attr("IFLA_LINK_NETNSID") if is_pair else None,
            )
        )
    return sorted(found, key=lambda link: link.record.index)


def _with_peers(
    one: _Opened, links: Sequence[_Link], opened: Sequence[_Opened], read: Sequence[Sequence[_Link]]
) -> Iterator[InterfaceRecord]:
    """Give the interfaces, with the other ends of those that are pairs."""
    # The numbers for other namespaces are of this one; the kernel has chosen them when the interfaces were read.
    ids = {one.route.id_of(other.namespace): number for number, other in enumerate(opened) if other is not one}
    own = next(number for number, other in enumerate(opened) if other is one)
    for link in links:
        number = own if link.peer_id is None else ids.get(link.peer_id)
        if link.peer_index is None or number is None:
            yield link.record
            continue
        peers = [other.record for other in read[number] if other.record.index == link.peer_index]
        yield replace(link.record, peer=peers[0].name, peer_in=opened[number].record.name) if peers else link.record


def _routes(route: Route, links: Sequence[_Link]) -> Iterator[RouteRecord]:
    """Give the routes of the main table, without those that the kernel makes for link-local addresses."""
    names = {link.record.index: link.record.name for link in links}
    found = []
    for message in route.routes():
        kind = _ROUTE_KINDS.get(message["type"])
        table = message.get_attr("RTA_TABLE") or message["table"]
        if kind is None or table != _RT_TABLE_MAIN:
            continue
        version = 4 if message["family"] == socket.AF_INET else 6
        destination = message.get_attr("RTA_DST")
        if version == 6 and destination == "fe80::":
            continue
        shown = f"{destination}/{message['dst_len']}" if message["dst_len"] else "default"
        via, index = message.get_attr("RTA_GATEWAY") or "", message.get_attr("RTA_OIF")
        found.append(RouteRecord(shown, via, names.get(index, "") if kind == "unicast" else "", version, kind))
    yield from sorted(found, key=lambda one: (one.version, one.destination != "default"))
