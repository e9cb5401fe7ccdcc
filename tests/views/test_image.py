"""Pictures on pages and on paper: colours of both themes, legends, sizes, texts for screen readers, PNG."""

from __future__ import annotations

import base64
import re
import struct
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nsbox.box.networks import Networks
from nsbox.errors import SpecError, UnsupportedError
from nsbox.records.comparison import Pair
from nsbox.records.networks import InterfaceRecord, NetworkRecord
from nsbox.records.processes import Process
from nsbox.seeing.compare import Comparison
from nsbox.seeing.tree import ProcessTree
from nsbox.views import mime
from nsbox.views.palette import AMBER, DARK, EDGE, GREEN, GREY, INK, KIND_STYLES, LINE, PAPER, RED, SLATE

from tests.support.pages import SVG, Rect, drawing, extent, frames, image, texts
from tests.support.records import HOST, process, trees

pytestmark = pytest.mark.pure

BOX = HOST._replace(mount=4026532281, ipc=4026532282, pid=4026532283)
BLACK = "#000000"


def boxed(*below: Process) -> ProcessTree:
    first = [process(1, 0, "init"), process(2, 1, "bash"), process(3, 2, "sh", namespaces=BOX, pids=(3, 1))]
    return ProcessTree([*first, *below])


def compared() -> Comparison:
    outside, inside = process(3, 1, "sh", pids=(3, 1)), process(1, 0, "sh")
    return Comparison(3, HOST, BOX, (Pair(outside, inside),), (process(1, 0, "init"),))


def cable(name: str, peer: str, peer_in: str, number: int = 1) -> InterfaceRecord:
    address = f"10.0.0.{number}/24"
    return InterfaceRecord(
        name, 2, kind="veth", up=True, carrier=True, addresses=(address,), peer=peer, peer_in=peer_in
    )  # fmt: skip


def star(count: int) -> Networks:
    """Hosts at a switch; the first one has a cable to somewhere else as well."""
    hosts = [
        NetworkRecord(f"host{number}", 100 + number, 200 + number, (cable("eth0", f"port{number}", "lan", number),))
        for number in range(1, count)
    ]
    first = NetworkRecord("host0", 100, 200, (cable("eth0", "port0", "lan"), cable("eth1", "x", "")))
    ports = tuple(cable(f"port{number}", "eth0", f"host{number}") for number in range(count))
    return Networks([first, *hosts, NetworkRecord("lan", 99, None, ports, is_switch=True)])


def chain(count: int) -> Networks:
    """Routers in a row, each with a cable to the next one."""
    cables: list[list[InterfaceRecord]] = [[] for _ in range(count)]
    for number in range(count - 1):
        cables[number].append(cable("right", "left", f"router{number + 1}", number))
        cables[number + 1].append(cable("left", "right", f"router{number}", number))
    return Networks(NetworkRecord(f"router{one}", one, one, tuple(ends)) for one, ends in enumerate(cables))


PICTURES: dict[str, mime.Picture] = {
    "tree": boxed(process(4, 3, "ps", namespaces=BOX, pids=(4, 2))), "comparison": compared(), "networks": star(3),
}  # fmt: skip


@pytest.fixture(params=PICTURES)
def shown(request: pytest.FixtureRequest) -> mime.Picture:
    return PICTURES[request.param]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.1, contrast ratio)."""

    def luminance(code: str) -> float:
        parts = [int(code[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def mixed(colour: str, share: float, paper: str) -> str:
    """Return a colour that is painted over another one with this opacity."""
    pairs = [(int(colour[at : at + 2], 16), int(paper[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(share * one + (1 - share) * other):02x}" for one, other in pairs)


KINDS = [kind.colour for kind in KIND_STYLES.values()]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_of_themes(theme: str) -> None:
    """Text on paper, in boxes of namespaces, and on pills (WCAG 2.1, 1.4.3); lines (1.4.11)."""
    of = {colour: colour if theme == "light" else dark for colour, dark in DARK.items()}
    paper = of[PAPER]
    for colour in (*KINDS, INK, SLATE, GREY, GREEN, RED, AMBER):
        assert contrast(of[colour], paper) >= 4.5, colour
    for kind in KINDS:
        within = mixed(of[kind], 0.07, paper)
        for colour in (INK, SLATE, GREY, GREEN, RED, AMBER, kind):
            assert contrast(of[colour], within) >= 4.2, (kind, colour)
    assert contrast(of[LINE], paper) >= 3
    assert contrast(of[EDGE], paper) < 3  # It is for the eye only.


def test_squares_in_tables_are_seen_in_both_themes() -> None:
    """They have one colour, as tables have no style (WCAG 2.1, 1.4.11)."""
    for colour in (*KINDS, GREEN, RED, AMBER):
        assert contrast(colour, PAPER) >= 3
        assert contrast(colour, BLACK) >= 3


def test_themes(shown: mime.Picture) -> None:
    """Without the style it is the light picture; the dark one has no light paper, and no style."""
    auto, light, dark = (shown.svg(theme=theme) for theme in ("auto", "light", "dark"))
    assert re.sub("<style>.*</style>\n", "", auto) == light
    assert "<style>" in auto
    assert "<style>" not in dark
    assert not set(re.findall("#[0-9a-f]{6}", dark)) & (DARK.keys() - set(DARK.values()))
    assert texts(drawing(dark)) == texts(drawing(auto))
    for wrong in ("Dark", "", None):
        with pytest.raises(SpecError, match="theme: expected 'auto', 'light' or 'dark'"):
            shown.svg(theme=wrong)  # type: ignore[arg-type]


def test_a_name_that_looks_like_a_colour() -> None:
    """Colours are replaced in attributes only."""
    name = f' fill="{PAPER}"'
    assert name.strip() in " ".join(texts(drawing(boxed(process(9, 1, name)).svg(theme="dark")))).replace("\xa0", " ")


def test_texts_for_screen_readers() -> None:
    found = {name: drawing(one.svg()) for name, one in PICTURES.items()}
    said = {name: (root.findtext(SVG + "title"), root.findtext(SVG + "desc")) for name, root in found.items()}
    assert said["tree"] == (
        "Tree of 4 processes below 1 init",
        "sh, PID 3, inside 1: in ipc and mount and pid namespaces of its own.",
    )
    assert said["comparison"] == (
        "1 processes seen from outside and from inside",
        "Namespaces of its own: ipc, mount, pid. sh has PID 3 outside and 1 inside.",
    )
    assert said["networks"][0] == "Networks of 3 boxes"
    assert (said["networks"][1] or "").startswith(
        "host0: eth0 10.0.0.1/24 is connected with lan; eth1 10.0.0.1/24 has its other end elsewhere. host1: "
    )
    many = ProcessTree([process(1, 0), *(process(pid, 1, namespaces=HOST._replace(net=pid)) for pid in range(50, 99))])
    assert (drawing(many.svg()).findtext(SVG + "desc") or "").endswith("And 29 more.")


def test_in_a_page(shown: mime.Picture) -> None:
    """It has its size at the font of JupyterLab, which is 14 pixels; it follows its theme, and is light on paper."""
    bundle = shown._repr_mimebundle_()
    root = image(bundle["text/html"])
    width = float(re.findall(r"width:([\d.]+)em", bundle["text/html"])[0]) * 14
    assert width == pytest.approx(float(root.attrib["width"]), rel=0.001)
    assert texts(root) == texts(drawing(bundle["image/svg+xml"]))
    assert bundle["text/plain"] == str(shown)
    style = bundle["text/html"].partition("</style>")[0]
    assert '[data-jp-theme-light="false"] .nsbox-picture{color-scheme:dark}' in style
    assert '[data-jp-theme-light="true"] .nsbox-picture{color-scheme:light}' in style
    assert re.search(r"@media print\{.*color-scheme:light;break-inside:avoid;max-height:95vh", style)


def test_names_in_a_page() -> None:
    """A name cannot end the attribute that has it."""
    name = '"><script>'
    tree = ProcessTree([process(1, 0), process(2, 1, name, namespaces=BOX)])
    page = tree._repr_mimebundle_()["text/html"]
    assert "script>" not in page
    image(page)


def size(data: bytes) -> tuple[int, ...]:
    """Return width and height of a PNG (Portable Network Graphics, sections 5.2 and 11.2.1)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[12:16] == b"IHDR"
    return struct.unpack(">II", data[16:24])


def test_png(shown: mime.Picture) -> None:
    """Notebooks have it too, as LaTeX takes nothing else."""
    picture = shown.drawn()
    for scale in (1, 2):
        width, height = size(shown.png(scale=scale))
        assert (width, height) == pytest.approx((picture.width * scale, picture.height * scale), abs=1.5)
    assert shown.png(theme="dark", scale=1) != shown.png(theme="light", scale=1) == shown.png(theme="auto", scale=1)
    assert base64.b64decode(shown._repr_mimebundle_()["image/png"]) == shown.png()
    with pytest.raises(SpecError, match="scale: expected a positive number, got 0"):
        shown.png(scale=0)


def test_png_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert PICTURES["tree"]._repr_mimebundle_().keys() == {"text/plain", "text/html", "image/svg+xml"}
    with pytest.raises(UnsupportedError, match=re.escape("pip install 'nsbox[png]'")):
        PICTURES["tree"].png()


def drawn_size(document: str) -> tuple[float, float]:
    root = drawing(document)
    return float(root.attrib["width"]), float(root.attrib["height"])


@settings(max_examples=40)
@given(trees(most=40), st.sampled_from([True, False]))
def test_legends(processes: list[Process], compact: bool) -> None:
    """The legend is smaller than the picture, and explains only what is in it."""
    tree = ProcessTree(processes)
    plain, document = tree.svg(compact=compact, legend=False), tree.svg(compact=compact)
    (width, height), (whole_width, whole_height) = drawn_size(plain), drawn_size(document)
    assert width == whole_width
    assert whole_height - height <= 0.75 * height
    without = texts(drawing(plain))
    legend = texts(drawing(document))[len(without) :]
    assert texts(drawing(document))[: len(without)] == without
    shown_kinds = {kind for kind in KIND_STYLES for text in without if re.search(rf"(^|\s){kind}( |$)", text)}
    assert {text.removesuffix(" namespace") for text in legend if text.endswith(" namespace")} <= shown_kinds
    assert ("zombie" in without) >= any("ended" in text for text in legend)
    assert any(text.startswith("?") for text in without) >= any("unknown" in text for text in legend)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_forms_of_legends(count: int) -> None:
    """A big picture has explanations, a small one short ones, a tiny one none."""
    below = [process(10 + number, 3, "sleep", namespaces=BOX, pids=(10 + number, number)) for number in range(count)]
    found = texts(drawing(boxed(*below).svg(compact=False)))
    assert ("PID 1: when it ends, everything in its PID namespace ends" in found) == (count == 30)
    assert ("PID 1" in found) == (count < 30)
    assert "pid namespace" in found
    assert texts(drawing(ProcessTree([process(1, 0, "init")]).svg())) == ["1", "init", "init"]


def holds_with_rounding(outer: Rect, inner: Rect) -> bool:
    return Rect(outer.left - 0.1, outer.top - 0.1, outer.right + 0.1, outer.bottom + 0.1).holds(inner)


@settings(max_examples=40)
@given(trees(most=40), st.integers(300, 1200))
def test_texts_are_inside_of_boxes(processes: list[Process], width: int) -> None:
    root = drawing(ProcessTree(processes).svg(width=width))
    boxes = frames(root)
    for text in root.iter(SVG + "text"):
        where = extent(text)
        middle = (where.top + where.bottom) / 2
        around = [box for box in boxes if box.holds(Rect(where.left, middle, where.left, middle))]
        for box in around:
            assert holds_with_rounding(box, where), text.text


def cards(root: Any) -> list[Rect]:
    found = []
    for element in root.iter(SVG + "rect"):
        if element.get("fill-opacity") == "0.05":
            x, y, width, height = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
            found.append(Rect(x, y, x + width, y + height))
    return found


@pytest.mark.parametrize("networks", [star(9), chain(9)], ids=["switch", "chain"])
def test_networks_in_two_rows(networks: Networks) -> None:
    """They are as wide as asked for, no card is on another one, and no line is on another one."""
    wide, narrow = drawing(networks.svg(width=3000)), drawing(networks.svg(width=1000))
    assert len({card.top for card in cards(wide)}) == 1
    assert float(narrow.attrib["width"]) < 1000
    rows = cards(narrow)
    assert len(rows) == 9
    assert len({card.top for card in rows}) == 2
    for number, one in enumerate(rows):
        assert all(one.misses(other) for other in rows[:number])
    assert sorted(texts(narrow)) == sorted(texts(wide))
    # Each line begins at a port: in the upper row at its lower edge, in the lower row at its upper edge.
    between = max(card.bottom for card in rows if card.top < 20), min(card.top for card in rows if card.top > 20)
    starts = [
        float(re.findall(r"M[\d.]+ ([\d.]+)", path.attrib["d"])[0])
        for path in narrow.iter(SVG + "path")
        if path.attrib["stroke"] != PAPER
    ]
    assert starts
    assert all(between[0] < start < between[1] for start in starts)


def test_networks_without_a_legend() -> None:
    with_note, without = (texts(drawing(star(3).svg(legend=legend))) for legend in (True, False))
    assert [text for text in with_note if text not in without] == ["? its other end is in a network that is not shown"]
    assert "?" in without
