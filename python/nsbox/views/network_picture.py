"""The picture of networks: a card for each box with its interfaces and routes, lines for cables, bars for switches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from nsbox.records.names import safe
from nsbox.views.network_list import route_text, state
from nsbox.views.palette import GREY, INK, KIND_STYLES, PAPER, RED, SLATE
from nsbox.views.svg import MONO, SANS, Document, Sheet, measure, sentences

if TYPE_CHECKING:
    from nsbox.records.networks import InterfaceRecord, NetworkRecord

__all__ = ["picture"]

_MARGIN, _BETWEEN = 16, 28
_PADDING, _LINE, _HEAD = 12, 19, 44
_SIZE, _SMALL = 12.0, 11.0
_PORT_HEIGHT, _PORT_GAP = 18, 10
_LANE, _FIRST_LANE, _BAR = 30, 26, 20
_ROOM = 14
"""Pixels between two lines in one lane."""
_COLOUR = KIND_STYLES["net"].colour
_DASHES = "5 4"
_ELSEWHERE = "? its other end is in a network that is not shown"


@dataclass(frozen=True)
class _Text:
    """A text in a line of a card, or the gap in the place of one."""

    text: str
    size: float = _SIZE
    colour: str = INK
    family: str = MONO
    bold: bool = False
    gap: float = 0

    @property
    def width(self) -> float:
        return self.gap + measure(self.text, self.size, self.family, bold=self.bold)


@dataclass
class _Card:
    """A box. The ports are its interfaces with a cable, each with the middle of its place below the card."""

    network: NetworkRecord
    lines: list[list[_Text]]
    ports: list[InterfaceRecord]
    x: float = 0
    places: dict[str, float] = field(default_factory=dict)

    @property
    def width(self) -> float:
        ports = sum(_port_width(port) + _PORT_GAP for port in self.ports) + _PORT_GAP
        return max([ports, *(_line_width(line) + 2 * _PADDING for line in self.lines)])

    @property
    def height(self) -> float:
        return _HEAD + (len(self.lines) - _HEAD_LINES) * _LINE + _PADDING


_HEAD_LINES = 2


@dataclass
class _Cable:
    """What connects ports: a pair of interfaces, or a switch, which has a name."""

    ends: list[float]
    works: bool = True
    name: str = ""
    lane: int = 0

    @property
    def left(self) -> float:
        return min(self.ends) - (_BAR if self.name else 0)

    @property
    def right(self) -> float:
        room = measure(self.name, _SMALL, SANS, bold=True) + _BAR if self.name else 0
        return max(max(self.ends) + (_BAR if self.name else 0), self.left + room)


def picture(networks: Sequence[NetworkRecord], *, legend: bool = True) -> Document:
    """Draw networks; the legend explains ends of cables that are not shown."""
    shown = {network.name for network in networks}
    cards = [_card(network) for network in networks if not network.is_switch]
    x = float(_MARGIN)
    for card in cards:
        card.x = x
        x += card.width + _BETWEEN
        _place_ports(card)
    height = max((card.height for card in cards), default=0)
    below = _MARGIN + height + _PORT_HEIGHT
    cables, loose = _cables(cards, networks, shown)
    _assign_lanes(cables)
    sheet = Sheet()
    for cable in sorted(cables, key=lambda one: bool(one.name)):
        _draw_cable(sheet, cable, below)
    for place in loose:
        sheet.path(f"M{place:g} {below:g}v{_FIRST_LANE - 10:g}", stroke=_COLOUR, stroke_width=2, dashes=_DASHES)
        sheet.text(place, below + _FIRST_LANE, "?", size=_SIZE, fill=RED, family=SANS, bold=True, anchor="middle")
    for card in cards:
        _draw_card(sheet, card, height)
    lanes = max((cable.lane for cable in cables), default=-1) + 1
    bottom = below + (_FIRST_LANE + (lanes - 1) * _LANE + _BAR / 2 if lanes else 0)
    if loose:
        bottom = max(bottom, below + _FIRST_LANE + 8)
    if loose and legend:
        bottom += 22
        sheet.text(_MARGIN, bottom - 6, _ELSEWHERE, size=_SMALL, fill=GREY, family=SANS)
    width = max([x - _BETWEEN, *(cable.right for cable in cables)]) if cards else _MARGIN
    count = len(cards)
    title = f"Networks of {count} box{'es' * (count != 1)}"
    said = sentences([_sentence(card) for card in cards])
    return sheet.document(width + _MARGIN, bottom + _MARGIN, title, said)


def _sentence(card: _Card) -> str:
    """Say what the ports of a box are connected with."""
    parts = [
        f"{safe(port.name)} {' '.join(port.addresses)} "
        + (f"is connected with {safe(port.peer_in)}" if port.peer_in else "has its other end elsewhere")
        for port in card.ports
    ]
    return f"{safe(card.network.name)}: {'; '.join(parts) or 'no cables'}."


def _card(network: NetworkRecord) -> _Card:
    return _Card(network, _lines(network), [one for one in network.interfaces if one.kind == "veth"])


def _lines(network: NetworkRecord) -> list[list[_Text]]:
    forwards = " and ".join(f"IPv{version}" for version in network.forwards)
    head = [
        [_Text(safe(network.name), 14, _COLOUR, SANS, bold=True)],
        [_Text(f"process {network.pid}", _SMALL, GREY, SANS)],
    ]
    lines = [line for one in network.interfaces for line in _interface(one)]
    lines += [[_Text(safe(route_text(route)), _SMALL, SLATE)] for route in network.routes]
    if forwards:
        lines.append([_Text(f"router: forwards {forwards}", _SMALL, _COLOUR, SANS, bold=True)])
    return head + lines


def _interface(one: InterfaceRecord) -> Iterator[list[_Text]]:
    """Give its lines: one for each address, the first with its name."""
    # Every interface that is up has a link-local one; str() of the networks lists them.
    addresses = [_Text(address) for address in one.addresses if not ip_interface(address).is_link_local]
    how = state(one)
    name = _Text(safe(one.name), bold=True)
    yield [
        name,
        *([_Text(how, _SMALL, RED, SANS)] if how != "up" else []),
        *([_Text(f"port of {safe(one.bridge)}", _SMALL, GREY, SANS)] if one.bridge else []),
        *addresses[:1],
    ]
    for address in addresses[1:]:
        yield [replace(name, text="", gap=name.width), address]


def _line_width(line: Iterable[_Text]) -> float:
    return sum(text.width + 8 for text in line) - 8


def _port_width(port: InterfaceRecord) -> float:
    return measure(safe(port.name), _SMALL, MONO, bold=True) + 12


def _place_ports(card: _Card) -> None:
    x = card.x + _PORT_GAP
    for port in card.ports:
        width = _port_width(port)
        card.places[port.name] = x + width / 2
        x += width + _PORT_GAP


def _cables(
    cards: Sequence[_Card], networks: Sequence[NetworkRecord], shown: set[str]
) -> tuple[list[_Cable], list[float]]:
    """Return what connects the ports; and the places of those whose other end is not shown."""
    switches = {network.name: network for network in networks if network.is_switch}
    places = {(card.network.name, port.name): card.places[port.name] for card in cards for port in card.ports}
    buses: dict[str, _Cable] = {}
    cables: dict[frozenset[tuple[str, str]], _Cable] = {}
    loose = []
    for card in cards:
        for port in card.ports:
            place, other = card.places[port.name], (port.peer_in, port.peer)
            if port.peer_in in switches:
                buses.setdefault(port.peer_in, _Cable([], name=safe(port.peer_in))).ends.append(place)
            elif port.peer_in in shown and other in places:
                ends = frozenset({(card.network.name, port.name), other})
                cable = cables.setdefault(ends, _Cable([place, places[other]]))
                cable.works = cable.works and port.up and port.carrier
            else:
                loose.append(place)
    return [*cables.values(), *buses.values()], loose


def _assign_lanes(cables: Sequence[_Cable]) -> None:
    """Give each cable a lane in which it crosses no other, the short ones nearest to the cards."""
    lanes: list[list[_Cable]] = []
    for cable in sorted(cables, key=lambda one: (bool(one.name), one.right - one.left)):
        for number, lane in enumerate(lanes):
            if all(cable.right + _ROOM < one.left or one.right + _ROOM < cable.left for one in lane):
                cable.lane = number
                lane.append(cable)
                break
        else:
            cable.lane = len(lanes)
            lanes.append([cable])


def _draw_cable(sheet: Sheet, cable: _Cable, below: float) -> None:
    y = below + _FIRST_LANE + cable.lane * _LANE
    dashes = "none" if cable.works else _DASHES
    if not cable.name:
        first, second = cable.ends
        sheet.path(f"M{first:g} {below:g}V{y:g}H{second:g}V{below:g}", stroke=_COLOUR, stroke_width=2, dashes=dashes)
        return
    for end in cable.ends:
        sheet.path(f"M{end:g} {below:g}V{y:g}", stroke=_COLOUR, stroke_width=2)
    sheet.rect(cable.left, y - _BAR / 2, cable.right - cable.left, _BAR, radius=5, fill=_COLOUR)
    middle = (cable.left + cable.right) / 2
    sheet.text(middle, y, cable.name, size=_SMALL, fill=PAPER, family=SANS, bold=True, anchor="middle")


def _draw_card(sheet: Sheet, card: _Card, height: float) -> None:
    sheet.rect(
        card.x, _MARGIN, card.width, height, radius=7, fill=_COLOUR, opacity=0.05, stroke=_COLOUR, stroke_width=1.5
    )
    middles: list[float] = [_MARGIN + 16, _MARGIN + 33]
    middles += [_MARGIN + _HEAD + (number + 0.5) * _LINE for number in range(len(card.lines) - _HEAD_LINES)]
    for line, middle in zip(card.lines, middles, strict=True):
        x = card.x + _PADDING
        for text in line:
            if text.text:
                sheet.text(x, middle, text.text, size=text.size, fill=text.colour, family=text.family, bold=text.bold)
            x += text.width + 8
    for port in card.ports:
        width, place = _port_width(port), card.places[port.name]
        top = _MARGIN + height
        sheet.rect(place - width / 2, top, width, _PORT_HEIGHT, radius=3, fill=PAPER, stroke=_COLOUR, stroke_width=1.5)
        sheet.text(
            place, top + _PORT_HEIGHT / 2, safe(port.name), size=_SMALL, fill=_COLOUR, bold=True, anchor="middle"
        )
