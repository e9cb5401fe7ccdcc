"""Connect the network namespaces of boxes: two by a pair of virtual interfaces (veth(4)), more by a bridge."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from errno import ENODEV, EOPNOTSUPP
from ipaddress import ip_address, ip_interface, ip_network
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias, overload

from nsbox import _core
from nsbox._core import Call
from nsbox.box.box import Box
from nsbox.box.netlink import Interface, Network, Route
from nsbox.box.steps import Steps
from nsbox.errors import ClosedError, SpawnError, SpecError, UnsupportedError
from nsbox.records.steps import StepResult, data_of
from nsbox.spec.step_names import StepName

if TYPE_CHECKING:
    from nsbox.namespaces.handle import Namespace

__all__ = ["FORWARDING", "Switch", "VethEnd", "VethPair", "connect"]

Addresses: TypeAlias = "Iterable[tuple[str, ...]]"
"""Groups of addresses with their prefix length: in each, one for each box."""
Group: TypeAlias = "tuple[Interface, ...]"

_CHOOSING = threading.Lock()
"""Held from the choice of names and addresses until they are assigned, as several threads may connect boxes."""
_MAX_NAME_BYTES = 15
_IPV6_DIRECTORY = "/proc/sys/net/ipv6"
_POINT_TO_POINT_PREFIX = 31
"""The prefix length of an IPv4 network whose two addresses are both for hosts (RFC 3021)."""
_PAIR = 2
_BRIDGE = "br0"
FORWARDING = {4: b"sys/net/ipv4/ip_forward", 6: b"sys/net/ipv6/conf/all/forwarding"}
"""Files of proc that make a network namespace that of a router (ip(7), ipv6(7))."""


@dataclass(frozen=True)
class VethEnd:
    """One end of a pair.

    Attributes:
        box: The box that it is in.
        name: The name of the interface there.
        index: The index of the interface there.
        addresses: Its addresses, each with its network.
    """

    box: Box
    name: str
    index: int
    addresses: tuple[Interface, ...]

    @property
    def address(self) -> str:
        """Its first address as text, without the prefix length.

        Raises:
            SpecError: when it has no address.
        """
        if not self.addresses:
            raise SpecError(f"addresses: {self.name} has none")
        return str(self.addresses[0].ip)

    def add_route(self, destination: str, via: str) -> StepResult:
        """Have the box send packets for a network to a router at this end (ip-route(8)).

        Args:
            destination: The network, such as ``"192.0.2.0/24"``; ``"0.0.0.0/0"`` and ``"::/0"`` are all.
            via: The address of the router.

        Raises:
            SpecError: for what is no network or no address.
            SpawnError: when the kernel refuses, as for a router that it has no route to.
            ClosedError: when the box has ended.
        """
        try:
            network, router = ip_network(destination), ip_address(via)
        except ValueError as error:
            raise SpecError(f"destination, via: {error}") from None
        if network.version != router.version:
            raise SpecError(f"via: {via} is of IPv{router.version}, and {destination} of IPv{network.version}")
        with Route(self.box) as route:
            call = route.add_route(network, router)
        return _add_step(self.box, "route", call, "rtnetlink(7)", "the next router for that network")


class VethPair:
    """What `connect` returns: a pair of connected interfaces in two boxes. `close` and the end of a box remove both.

    Attributes:
        a: The end in the first box.
        b: The end in the second box.
    """

    def __init__(self, a: VethEnd, b: VethEnd) -> None:
        """Keep both ends; `connect` makes them."""
        self.a = a
        self.b = b
        self._closed = False

    @property
    def ends(self) -> tuple[VethEnd, VethEnd]:
        """Both ends."""
        return self.a, self.b

    def close(self) -> None:
        """Remove both interfaces.

        Raises:
            SpawnError: when the kernel refuses.
        """
        if not self._closed:
            self._closed = True
            for end in self.ends:
                if _removed(end.box, end.index, end.name):
                    return

    def __enter__(self) -> Self:
        """Return the pair itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Show the interfaces, their addresses and their boxes."""
        return _shown("VethPair", self.ends, closed=self._closed)


class Switch:
    """What `connect` returns for more than two boxes: a bridge, in a network namespace in which no process is.

    It exists until `close`, or until the last of its boxes is closed.

    Attributes:
        ends: The ends in the boxes that are connected, in their order.
        steps: What was done to make the bridge.
    """

    def __init__(
        self, hub: Route, namespace: Namespace, ends: tuple[VethEnd, ...], steps: Sequence[StepResult]
    ) -> None:
        """Keep them; `connect` makes them. The socket and the descriptor keep the network namespace."""
        self.ends = ends
        self.steps = Steps(steps)
        self._hub: Route | None = hub
        self._namespace = namespace
        self._reading = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether it was not closed."""
        return self._hub is not None

    def close(self) -> None:
        """Remove the bridge, and the interfaces in the boxes.

        Raises:
            SpawnError: when the kernel refuses.
        """
        if self._hub is None:
            return
        for end in self.ends:
            _removed(end.box, end.index, end.name)
        self._free()

    def _free(self) -> None:
        with self._reading:
            hub, self._hub = self._hub, None
            if hub is not None:
                hub.close()
                self._namespace.close()

    def _box_closed(self) -> None:
        """Free the descriptors, if no box is left."""
        if not any(end.box.alive for end in self.ends):
            self._free()

    @contextlib.contextmanager
    def _read(self) -> Iterator[tuple[Route, int, int] | None]:
        """Give the socket in its network namespace, a descriptor of that, and its id; None if it was closed."""
        with self._reading:
            yield None if self._hub is None else (self._hub, self._namespace.fileno(), self._namespace.id)

    def __enter__(self) -> Self:
        """Return the switch itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Show the interfaces, their addresses and their boxes."""
        return _shown("Switch", self.ends, closed=not self.alive)


def _shown(kind: str, ends: Iterable[VethEnd], *, closed: bool) -> str:
    texts = [
        f"{end.name} ({', '.join(map(str, end.addresses)) or 'no address'}) in the box of process {end.box.pid}"
        for end in ends
    ]
    return f"<nsbox.{kind}: {', '.join(texts)}{', closed' if closed else ''}>"


@overload
def connect(
    a: Box,
    b: Box,
    /,
    *,
    addresses: Addresses | None = None,
    names: tuple[str, ...] | None = None,
    router: Box | None = None,
) -> VethPair: ...
@overload
def connect(
    a: Box,
    b: Box,
    c: Box,
    /,
    *boxes: Box,
    addresses: Addresses | None = None,
    names: tuple[str, ...] | None = None,
    router: Box | None = None,
) -> Switch: ...
def connect(
    *boxes: Box,
    addresses: Addresses | None = None,
    names: tuple[str, ...] | None = None,
    router: Box | None = None,
) -> VethPair | Switch:
    """Connect boxes, and bring their interfaces up with addresses: two by a pair of interfaces, more by a switch.

    >>> with Box("n") as a, Box("n") as b, connect(a, b) as pair:
    ...     server = b.socket()
    ...     server.bind((pair.b.address, 80))

    An ordinary user can connect boxes. No thread changes its namespaces, and for two boxes no process is started. For a
    switch, a box without programs is made, in which the other ends of the pairs are ports of a bridge. When it returns,
    all ends can send. pyroute2 is needed (extra ``net``).

    Args:
        *boxes: Boxes, each with a network namespace of its own.
        addresses: Groups of addresses in one network, one for each box, such as
            ``[("192.0.2.1/24", "192.0.2.2/24")]``. By default a group of IPv4, ``10.0.N.1/24``, ``10.0.N.2/24`` and so
            on, and if the kernel supports IPv6 the group ``fd00:0:0:N::1/64``, ``fd00:0:0:N::2/64`` and so on, where N
            is the smallest number that is unused in all of the boxes.
        names: The names of the interfaces, one for each box; by default ``ethN`` with the smallest N that is unused
            there.
        router: One of the boxes, which forwards packets from now on. The others send to it what they have no other
            route for.

    Raises:
        SpecError: for boxes, addresses and names that make no sense.
        UnsupportedError: when pyroute2 is missing, or this kernel has no veth or no bridges.
        SpawnError: when the kernel refuses a step; the interfaces are removed then.
        ClosedError: when a box has ended.
    """
    if len(boxes) < _PAIR:
        raise SpecError(f"boxes: at least two are connected, got {len(boxes)}")
    for number, box in enumerate(boxes):
        if not isinstance(box, Box):
            raise SpecError(f"boxes: expected boxes, got {box!r}")
        box._needs("boxes", "net")
        if box in boxes[:number]:
            raise SpecError("boxes: one is there twice; its programs can use the loopback interface")
    if router is not None and router not in boxes:
        raise SpecError("router: is none of the boxes that are connected")
    wanted = None if addresses is None else _groups(addresses, len(boxes))
    if names is not None and (not isinstance(names, tuple) or len(names) != len(boxes)):
        raise SpecError(f"names: expected {len(boxes)}, one for each box, got {names!r}")
    for name in names or ():
        _check_name(name)
    requested: list[tuple[Box, str]] = []
    made: VethPair | Switch | None = None
    try:
        with _CHOOSING:
            wish = _Wish(boxes, wanted, names, router)
            made = (_pair if len(boxes) == _PAIR else _switch)(wish, requested)
            if router is not None:
                _route_over(made.ends, router)
            if isinstance(made, Switch):
                for box in boxes:
                    box._switches.append(made)
            return made
    except BaseException as error:
        _undo(error, requested, made)
        raise


@dataclass(frozen=True)
class _Wish:
    """What the caller wants, checked."""

    boxes: Sequence[Box]
    groups: list[Group] | None
    names: Sequence[str] | None
    router: Box | None

    def name(self, number: int, route: Route) -> str:
        """Return the name of the interface in a box."""
        return _name(route, self.names[number] if self.names else None)


def _pair(wish: _Wish, requested: list[tuple[Box, str]]) -> VethPair:
    a, b = wish.boxes
    with Route(a) as route_a, Route(b) as route_b:
        routes = (route_a, route_b)
        groups = _groups_for(routes, wish.groups)
        names = [wish.name(number, route) for number, route in enumerate(routes)]
        _add_pair(a, route_a, names[0], b, names[1], requested)
        ends = [
            _end(box, route, name, [group[number] for group in groups], box is wish.router)
            for number, (box, route, name) in enumerate(zip(wish.boxes, routes, names, strict=True))
        ]
        for end, route in zip(ends, routes, strict=True):
            _await_carrier(end, route)
    return VethPair(*ends)


def _switch(wish: _Wish, requested: list[tuple[Box, str]]) -> Switch:
    with contextlib.ExitStack() as kept, contextlib.ExitStack() as opened:
        # Its network namespace is kept by a descriptor and a socket, when its processes have ended.
        centre = opened.enter_context(Box("n"))
        namespace = kept.enter_context(centre.namespace("net"))
        hub = kept.enter_context(Route(centre))
        routes = [opened.enter_context(Route(box)) for box in wish.boxes]
        _add_step(centre, "bridge", hub.add_bridge(_BRIDGE), "bridge(8)", "what one port receives, the others send")
        bridge = hub.index(_BRIDGE)
        assert bridge is not None  # no program runs there
        _add_step(centre, "link up", hub.bring_up(bridge, _BRIDGE), "rtnetlink(7)", "a new bridge is down")
        groups = _groups_for(routes, wish.groups)
        ends, ports = [], []
        for number, (box, route) in enumerate(zip(wish.boxes, routes, strict=True)):
            name, port = wish.name(number, route), f"port{number + 1}"
            _add_pair(box, route, name, centre, port, requested)
            ports.append(_end(centre, hub, port, ()))
            call = hub.join_bridge(ports[-1].index, port, bridge, _BRIDGE)
            _add_step(centre, "bridge port", call, "bridge(8)", "the box is connected to all others")
            ends.append(_end(box, route, name, [group[number] for group in groups], box is wish.router))
        for end, route in [*zip(ends, routes, strict=True), *((port, hub) for port in ports)]:
            _await_carrier(end, route)
        switch = Switch(hub, namespace, tuple(ends), centre._later_steps)
        kept.pop_all()
        return switch


def _add_pair(a: Box, route: Route, name: str, b: Box, peer: str, requested: list[tuple[Box, str]]) -> None:
    """Make a pair of interfaces. What is requested is noted before."""
    with b.namespace("net") as namespace:
        requested.append((a, name))
        call = route.add_pair(name, peer, namespace.fileno())
    for box in (a, b):
        _add_step(box, "veth", call, "veth(4)", "a packet sent into one end is received at the other")


def _undo(error: BaseException, requested: list[tuple[Box, str]], made: VethPair | Switch | None) -> None:
    """Remove what was made before an error.

    Raises:
        UnsupportedError: when the error is that the kernel does not know such interfaces.
    """
    refusal = error if isinstance(error, SpawnError) and error.step in ("veth", "bridge") else None
    if refusal is not None and refusal.step == "veth":
        # The kernel may have refused because there is an interface of that name.
        requested.pop()
    # A signal handler may have raised at any moment, so the interface may exist or not.
    for box, name in requested:
        _remove_if_present(box, name)
    if isinstance(made, Switch):
        for end in made.ends:
            if made in end.box._switches:
                end.box._switches.remove(made)
        made._free()
    if refusal is not None and refusal.errno == EOPNOTSUPP:
        why = refusal.evidence or refusal.strerror
        raise UnsupportedError(
            f"this kernel makes no {refusal.step} interfaces ({why}); next: modprobe {refusal.step}"
        ) from None


def _use_at_once(box: Box, name: str) -> None:
    """Have an interface use its link-local address at once: a router needs it to ask for the hosts of a network.

    By default the kernel first looks for about a second whether another host has the same (RFC 4862).
    """
    if os.path.exists(_IPV6_DIRECTORY):
        box._step(_core.Request.write(f"sys/net/ipv6/conf/{name}/accept_dad".encode(), b"0"))


def _route_over(ends: Sequence[VethEnd], router: Box) -> None:
    """Have a box forward packets, and the others send it those for which they have no other route."""
    gateway = next(end for end in ends if end.box is router)
    # For each version its first address: a box has one default route.
    addresses = {address.version: address.ip for address in reversed(gateway.addresses)}
    for version in addresses:
        router._step(_core.Request.write(FORWARDING[version], b"1"))
    for end in ends:
        if end is not gateway:
            for version, address in addresses.items():
                end.add_route("0.0.0.0/0" if version == 4 else "::/0", str(address))


def _end(box: Box, route: Route, name: str, addresses: Sequence[Interface], is_router: bool = False) -> VethEnd:
    index = route.index(name)
    if index is None:
        # Another user of the box may have done that.
        raise ClosedError(f"{name} in {box!r} was removed meanwhile")
    if is_router:
        _use_at_once(box, name)
    _add_step(box, "link up", route.bring_up(index, name), "rtnetlink(7)", "a new interface is down")
    for address in addresses:
        call = route.add_address(index, name, address)
        _add_step(box, "address", call, "rtnetlink(7)", "the kernel adds the route to the network of the address")
    return VethEnd(box, name, index, tuple(addresses))


def _await_carrier(end: VethEnd, route: Route) -> None:
    call = route.await_carrier(end.index, end.name)
    _add_step(end.box, "carrier", call, "rtnetlink(7)", "without a carrier packets are dropped")


def _remove_if_present(box: Box, name: str) -> None:
    index = None
    with contextlib.suppress(ClosedError), Route(box) as route:
        index = route.index(name)
    if index is not None:
        _removed(box, index, name)


def _removed(box: Box, index: int, name: str) -> bool:
    """Remove an interface. Return True unless its box has ended."""
    with contextlib.suppress(ClosedError), Route(box) as route:
        try:
            _add_step(box, "remove veth", route.remove(index, name), "rtnetlink(7)", "removing one end removes both")
        except SpawnError as error:
            if error.errno == ENODEV:
                return True
            raise
        return True
    return False


def _add_step(box: Box, name: StepName, call: Call, manual: str, why: str) -> StepResult:
    step = StepResult(name, "caller", str(call), manual, why, calls=data_of([call]))
    box._later_steps.append(step)
    return step


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(os.fsencode(name)) <= _MAX_NAME_BYTES:
        raise SpecError(f"names: {name!r} is no name of an interface, which has at most {_MAX_NAME_BYTES} bytes")
    if name in (".", "..") or any(letter in "/:%\0" or letter.isspace() for letter in name):
        raise SpecError(f"names: {name!r} is no name of an interface")


def _name(route: Route, wanted: str | None) -> str:
    if wanted is None:
        return next(name for number in range(1 << 16) if route.index(name := f"eth{number}") is None)
    if route.index(wanted) is not None:
        raise SpecError(f"names: one of the boxes has an interface {wanted} already")
    return wanted


def _groups(addresses: Addresses, count: int) -> list[Group]:
    """Return the addresses that the caller has chosen, checked: in each group one for each box."""
    if isinstance(addresses, str) or not isinstance(addresses, Iterable):
        raise SpecError(f"addresses: expected {_what(count)}, got {addresses!r}")
    groups = []
    for item in addresses:
        if not isinstance(item, tuple) or len(item) != count or not all(isinstance(one, str) for one in item):
            raise SpecError(f"addresses: expected {_what(count)}, got {item!r}")
        group = tuple(map(_address, item))
        for text, address in zip(item[1:], group[1:], strict=True):
            if address.network != group[0].network:
                raise SpecError(
                    f"addresses: {item[0]} and {text} are in different networks, so there would be no route"
                )
        if len(set(group)) < count:
            twice = next(text for text, address in zip(item, group, strict=True) if group.count(address) > 1)
            raise SpecError(f"addresses: {twice} would be at {'both ends' if count == _PAIR else 'several ends'}")
        groups.append(group)
    return groups


def _what(count: int) -> str:
    example = ", ".join(f"'192.0.2.{number}/24'" for number in range(1, count + 1))
    return f"{'pairs' if count == _PAIR else 'groups'} such as ({example})"


def _address(text: str) -> Interface:
    try:
        address = ip_interface(text)
    except ValueError as error:
        raise SpecError(f"addresses: {error}") from None
    network = address.network
    if address.version == 4 and network.prefixlen < _POINT_TO_POINT_PREFIX:
        if address.ip == network.network_address:
            raise SpecError(f"addresses: {address.ip} is the address of the network {network} itself")
        if address.ip == network.broadcast_address:
            raise SpecError(f"addresses: {address.ip} is the broadcast address of {network}")
    return address


def _groups_for(routes: Sequence[Route], wanted: list[Group] | None) -> list[Group]:
    taken = [[address.network for address in route.addresses()] for route in routes]
    return _new_groups(taken) if wanted is None else _unused(wanted, taken)


def _unused(groups: list[Group], taken: Sequence[list[Network]]) -> list[Group]:
    """Refuse networks that one of the boxes is in already: its route would be ambiguous."""
    for number, networks in enumerate(taken):
        for group in groups:
            network = group[number].network
            if any(network.version == other.version and network.overlaps(other) for other in networks):
                raise SpecError(f"addresses: box number {number + 1} is in {network} already")
            networks.append(network)
    return groups


def _new_groups(taken: Sequence[Sequence[Network]]) -> list[Group]:
    used = [network for networks in taken for network in networks]
    forms = [(4, "10.0.{}.0/24", 256)]
    if os.path.exists(_IPV6_DIRECTORY):
        forms.append((6, "fd00:0:0:{:x}::/64", 1 << 16))
    groups: list[Group] = []
    for version, form, count in forms:
        others = [network for network in used if network.version == version]
        candidates = (ip_network(form.format(number)) for number in range(count))
        network = next((one for one in candidates if not any(one.overlaps(other) for other in others)), None)
        if network is None or len(taken) > network.num_addresses - 2:
            raise SpecError(f"addresses: no network is left for IPv{version}; choose one")
        numbers = range(1, len(taken) + 1)
        groups.append(tuple(ip_interface(f"{network[number]}/{network.prefixlen}") for number in numbers))
    return groups
