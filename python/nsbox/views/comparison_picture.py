"""The picture of a comparison: inside and outside side by side, each process on one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsbox.records.names import safe
from nsbox.views.layout import ROW, Label
from nsbox.views.legend import Legend
from nsbox.views.palette import GREY, INK, KIND_STYLES, LINE, PAPER, SLATE
from nsbox.views.svg import MONO, Document, Sheet, sentences

if TYPE_CHECKING:
    from nsbox.records.comparison import Compared
    from nsbox.records.processes import Process

__all__ = ["picture"]

_OUTSIDE, _INSIDE = "seen from outside", "seen from inside, by process"
_MARGIN = 16
_STEP = 26
_GAP = 8
_BETWEEN = 90
_MAX_PROCESSES = 60
_MAX_ANCESTORS = 6
_MAX_NAME_LENGTH = 32
_CHIP_HEIGHT = 17
_OUTLINE = 4
_MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class _Line:
    """A process on its line.

    Attributes:
        outside: The process as it is seen outside.
        inside: The process as it is seen inside; None if it is not.
        depth: Its depth in the tree outside.
        parent: The number of its parent's line; None if the parent is not shown.
    """

    outside: Process
    inside: Process | None
    depth: int
    parent: int | None


def picture(comparison: Compared, *, legend: bool = True) -> Document:
    """Draw both sides, with a legend if there is room for it."""
    lines, hidden = _lines(comparison)
    first = next((number for number, line in enumerate(lines) if line.inside is not None), len(lines))
    base = min((line.depth for line in lines if line.inside is not None), default=0)
    own = [kind for kind in KIND_STYLES if kind in comparison.own]
    names = {kind: f"{kind} {getattr(comparison.inside, kind)}" for kind in own}
    chips = _wrapped(
        [Label(name, 11, KIND_STYLES[kind].colour, bold=True, pill="full") for kind, name in names.items()]
    )
    edge = _OUTLINE * max(len(own) - 1, 0) + 10
    # The head of the box is above the first line inside; the lines outside leave room for it.
    head = edge + len(chips) * (_CHIP_HEIGHT + 3) + 6
    above = max(first * ROW, head)
    top = _MARGIN + 24
    middles = [top + above + (number - first + 0.5) * ROW for number in range(len(lines))]
    titles = [Label(text, 12, INK, bold=True) for text in (_OUTSIDE, f"{_INSIDE} {comparison.pid}")]
    left = max([line.depth * _STEP + _width(_labels(line.outside)) for line in lines] + [titles[0].width - _BETWEEN])
    right = _MARGIN + left + _BETWEEN
    inner = max(
        [(line.depth - base) * _STEP + _width(_labels(line.inside, inside=True)) for line in lines if line.inside]
        + [sum(chip.width + 5 for chip in row) for row in chips] + [titles[1].width]
    )  # fmt: skip
    bottom = top + above + (len(lines) - first) * ROW
    sheet = Sheet()
    for x, label in zip((_MARGIN, right + edge), titles, strict=True):
        label.draw(sheet, x, _MARGIN + 6)
    _box(sheet, own, right, top + above - head + 3, inner + 2 * edge, bottom + edge - (top + above - head) - 3)
    y = top + above - head + edge + 1
    for row in chips:
        x = right + edge
        for chip in row:
            chip.draw(sheet, x, y + _CHIP_HEIGHT / 2, _CHIP_HEIGHT)
            x += chip.width + 5
        y += _CHIP_HEIGHT + 3
    for line, middle in zip(lines, middles, strict=True):
        x = _MARGIN + line.depth * _STEP
        _stem(sheet, lines, middles, line, middle, _MARGIN)
        end = _draw(sheet, _labels(line.outside), x, middle)
        if line.inside is not None:
            start = right + edge + (line.depth - base) * _STEP
            sheet.path(f"M{end + 6:g} {middle:g}H{start - 4:g}", stroke=LINE, stroke_width=1, dashes="2 3")
            parent = lines[line.parent] if line.parent is not None else None
            if parent is not None and parent.inside is not None:
                _stem(sheet, lines, middles, line, middle, right + edge - base * _STEP)
            _draw(sheet, _labels(line.inside, inside=True), start, middle)
    end, note = bottom + edge + _GAP, Label(hidden, 11.5)
    if hidden:
        note.draw(sheet, _MARGIN, end + 8)
        end += 22
    seen = {"init"} if any(line.inside and line.inside.pid == 1 for line in lines) else set()
    across = max(right + inner + 2 * edge - _MARGIN, note.width if hidden else 0)
    if legend:
        explained = Legend(own, seen, across, end - _MARGIN)
        explained.draw(sheet, _MARGIN, end + _GAP)
        end += 2 * _GAP + explained.height if explained.height else 0
    title = f"{len(comparison.pairs)} processes seen from outside and from inside"
    said = [f"Namespaces of its own: {', '.join(own)}."] if own else []
    said += [
        f"{_name(line.outside)} has PID {line.outside.pid} outside and {line.inside.pid} inside."
        for line in lines
        if line.inside is not None
    ]
    return sheet.document(across + 2 * _MARGIN, end + _MARGIN, title, sentences(said))


def _lines(comparison: Compared) -> tuple[list[_Line], str]:
    """Return the lines, in the order of the tree and below their ancestors outside; and a note on what is not shown."""
    inside = {outer.pid: inner for outer, inner in comparison.pairs}
    everything = {one.pid: one for one in (*comparison.others, *(outer for outer, _ in comparison.pairs))}
    children: dict[int, list[Process]] = {}
    tops = []
    for pid in inside:
        process = everything[pid]
        if process.ppid in inside and process.ppid != pid:
            children.setdefault(process.ppid, []).append(process)
        else:
            tops.append(process)
    chain = _chain_above(tops, everything)
    lines = [_Line(process, None, depth, depth - 1 if depth else None) for depth, process in enumerate(chain)]
    at = {line.outside.pid: number for number, line in enumerate(lines)}
    for process, depth in _downwards(tops, children, len(lines)):
        if len(lines) - len(chain) == _MAX_PROCESSES:
            break
        at[process.pid] = len(lines)
        lines.append(_Line(process, inside[process.pid], min(depth, _MAX_DEPTH), at.get(process.ppid)))
    hidden = len(inside) - (len(lines) - len(chain))
    parts = [f"{len(comparison.others) - len(chain)} more are only seen outside"] * (
        len(comparison.others) > len(chain)
    )
    parts += [f"{hidden} more are seen on both sides"] * (hidden > 0)
    return lines, "; ".join(parts)


def _chain_above(tops: Sequence[Process], everything: Mapping[int, Process]) -> list[Process]:
    """Return the nearest ancestors of the first process inside, the topmost first."""
    chain: list[Process] = []
    process = everything.get(tops[0].ppid) if tops else None
    while process is not None and process not in chain and len(chain) < _MAX_ANCESTORS:
        chain.append(process)
        process = everything.get(process.ppid)
    return chain[::-1]


def _downwards(
    tops: Sequence[Process], children: Mapping[int, Sequence[Process]], depth: int
) -> Iterator[tuple[Process, int]]:
    waiting = [(process, depth) for process in reversed(tops)]
    while waiting:
        process, depth = waiting.pop()
        yield process, depth
        waiting.extend((child, depth + 1) for child in reversed(children.get(process.pid, ())))


def _labels(process: Process | None, *, inside: bool = False) -> list[Label]:
    if process is None:
        return []
    over = process.state in "ZX"
    colour = KIND_STYLES["pid"].colour if inside else SLATE
    labels = [
        Label(str(process.pid), 12, colour, bold=True, pill="hollow" if over else "full"),
        Label(_name(process), 13, GREY if over else INK, MONO, bold=True),
    ]
    if inside and process.pid == 1:
        labels.append(Label("init", 11, KIND_STYLES["pid"].colour, bold=True))
    return [*labels, Label("zombie")] if over else labels


def _name(process: Process) -> str:
    name = safe(process.comm.decode("utf-8", "surrogateescape"))
    return (name if len(name) <= _MAX_NAME_LENGTH else name[: _MAX_NAME_LENGTH - 1] + "…") or '""'


def _width(labels: Sequence[Label]) -> float:
    return sum(label.width + _GAP for label in labels) - _GAP


def _draw(sheet: Sheet, labels: Sequence[Label], x: float, middle: float) -> float:
    """Draw labels side by side; return the right end of the last one."""
    for label in labels:
        label.draw(sheet, x, middle)
        x += label.width + _GAP
    return x - _GAP


def _stem(
    sheet: Sheet, lines: Sequence[_Line], middles: Sequence[float], line: _Line, middle: float, left: float
) -> None:
    """Draw the line from the parent of a process to the process."""
    if line.parent is None:
        return
    trunk = left + lines[line.parent].depth * _STEP + 13
    start, end = middles[line.parent] + 10, left + line.depth * _STEP
    sheet.path(f"M{trunk:g} {start:g}V{middle - 6:g}Q{trunk:g} {middle:g} {trunk + 6:g} {middle:g}H{end:g}")


def _box(sheet: Sheet, own: Sequence[str], x: float, y: float, width: float, height: float) -> None:
    if not own:
        sheet.rect(x, y, width, height, radius=8, stroke=LINE, dashes="3 3")
    for number, kind in enumerate(own):
        inset = 1 + _OUTLINE * number
        sheet.rect(
            x + inset, y + inset, width - 2 * inset, height - 2 * inset, radius=max(10 - 2 * number, 3),
            fill="none" if number else PAPER, stroke=KIND_STYLES[kind].colour, stroke_width=2,
        )  # fmt: skip
    if own:
        inset, colour = _OUTLINE * len(own), KIND_STYLES[own[-1]].colour
        sheet.rect(x + inset, y + inset, width - 2 * inset, height - 2 * inset, radius=4, fill=colour, opacity=0.07)


def _wrapped(chips: Sequence[Label]) -> list[list[Label]]:
    rows: list[list[Label]] = []
    for chip in chips:
        if not rows or sum(label.width + 5 for label in [*rows[-1], chip]) > 400:
            rows.append([])
        rows[-1].append(chip)
    return rows
