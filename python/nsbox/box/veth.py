"""Two hosts on one machine: the network namespaces of two boxes, connected by a cable (veth(4))."""

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
"""Pairs of addresses with the length of their network: the first for one end, the second for the other."""

_CHOOSING = threading.Lock()
"""Held from the choice of names and addresses until they are taken, for connections made by several threads."""
_LONGEST_NAME = 15
_HAS_IPV6 = "/proc/sys/net/ipv6"
_BOTH_ARE_HOSTS = 31
"""The length of an IPv4 network with two addresses, both for hosts (RFC 3021)."""


@dataclass(frozen=True)
class VethEnd:
    """One end of a pair.

    Attributes:
        box: The box that it is in.
        name: The name of the interface there.
        index: Its number there.
        addresses: Its addresses, each with its network.
    """

    box: Box
    name: str
    index: int
    addresses: tuple[Interface, ...]

    @property
    def address(self) -> str:
        """Its first address, as programs take it.

        Raises:
            SpecError: when it was given none.
        """
        if not self.addresses:
            raise SpecError(f"addresses: {self.name} was given none")
        return str(self.addresses[0].ip)


class VethPair:
    """What `connect` returns: a cable between two boxes. It ends with `close`, and with either box.

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
        """Say what is connected, and under which addresses."""
        ends = [f"{end.name} ({', '.join(map(str, end.addresses)) or 'no address'})" for end in self.ends]
        places = [f"the box of process {end.box.pid}" for end in self.ends]
        state = ", closed" if self._closed else ""
        return f"<nsbox.VethPair: {ends[0]} in {places[0]}, {ends[1]} in {places[1]}{state}>"


def connect(a: Box, b: Box, *, addresses: Addresses | None = None, names: tuple[str, str] | None = None) -> VethPair:
    """Connect two boxes by a pair of network interfaces, which are up and have addresses.

    >>> with Box("n") as a, Box("n") as b, connect(a, b) as pair:
    ...     server = b.socket()
    ...     server.bind((pair.b.address, 80))

    Both boxes can belong to an ordinary user. Nothing is started for it, no thread changes its namespaces, and all is
    done when it returns. pyroute2 is needed (extra ``net``).

    Args:
        a: A box with a network namespace of its own.
        b: Another one.
        addresses: Pairs of addresses, such as ``[("192.0.2.1/24", "192.0.2.2/24")]``, for `a` and for `b`. By default
            one of IPv4, ``10.0.N.1/24`` and ``10.0.N.2/24``, and if the kernel has it one of IPv6,
            ``fd00:0:0:N::1/64`` and ``fd00:0:0:N::2/64``, where N is the smallest number that is new in both.
        names: The names of the interfaces; by default ``ethN``, for the smallest N that is new in each.

    Raises:
        SpecError: for boxes, addresses and names that make no sense.
        UnsupportedError: when pyroute2 is missing, or this kernel has no veth.
        SpawnError: when the kernel refuses a step; nothing of it is left.
        ClosedError: when a box has ended.
    """
    for argument, box in (("a", a), ("b", b)):
        if not isinstance(box, Box):
            raise SpecError(f"{argument}: expected a box, got {box!r}")
        box._needs(argument, "net")
    if a is b:
        raise SpecError("b: is the same box as a; its programs can talk over the loopback interface")
    wanted = None if addresses is None else _pairs(addresses)
    if names is not None and (not isinstance(names, tuple) or len(names) != 2):
        raise SpecError(f"names: expected two, got {names!r}")
    for name in names or ():
        _check_name(name)
    asked = ""
    try:
        with _CHOOSING, Route(a) as route_a, Route(b) as route_b, b.namespace("net") as namespace:
            taken = route_a.addresses(), route_b.addresses()
            pairs = _new_pairs(taken) if wanted is None else _unused(wanted, taken)
            name_a = _name("a", route_a, names and names[0])
            name_b = _name("b", route_b, names and names[1])
            asked = name_a
            call = route_a.add_pair(name_a, name_b, namespace.fileno())
            for box in (a, b):
                _note(box, "veth", call, "veth(4)", "what goes in at one end comes out at the other")
            ends = (
                _end(a, route_a, name_a, pairs, 0),
                _end(b, route_b, name_b, pairs, 1),
            )
            for end, route in zip(ends, (route_a, route_b), strict=True):
                call = route.await_carrier(end.index, end.name)
                _note(end.box, "carrier", call, "rtnetlink(7)", "until then what is sent is dropped")
        return VethPair(*ends)
    except BaseException as error:
        if isinstance(error, SpawnError) and error.step == "veth":
            if error.errno != EOPNOTSUPP:
                raise
            why = error.evidence or error.strerror
            raise UnsupportedError(f"this kernel makes no pair of interfaces ({why}); next: modprobe veth") from None
        # A handler of a signal may have raised at any moment: what is there tells how far it has come.
        if asked:
            _remove_what_is_there(a, asked)
        raise


def _end(box: Box, route: Route, name: str, pairs: list[tuple[Interface, Interface]], side: int) -> VethEnd:
    index = route.index(name)
    if index is None:
        # Between two calls; whoever has the box may do that.
        raise ClosedError(f"{name} in {box!r} was removed meanwhile")
    _note(box, "link up", route.bring_up(index, name), "rtnetlink(7)", "an interface is down until it is brought up")
    addresses = tuple(pair[side] for pair in pairs)
    for address in addresses:
        call = route.add_address(index, name, address)
        _note(box, "address", call, "rtnetlink(7)", "an address brings the route to its network along")
    return VethEnd(box, name, index, addresses)


def _remove_what_is_there(box: Box, name: str) -> None:
    index = None
    with contextlib.suppress(ClosedError), Route(box) as route:
        index = route.index(name)
    if index is not None:
        _removed(box, index, name)


def _removed(box: Box, index: int, name: str) -> bool:
    """Remove an interface, if it and its box are there, and tell whether that is done."""
    with contextlib.suppress(ClosedError), Route(box) as route:
        try:
            _note(box, "remove veth", route.remove(index, name), "rtnetlink(7)", "with one end the other is gone")
        except SpawnError as error:
            if error.errno == ENODEV:
                return True
            raise
        return True
    return False


def _note(box: Box, name: StepName, call: Call, manual: str, why: str) -> None:
    box._note(StepResult(name, "caller", str(call), manual, why, calls=data_of([call])))


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(os.fsencode(name)) <= _LONGEST_NAME:
        raise SpecError(f"names: {name!r} is no name of an interface, which has at most {_LONGEST_NAME} bytes")
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
            raise SpecError(f"addresses: {first} and {second} are in different networks, and could not talk")
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
    if address.version == 4 and network.prefixlen < _BOTH_ARE_HOSTS:
        if address.ip == network.network_address:
            raise SpecError(f"addresses: {address.ip} is the address of the network {network} itself")
        if address.ip == network.broadcast_address:
            raise SpecError(f"addresses: {address.ip} is the broadcast address of {network}")
    return address


def _unused(
    pairs: list[tuple[Interface, Interface]], taken: Sequence[Sequence[Interface]]
) -> list[tuple[Interface, Interface]]:
    """Refuse networks that one of the boxes is in already: it would not know where to send."""
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
    if os.path.exists(_HAS_IPV6):
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
