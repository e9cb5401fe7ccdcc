"""The picture of networks: a card for each box with its interfaces and routes, lines for cables, bars for switches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from typing import TYPE_CHECKING, NamedTuple

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
_MARK = 14
"""Pixels from a port to the mark of a cable that is not shown; it is above the first lane."""
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
    """A box. The ports are its interfaces with a cable, each with its middle, below the card or above it."""

    network: NetworkRecord
    lines: list[list[_Text]]
    ports: list[InterfaceRecord]
    x: float = 0
    upper: bool = True
    places: dict[str, float] = field(default_factory=dict)

    @property
    def width(self) -> float:
        ports = sum(_port_width(port) + _PORT_GAP for port in self.ports) + _PORT_GAP
        return max([ports, *(_line_width(line) + 2 * _PADDING for line in self.lines)])

    @property
    def height(self) -> float:
        return _HEAD + (len(self.lines) - _HEAD_LINES) * _LINE + _PADDING

    def end(self, port: InterfaceRecord) -> _End:
        """Return where a cable leaves."""
        return _End(self.places[port.name], self.upper)


_HEAD_LINES = 2


class _End(NamedTuple):
    """Where a cable leaves a card: at which `x`, and whether in the upper row."""

    x: float
    upper: bool


@dataclass
class _Cable:
    """What connects ports: a pair of interfaces, or a switch, which has a name."""

    ends: list[_End]
    works: bool = True
    name: str = ""
    lane: int = 0

    @property
    def left(self) -> float:
        return min(self.ends).x - (_BAR if self.name else 0)

    @property
    def right(self) -> float:
        room = measure(self.name, _SMALL, SANS, bold=True) + _BAR if self.name else 0
        return max(max(self.ends).x + (_BAR if self.name else 0), self.left + room)

    @property
    def rows(self) -> int:
        """Whether it is in the upper row (0), in both (1) or in the lower one (2)."""
        rows = {end.upper for end in self.ends}
        return 1 if len(rows) == 2 else 0 if True in rows else 2


class _Space(NamedTuple):
    """What is between the rows, from the upper ports to the lower ones: lanes for cables."""

    top: float
    bottom: float

    def edge(self, end: _End) -> float:
        return self.top if end.upper else self.bottom


def picture(networks: Sequence[NetworkRecord], *, width: int, legend: bool = True) -> Document:
    """Draw networks, in two rows with the cables between them if one is too wide.

    Args:
        networks: The networks.
        width: The maximum width in pixels. Boxes with much in them can be wider.
        legend: Whether ends of cables that are not shown are explained.
    """
    shown = {network.name for network in networks}
    upper, lower = _rows([_card(network) for network in networks if not network.is_switch], width - 2 * _MARGIN)
    cards = [*upper, *lower]
    cables, loose = _cables(cards, networks, shown)
    lanes = _assign_lanes(cables)
    heights = [max((card.height for card in row), default=0) for row in (upper, lower)]
    top = _MARGIN + heights[0] + _PORT_HEIGHT
    under = top + (_FIRST_LANE + (lanes - 1) * _LANE + _BAR / 2 if lanes else 0)
    if loose:
        under = max(under, top + _MARK + 8)
    if lower:
        under += _FIRST_LANE - _BAR / 2
    space = _Space(top, under)
    sheet = Sheet()
    # The cables are drawn over the switches, with a gap around them, since they are not connected with these.
    for cable in sorted(cables, key=lambda one: not one.name):
        _draw_cable(sheet, cable, space)
    for end in loose:
        start, away = space.edge(end), 1 if end.upper else -1
        sheet.path(f"M{end.x:g} {start:g}v{away * 6}", stroke=_COLOUR, stroke_width=2)
        sheet.text(end.x, start + away * _MARK, "?", size=_SIZE, fill=RED, family=SANS, bold=True, anchor="middle")
    for card in upper:
        _draw_card(sheet, card, _MARGIN, heights[0])
    bottom = under
    if lower:
        bottom += _PORT_HEIGHT + heights[1]
        for card in lower:
            _draw_card(sheet, card, under + _PORT_HEIGHT, heights[1])
    ends = [card.x + card.width for card in cards] + [cable.right for cable in cables] + [_MARGIN]
    if loose and legend:
        bottom += 22
        note = _Text(_ELSEWHERE, _SMALL, GREY, SANS)
        sheet.text(_MARGIN, bottom - 6, note.text, size=note.size, fill=note.colour, family=note.family)
        ends.append(_MARGIN + note.width)
    title = f"Networks of {len(cards)} box{'es' * (len(cards) != 1)}"
    said = sentences([_sentence(card) for card in cards])
    return sheet.document(max(ends) + _MARGIN, bottom + _MARGIN, title, said)


def _rows(cards: list[_Card], width: float) -> tuple[list[_Card], list[_Card]]:
    """Place cards in one row, or in two of about the same width if one is too wide."""
    split = len(cards)
    if _row_width(cards) > width and len(cards) > 2:
        split = min(range(1, len(cards)), key=lambda at: max(_row_width(cards[:at]), _row_width(cards[at:])))
    upper, lower = cards[:split], cards[split:]
    _place(upper, 0)
    taken = [place for card in upper for place in card.places.values()]
    # A port is not exactly below another one, as their lines would lie on each other.
    for shift in range(0, 60, 3):
        _place(lower, shift)
        below = [place for card in lower for place in card.places.values()]
        if all(abs(one - other) >= _ROOM / 2 for one in taken for other in below):
            break
    for card in lower:
        card.upper = False
    return upper, lower


def _row_width(cards: Sequence[_Card]) -> float:
    return sum(card.width + _BETWEEN for card in cards) - _BETWEEN


def _place(cards: Sequence[_Card], shift: float) -> None:
    """Place cards side by side, and their ports."""
    left = _MARGIN + shift
    for card in cards:
        card.x = left
        left += card.width + _BETWEEN
        x = card.x + _PORT_GAP
        for port in card.ports:
            width = _port_width(port)
            card.places[port.name] = x + width / 2
            x += width + _PORT_GAP


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


def _cables(
    cards: Sequence[_Card], networks: Sequence[NetworkRecord], shown: set[str]
) -> tuple[list[_Cable], list[_End]]:
    """Return what connects the ports; and the places of those whose other end is not shown."""
    switches = {network.name: network for network in networks if network.is_switch}
    places = {(card.network.name, port.name): card.end(port) for card in cards for port in card.ports}
    buses: dict[str, _Cable] = {}
    cables: dict[frozenset[tuple[str, str]], _Cable] = {}
    loose = []
    for card in cards:
        for port in card.ports:
            place, other = card.end(port), (port.peer_in, port.peer)
            if port.peer_in in switches:
                buses.setdefault(port.peer_in, _Cable([], name=safe(port.peer_in))).ends.append(place)
            elif port.peer_in in shown and other in places:
                ends = frozenset({(card.network.name, port.name), other})
                cable = cables.setdefault(ends, _Cable([place, places[other]]))
                cable.works = cable.works and port.up and port.carrier
            else:
                loose.append(place)
    return [*cables.values(), *buses.values()], loose


def _assign_lanes(cables: Sequence[_Cable]) -> int:
    """Give each cable a lane in which it crosses no other, the short ones nearest to the cards; return their number."""
    count = 0
    for rows in range(3):
        lanes: list[list[_Cable]] = []
        some = [cable for cable in cables if cable.rows == rows]
        for cable in sorted(some, key=lambda one: (bool(one.name), one.right - one.left)):
            for number, lane in enumerate(lanes):
                if all(cable.right + _ROOM < one.left or one.right + _ROOM < cable.left for one in lane):
                    cable.lane = number
                    lane.append(cable)
                    break
            else:
                cable.lane = len(lanes)
                lanes.append([cable])
        for cable in some:
            # In the lower row the short ones are the last.
            cable.lane = count + (cable.lane if rows < 2 else len(lanes) - 1 - cable.lane)
        count += len(lanes)
    return count


def _draw_cable(sheet: Sheet, cable: _Cable, space: _Space) -> None:
    y = space.top + _FIRST_LANE + cable.lane * _LANE
    dashes = "none" if cable.works else _DASHES
    if not cable.name:
        first, second = cable.ends
        line = f"M{first.x:g} {space.edge(first):g}V{y:g}H{second.x:g}V{space.edge(second):g}"
        sheet.path(line, stroke=PAPER, stroke_width=7)
        sheet.path(line, stroke=_COLOUR, stroke_width=2, dashes=dashes)
        return
    for end in cable.ends:
        sheet.path(f"M{end.x:g} {space.edge(end):g}V{y:g}", stroke=_COLOUR, stroke_width=2)
    sheet.rect(cable.left, y - _BAR / 2, cable.right - cable.left, _BAR, radius=5, fill=_COLOUR)
    middle = (cable.left + cable.right) / 2
    sheet.text(middle, y, cable.name, size=_SMALL, fill=PAPER, family=SANS, bold=True, anchor="middle")


def _draw_card(sheet: Sheet, card: _Card, top: float, height: float) -> None:
    sheet.rect(card.x, top, card.width, height, radius=7, fill=_COLOUR, opacity=0.05, stroke=_COLOUR, stroke_width=1.5)
    middles: list[float] = [top + 16, top + 33]
    middles += [top + _HEAD + (number + 0.5) * _LINE for number in range(len(card.lines) - _HEAD_LINES)]
    for line, middle in zip(card.lines, middles, strict=True):
        x = card.x + _PADDING
        for text in line:
            if text.text:
                sheet.text(x, middle, text.text, size=text.size, fill=text.colour, family=text.family, bold=text.bold)
            x += text.width + 8
    ports = top + height if card.upper else top - _PORT_HEIGHT
    for port in card.ports:
        width, place = _port_width(port), card.places[port.name]
        sheet.rect(
            place - width / 2, ports, width, _PORT_HEIGHT, radius=3, fill=PAPER, stroke=_COLOUR, stroke_width=1.5
        )
        sheet.text(
            place, ports + _PORT_HEIGHT / 2, safe(port.name), size=_SMALL, fill=_COLOUR, bold=True, anchor="middle"
        )
