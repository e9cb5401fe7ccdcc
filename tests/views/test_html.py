"""Tables as HTML, from made-up records: the cells are those of the text, for any name."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.box.box import StepResult, Steps
from nsbox.command.explain import Explanation
from nsbox.diagnosis.doctor import Diagnosis
from nsbox.lessons import Adoption
from nsbox.records.diagnosis import Allowed, Answer, Trial
from nsbox.records.ipc import IpcObject
from nsbox.records.mountinfo import Mount
from nsbox.records.namespaces import NamespaceRecord
from nsbox.records.processes import Process
from nsbox.records.steps import ExplainedStep
from nsbox.seeing.ipc import IpcTable
from nsbox.seeing.mounts import MountTable
from nsbox.seeing.namespaces import NamespaceTable
from nsbox.seeing.processes import ProcessTable
from nsbox.views import grid, html
from nsbox.views.panel import Panel

from tests.support import records
from tests.support.pages import page

pytestmark = pytest.mark.pure

ROOT = {0: "root"}


def cells(part: str) -> list[list[str]]:
    """Return the texts of all cells."""
    root = page(part)
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]


def table(processes: list[Process]) -> ProcessTable:
    return ProcessTable(processes, boot=0.0, read_at=9000.0, memory=1 << 30, users=ROOT)


def test_processes() -> None:
    """The columns of ps, with the recorded name of the user."""
    one = records.process(7, 1, "sh", cmdline=(b"sh", b"-c", b"a  <b>\t&"), pids=(7, 2), rss=1 << 20, vsize=2 << 20)
    head, row = cells(table([one]).html())
    assert " ".join(head) == "USER PID INSIDE PPID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"
    assert row[:9] == ["root", "7", "2", "1", "0.0", "0.0", "2048", "1024", "?"]
    assert row[-1] == "sh -c a\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}<b>?&"


def test_namespaces() -> None:
    """A square in the colour of the kind, and the tree."""
    namespaces = [
        NamespaceRecord(id=10, kind="pid", process_count=2, pid=1, ppid=0, uid=0, command=b"init"),
        NamespaceRecord(id=11, kind="mount", process_count=1, pid=5, ppid=1, uid=0, command=b"sh"),
    ]
    text = NamespaceTable(namespaces, users=ROOT).html()
    assert cells(text)[1:] == [
        ["10", "\N{BLACK SQUARE}\N{NO-BREAK SPACE}pid", "2", "1", "root", "init"],
        ["11", "\N{BLACK SQUARE}\N{NO-BREAK SPACE}mnt", "1", "5", "root", "└─sh"],
    ]
    assert [font.get("color") for font in page(text).iter("font")] == ["#0b5fb0", "#0a7a55"]


def test_panel() -> None:
    """Nothing is cut or broken; in a terminal the labels are aligned."""
    panel = Panel("problem", "<b> failed", (("why", "a & b " * 60), ("", "two\nlines")))
    (title,), (label, text), (_, lines) = cells(panel.html())
    assert title == "\N{BLACK SQUARE}\N{NO-BREAK SPACE}<b> failed"
    assert (label, text, lines) == ("why", "a & b " * 60, "twolines")
    assert [font.get("color") for font in page(panel.html()).iter("font")] == ["#b3261e"]
    assert str(panel).split("\n")[-2:] == ["       two", "       lines"]
    assert max(map(len, str(panel).split("\n"))) <= 100


def test_diagnosis() -> None:
    """The verdict, the kinds that are available, and every answer in full with its remedy."""
    no = Allowed(Trial(False, "clone", "seccomp", "EPERM", "ask"), Trial(False))
    answers = (Answer(1, "Is it?", "problem", "no " * 80, "do <this>"), Answer(2, "And that?", "fine", "yes"))
    evidence: Any = None
    found = Diagnosis(("docker",), answers, {"user": no}, {}, no, evidence)
    rows = cells(found.html())
    assert [row[1:] for row in rows[1:3]] == [
        ["\N{BLACK SQUARE}\N{NO-BREAK SPACE}no: clone", "\N{BLACK SQUARE}\N{NO-BREAK SPACE}no: not in this kernel"]
    ] * 2
    assert rows[4][3].replace("no", "").strip() == "next: do <this>"
    assert rows[4][3].count("no") == 80
    assert found.verdict in "".join(page(found.html()).itertext())


def test_lessons() -> None:
    """A lesson is a paragraph with its lines."""
    lesson = Adoption(7, 5, 1)
    bundle = lesson._repr_mimebundle_()
    assert bundle["text/plain"] == str(lesson)
    assert "".join(page(bundle["text/html"]).itertext()) == str(lesson).replace("\n", "")


def test_steps() -> None:
    """Each step, and the reason of the one that failed."""
    steps = Steps([
        StepResult("mount proc", "init", 'mount("proc")', "mount(2)", "for ps", 0, 12.3),
        StepResult("hostname", "init", "sethostname()", "sethostname(2)", "to have one", 1),
    ])  # fmt: skip
    assert [row[0] for row in cells(steps.html())[1:]] == [
        "\N{BLACK SQUARE}\N{NO-BREAK SPACE}done", "\N{BLACK SQUARE}\N{NO-BREAK SPACE}Operation not permitted"
    ]  # fmt: skip
    assert "12 us" in cells(steps.html())[1]
    assert str(steps).splitlines()[0].endswith("= 0 <12 us>")


@given(st.lists(records.names, max_size=5))
def test_any_name(names: list[bytes]) -> None:
    """Any name keeps the rows and cells."""
    processes = [records.process(number, 0, name) for number, name in enumerate(names, 1)]
    assert [len(row) for row in cells(table(processes).html())] == [12] * (1 + len(names))


@given(st.lists(records.mounts, max_size=3), st.lists(records.namespaces, max_size=3),
       st.lists(records.ipc_objects, max_size=3))  # fmt: skip
def test_any_record(mounts: list[Mount], namespaces: list[NamespaceRecord], objects: list[IpcObject]) -> None:
    """In text, every row has the width of the head; in HTML it is a row."""
    users = dict.fromkeys(range(13), "user")
    for shown, count in (
        (MountTable(mounts), len(mounts)),
        (NamespaceTable(namespaces, users=users), len(namespaces)),
        (IpcTable(objects, users=users), len(objects)),
    ):
        bundle = shown._repr_mimebundle_()
        assert bundle.keys() == {"text/plain", "text/html"}
        assert len(cells(bundle["text/html"])) == 1 + count
        assert all(char.isprintable() or char == "\n" for char in bundle["text/plain"])


def test_notes_and_too_many_rows() -> None:
    """A page is limited in size, and states what is left out."""
    rows = [grid.Row([str(number)]) for number in range(html.MAX_ROWS + 7)]
    found = cells(html.table([grid.Column("N")], rows, notes=["<note>"]))
    assert found[-3:] == [[str(html.MAX_ROWS - 1)], ["… and 7 more"], ["<note>"]]
    assert len(found) == html.MAX_ROWS + 3


def test_several_lines_and_long_ones() -> None:
    """A column declared as multi-line has lines; elsewhere a newline is escaped."""
    columns = [grid.Column("A", wrap=True), grid.Column("B")]
    root = page(html.table(columns, [grid.Row(["x\ny", "x\ny"]), grid.Row(["z" * 200, None])]))
    first, second = list(root.iter("tr"))[1:]
    assert ET.tostring(first[0]).startswith(b'<td align="left"><div align="left">x<br />y')
    assert "".join(first[1].itertext()) == "x\\x0ay"
    assert "".join(second[0].itertext()) == "z" * 159 + "…"
    assert not "".join(second[1].itertext())


def test_long_words_can_be_broken() -> None:
    """Long flags of a system call can be wrapped, so that the table is not wider than the page."""
    (cell,) = page(html.table([grid.Column("CALL")], [grid.Row(["f(A|B|C)"])])).iter("td")
    assert "".join(cell.itertext()) == "f(A|B|C)"
    assert len(list(cell.iter("wbr"))) == 2


@pytest.mark.parametrize("shown", [table([]), NamespaceTable([]), MountTable([]), IpcTable([], ["mqueue"]), Steps()],
                         ids=lambda shown: type(shown).__name__)  # fmt: skip
def test_empty_tables(shown: ProcessTable | NamespaceTable | MountTable | IpcTable | Steps) -> None:
    """An empty table has only a head."""
    assert len(cells(shown.html())) == 1 + isinstance(shown, IpcTable)


def test_an_explanation() -> None:
    """Its steps, and the closest command."""
    steps = (ExplainedStep(0, "init", "mount proc", "mount(<...>)", "mount -t proc", "mount(2)", "for ps", 13),)
    shown = Explanation("run <it>", steps, command="unshare -m", notes=("mind & think",))._repr_mimebundle_()
    assert page(shown["text/html"])[0][0].text == "run <it>"
    assert cells(shown["text/html"])[1:] == [
        ["0", "init", "mount proc", "mount(<...>)", "mount -t proc", "failed: Permission denied", "for ps: mount(2)"],
    ]
    assert [one.text for one in page(shown["text/html"]).iter("p")][1:] == ["As a command: unshare -m", "mind & think"]
