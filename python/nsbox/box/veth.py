"""Connect the network namespaces of two boxes by a pair of virtual interfaces (veth(4))."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from errno import ENODEV, EOPNOTSUPP
from ipaddress import ip_interface, ip_network
from types import TracebackType
from typing import Self

from nsbox._core import Call
from nsbox.box.box import Box
from nsbox.box.netlink import Interface, Route
from nsbox.errors import ClosedError, SpawnError, SpecError, UnsupportedError
from nsbox.records.steps import StepResult, data_of
from nsbox.spec.step_names import StepName

__all__ = ["VethEnd", "VethPair", "connect"]

Addresses = Iterable[tuple[str, str]]
"""Pairs of addresses with their prefix length: the first for end `a`, the second for end `b`."""

_CHOOSING = threading.Lock()
"""Held from the choice of names and addresses until they are assigned, as several threads may connect boxes."""
_MAX_NAME_BYTES = 15
_IPV6_DIRECTORY = "/proc/sys/net/ipv6"
_POINT_TO_POINT_PREFIX = 31
"""The prefix length of an IPv4 network whose two addresses are both for hosts (RFC 3021)."""


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
        ends = [f"{end.name} ({', '.join(map(str, end.addresses)) or 'no address'})" for end in self.ends]
        places = [f"the box of process {end.box.pid}" for end in self.ends]
        state = ", closed" if self._closed else ""
        return f"<nsbox.VethPair: {ends[0]} in {places[0]}, {ends[1]} in {places[1]}{state}>"


def connect(a: Box, b: Box, *, addresses: Addresses | None = None, names: tuple[str, str] | None = None) -> VethPair:
    """Connect two boxes by a pair of network interfaces, and bring them up with addresses.

    >>> with Box("n") as a, Box("n") as b, connect(a, b) as pair:
    ...     server = b.socket()
    ...     server.bind((pair.b.address, 80))

    An ordinary user can connect boxes. No process is started, and no thread changes its namespaces. When it returns,
    both ends can send. pyroute2 is needed (extra ``net``).

    Args:
        a: A box with a network namespace of its own.
        b: Another box with a network namespace of its own.
        addresses: Pairs of addresses, such as ``[("192.0.2.1/24", "192.0.2.2/24")]``, for `a` and for `b`. By default
            a pair of IPv4, ``10.0.N.1/24`` and ``10.0.N.2/24``, and if the kernel supports IPv6 the pair
            ``fd00:0:0:N::1/64`` and ``fd00:0:0:N::2/64``, where N is the smallest number that is unused in both.
        names: The names of the interfaces; by default ``ethN`` with the smallest N that is unused in each.

    Raises:
        SpecError: for boxes, addresses and names that make no sense.
        UnsupportedError: when pyroute2 is missing, or this kernel has no veth.
        SpawnError: when the kernel refuses a step; the interfaces are removed then.
        ClosedError: when a box has ended.
    """
    for argument, box in (("a", a), ("b", b)):
        if not isinstance(box, Box):
            raise SpecError(f"{argument}: expected a box, got {box!r}")
        box._needs(argument, "net")
    if a is b:
        raise SpecError("b: is the same box as a; its programs can use the loopback interface")
    wanted = None if addresses is None else _pairs(addresses)
    if names is not None and (not isinstance(names, tuple) or len(names) != 2):
        raise SpecError(f"names: expected two, got {names!r}")
    for name in names or ():
        _check_name(name)
    requested_name = ""
    try:
        with _CHOOSING, Route(a) as route_a, Route(b) as route_b, b.namespace("net") as namespace:
            taken = route_a.addresses(), route_b.addresses()
            pairs = _new_pairs(taken) if wanted is None else _unused(wanted, taken)
            name_a = _name("a", route_a, names and names[0])
            name_b = _name("b", route_b, names and names[1])
            requested_name = name_a
            call = route_a.add_pair(name_a, name_b, namespace.fileno())
            for box in (a, b):
                _add_step(box, "veth", call, "veth(4)", "a packet sent into one end is received at the other")
            ends = (
                _end(a, route_a, name_a, pairs, 0),
                _end(b, route_b, name_b, pairs, 1),
            )
            for end, route in zip(ends, (route_a, route_b), strict=True):
                call = route.await_carrier(end.index, end.name)
                _add_step(end.box, "carrier", call, "rtnetlink(7)", "without a carrier packets are dropped")
        return VethPair(*ends)
    except BaseException as error:
        if isinstance(error, SpawnError) and error.step == "veth":
            if error.errno != EOPNOTSUPP:
                raise
            why = error.evidence or error.strerror
            raise UnsupportedError(f"this kernel makes no veth interfaces ({why}); next: modprobe veth") from None
        # A signal handler may have raised at any moment, so the interface may exist or not.
        if requested_name:
            _remove_if_present(a, requested_name)
        raise


def _end(box: Box, route: Route, name: str, pairs: list[tuple[Interface, Interface]], side: int) -> VethEnd:
    index = route.index(name)
    if index is None:
        # Another user of the box may have done that.
        raise ClosedError(f"{name} in {box!r} was removed meanwhile")
    _add_step(box, "link up", route.bring_up(index, name), "rtnetlink(7)", "a new interface is down")
    addresses = tuple(pair[side] for pair in pairs)
    for address in addresses:
        call = route.add_address(index, name, address)
        _add_step(box, "address", call, "rtnetlink(7)", "the kernel adds the route to the network of the address")
    return VethEnd(box, name, index, addresses)


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


def _add_step(box: Box, name: StepName, call: Call, manual: str, why: str) -> None:
    box._later_steps.append(StepResult(name, "caller", str(call), manual, why, calls=data_of([call])))


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(os.fsencode(name)) <= _MAX_NAME_BYTES:
        raise SpecError(f"names: {name!r} is no name of an interface, which has at most {_MAX_NAME_BYTES} bytes")
    if name in (".", "..") or any(letter in "/:%\0" or letter.isspace() for letter in name):
        raise SpecError(f"names: {name!r} is no name of an interface")


def _name(argument: str, route: Route, wanted: str | None) -> str:
    if wanted is None:
        return next(name for number in range(1 << 16) if route.index(name := f"eth{number}") is None)
    if route.index(wanted) is not None:
        raise SpecError(f"names: {argument} has an interface {wanted} already")
    return wanted


def _pairs(addresses: Addresses) -> list[tuple[Interface, Interface]]:
    if isinstance(addresses, str) or not isinstance(addresses, Iterable):
        raise SpecError(f"addresses: expected pairs, got {addresses!r}")
    pairs = []
    for item in addresses:
        match item:
            case (str(first), str(second)):
                pair = _address(first), _address(second)
            case _:
                raise SpecError(f"addresses: expected pairs such as ('192.0.2.1/24', '192.0.2.2/24'), got {item!r}")
        if pair[0].network != pair[1].network:
            raise SpecError(f"addresses: {first} and {second} are in different networks, so there would be no route")
        if pair[0] == pair[1]:
            raise SpecError(f"addresses: {first} would be at both ends")
        pairs.append(pair)
    return pairs


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


def _unused(
    pairs: list[tuple[Interface, Interface]], taken: Sequence[Sequence[Interface]]
) -> list[tuple[Interface, Interface]]:
    """Refuse networks that one of the boxes is in already: its route would be ambiguous."""
    for place, argument in enumerate("ab"):
        networks = [address.network for address in taken[place]]
        for pair in pairs:
            network = pair[place].network
            if any(network.version == other.version and network.overlaps(other) for other in networks):
                raise SpecError(f"addresses: {argument} is in {network} already")
            networks.append(network)
    return pairs


def _new_pairs(taken: Sequence[Sequence[Interface]]) -> list[tuple[Interface, Interface]]:
    used = [address.network for addresses in taken for address in addresses]
    forms = [(4, "10.0.{}.0/24", 256)]
    if os.path.exists(_IPV6_DIRECTORY):
        forms.append((6, "fd00:0:0:{:x}::/64", 1 << 16))
    pairs: list[tuple[Interface, Interface]] = []
    for version, form, count in forms:
        others = [network for network in used if network.version == version]
        candidates = (ip_network(form.format(number)) for number in range(count))
        network = next((one for one in candidates if not any(one.overlaps(other) for other in others)), None)
        if network is None:
            raise SpecError(f"addresses: no network is left for IPv{version}; choose one")
        first, second = (ip_interface(f"{network[number]}/{network.prefixlen}") for number in (1, 2))
        pairs.append((first, second))
    return pairs
