"""The pictures, from made-up records: what is in them, where it is, for any name."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.records.comparison import Pair
from nsbox.records.processes import NamespaceIds, Process
from nsbox.seeing.compare import Comparison
from nsbox.seeing.tree import ProcessTree
from nsbox.views.legend import MARKS
from nsbox.views.palette import GREY, INK, KIND_STYLES, PAPER, SLATE
from nsbox.views.svg import MONO, measure

from tests.support.pages import SVG, drawing, frames, texts
from tests.support.records import HOST, names, process, trees

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parent.parent.parent
BOX = HOST._replace(mount=22, ipc=44, pid=33)
MANY = [process(1, 0, "init")]
MANY += [process(pid, 1, "shell") for pid in range(2, 30)]
MANY += [process(100 + pid, pid, "job") for pid in range(2, 30)]


def picture(processes: list[Process], root: int | None = None, **options: Any) -> Any:
    return drawing(ProcessTree(processes, root=root).svg(**options))


def test_pictures_of_the_docs() -> None:
    subprocess.run([sys.executable, str(ROOT / "tools" / "pictures.py"), "--check"], check=True, timeout=60)


@given(trees(), st.sampled_from([None, True, False]), st.integers(100, 2000))
def test_any_processes(processes: list[Process], compact: bool | None, width: int) -> None:
    """The picture is valid; boxes are nested or apart; and it is the same the next time."""
    tree = ProcessTree(processes)
    marks = dict(zip((one.identity for one in processes), itertools.cycle(MARKS), strict=False))
    document = tree.svg(compact=compact, marks=marks, width=width)
    boxes = frames(drawing(document))
    for one, other in itertools.combinations(boxes, 2):
        assert one.holds(other) or other.holds(one) or one.misses(other)
    assert tree.svg(compact=compact, marks=marks, width=width) == document


@given(names)
def test_any_name(name: bytes) -> None:
    """The name is in the picture, as far as XML allows its characters."""
    shown = name.decode("utf-8", "surrogateescape")
    found = texts(picture([process(1, 0, name)]))
    if shown.isprintable() and shown.strip() == shown and "  " not in shown:
        assert (shown or '""') in found
    else:
        assert any(re.search(r"\\x|\N{NO-BREAK SPACE}", text) for text in found)


@given(trees())
def test_every_process_is_counted(processes: list[Process]) -> None:
    """Each is drawn alone, in a group, or counted among those left out."""
    root = picture(processes, compact=True)
    drawn = [element.text or "" for element in root.iter(SVG + "text") if element.get("font-size") == "12"]
    groups = sum(int(text[:-1]) for text in drawn if re.fullmatch(r"\d+\N{MULTIPLICATION SIGN}", text))
    single = sum(text.isdecimal() for text in drawn)
    threads = sum(
        bool(thread.changes) for node in ProcessTree(processes).walk() for thread in node.children if thread.thread
    )
    assert groups + single == len(processes) + threads


def test_boxes_where_namespaces_change() -> None:
    processes = [
        process(1, 0, "init"), process(2, 1, "unshare", namespaces=HOST._replace(mount=22, ipc=44)),
        process(3, 2, "bash", namespaces=BOX, pids=(3, 1)), process(4, 3, "ps", namespaces=BOX, pids=(4, 2)),
    ]  # fmt: skip
    root = picture(processes)
    outer, inner, innermost = frames(root)
    assert outer.holds(inner)
    assert inner.holds(innermost)
    found = texts(root)
    assert [text for text in found if text in ("ipc 44", "mount 22", "pid 33")] == ["ipc 44", "mount 22", "pid 33"]
    assert found[found.index("bash") - 1 : found.index("bash") + 3] == ["1", "bash", "init", "outside 3"]
    assert found[found.index("ps") - 1 : found.index("ps") + 2] == ["2", "ps", "outside 4"]
    assert {f"{kind} namespace" for kind in ("pid", "mount", "ipc")} == {t for t in found if t.endswith(" namespace")}


def pill(root: Any, text: str) -> dict[str, str]:
    """Return the attributes of the pill behind a text: it is drawn right before."""
    elements = list(root)
    (at,) = (number for number, element in enumerate(elements) if element.text == text)
    return dict(elements[at - 1].attrib)


def test_a_zombie_is_hollow() -> None:
    gone = NamespaceIds(user=1, pid=3)
    root = picture([process(1, 0, "init"), process(42, 1, "late", state="Z", namespaces=gone), process(43, 1, "well")])
    assert pill(root, "42")["fill"] == PAPER
    assert pill(root, "43")["fill"] == SLATE
    assert "zombie" in texts(root)
    assert "?" not in texts(root)


def test_joined_is_not_new() -> None:
    """A second box in the same namespace is marked as joined."""
    own = HOST._replace(net=66)
    processes = [process(1, 0, "init"), process(2, 1, "made", namespaces=own), process(3, 1, "joined", namespaces=own)]
    chips = [
        before.attrib["fill"]
        for before, element in itertools.pairwise(picture(processes))
        if element.text == "net 66"
    ]  # fmt: skip
    assert chips == [KIND_STYLES["net"].colour, PAPER]


def test_unknown_is_said() -> None:
    root = picture([process(1, 0, "init"), process(2, 1, "secret", namespaces=NamespaceIds())])
    found = texts(root)
    assert found[found.index("secret") + 1] == "?"
    assert not frames(root)


def test_one_box_is_one_frame() -> None:
    """A process whose namespaces are unknown is in the box that all below it are in, which is one."""
    inside = [process(pid, 2, "inside", namespaces=BOX, pids=(pid, pid - 1)) for pid in (3, 4, 5)]
    init = process(2, 1, "secret", namespaces=NamespaceIds(), pids=(2, 1))
    root = picture([process(1, 0, "init"), init, *inside])
    found = texts(root)
    chips = {"mount 22 ?", "ipc 44 ?", "pid 33 ?"}
    # An outline for each kind.
    assert len(frames(root)) == len(chips)
    assert sorted(text for text in found if re.match(r"(mount|ipc|pid) \d", text)) == sorted(chips)
    assert max(map(found.index, chips)) < found.index("secret") < found.index("inside")
    assert found[found.index("secret") + 1 :][:3] == ["init", "outside 2", "?"]


def test_no_box_that_is_not_known() -> None:
    """A process whose PIDs show that it is outside is drawn outside, and boxes that differ are two."""
    inside = [process(3, 2, "inside", namespaces=HOST._replace(pid=33), pids=(3, 1))]
    unknown = process(2, 1, "secret", namespaces=NamespaceIds())
    found = texts(picture([process(1, 0, "init"), unknown, *inside]))
    assert found.index("secret") < found.index("pid 33")
    several = [process(pid, 2, "inside", namespaces=HOST._replace(net=pid)) for pid in (33, 44)]
    root = picture([process(1, 0, "init"), unknown, *several])
    assert len(frames(root)) == 2
    assert {"net 33", "net 44"} < set(texts(root))


def test_the_same_is_drawn_once() -> None:
    found = texts(picture(MANY))
    assert found[found.index("shell") - 1 : found.index("shell") + 2] == [
        "28\N{MULTIPLICATION SIGN}",
        "shell",
        "2 3 4 …",
    ]
    assert found[found.index("job") - 1] == "28\N{MULTIPLICATION SIGN}"
    assert texts(picture(MANY, compact=False)).count("shell") == 28


def test_a_mark_sets_apart() -> None:
    root = picture(MANY, marks={MANY[5].identity: "went"})
    found = texts(root)
    assert found.count("shell") == 2
    (struck,) = (one.text for one in root.iter(SVG + "text") if one.get("text-decoration"))
    assert struck == "shell"
    assert "\N{MINUS SIGN} gone" in found


def test_a_chain_longer_than_the_stack() -> None:
    found = texts(picture([process(pid, pid - 1) for pid in range(1, 3001)]))
    assert "… and 2959 more" in found


@pytest.mark.parametrize("count", [1000, 20_000])
def test_too_many_are_counted(count: int) -> None:
    """A picture stays small enough for a page."""
    crowd = [process(1, 0), *(process(pid, max(1, pid // 7), f"{pid % 97}") for pid in range(2, count + 1))]
    document = ProcessTree(crowd).svg()
    more = [int(found) for found in re.findall("… and (\\d+) more", document)]
    shown = [int(found) for found in re.findall("(\\d+)\N{MULTIPLICATION SIGN}</text>", document)]
    assert sum(more) + sum(shown) > count - 600
    assert len(document) < 600_000


@given(st.text(max_size=40), st.floats(8, 20))
def test_no_text_is_longer_than_measured(text: str, size: float) -> None:
    """Wide characters count as two columns (Unicode Standard Annex #11)."""
    assert measure(text, size, MONO) >= len(text) * size * 0.6
    assert measure("\N{HIRAGANA LETTER A}" * 3, size) == 2 * measure("aaa", size)


@pytest.mark.parametrize("colour", [*(kind.colour for kind in KIND_STYLES.values()), SLATE, GREY, INK,
                                    *(sign.colour for sign in MARKS.values())])  # fmt: skip
def test_contrast(colour: str) -> None:
    """Text has a contrast of at least 4.5 to 1 (WCAG 2.1, 1.4.3): the colours on white, and white on them."""

    def luminance(code: str) -> float:
        parts = [int(code[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert (luminance(PAPER) + 0.05) / (luminance(colour) + 0.05) >= 4.5


@given(trees(most=30), st.data())
def test_inside_and_outside(processes: list[Process], data: st.DataObject) -> None:
    """Every process in the box has one line with both PIDs."""
    inside = data.draw(st.sets(st.sampled_from(processes)))
    renumbered = {one.pid: number for number, one in enumerate(sorted(inside, key=lambda one: one.pid), 501)}

    def seen(one: Process) -> Process:
        return Process(**one._asdict() | {"pid": renumbered[one.pid], "ppid": renumbered.get(one.ppid, 0)})

    pairs = tuple(Pair(one, seen(one)) for one in processes if one in inside)
    others = tuple(one for one in processes if one not in inside)
    root = drawing(Comparison(1, HOST, BOX, pairs, others).svg())
    heights: dict[str, set[str]] = {}
    for element in root.iter(SVG + "text"):
        if element.get("font-size") == "12" and (element.text or "").isdecimal():
            heights.setdefault(element.text or "", set()).add(element.attrib["y"])
    for pair in pairs:
        assert heights[str(pair.inside.pid)] & heights[str(pair.outside.pid)]
