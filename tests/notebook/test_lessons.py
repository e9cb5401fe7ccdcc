"""The notebooks in `notebooks/`: executed as root and as an ordinary user, and their committed outputs."""

from __future__ import annotations

import base64
import re
import runpy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter

from tests.support.census import reaped_all, wait_until
from tests.support.far import apart
from tests.support.forked import Who
from tests.support.notebook_kernel import Shown, kernel
from tests.support.pages import drawing, image, page

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.limit(600)]

ROOT = Path(__file__).parent.parent.parent
PLACE = ROOT / "notebooks"
NOTEBOOKS = sorted(PLACE.glob("*.ipynb"))
TOOL = runpy.run_path(str(ROOT / "tools" / "notebooks.py"))
ANSWER = re.compile(r"^(\s*answer = ).*$", re.MULTILINE)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def cells(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def bundles(notebook: Any) -> Iterator[dict[str, str]]:
    """Yield each displayed object of a notebook, but no printed text."""
    for cell in notebook.cells:
        yield from (output.data for output in cell.get("outputs", ()) if "data" in output)


def run(sources: list[str], place: Path) -> list[Shown]:
    """Execute cells in a kernel of the calling user."""
    with kernel(place) as running:
        return [running.run(source) for source in sources]


def run_all(many: dict[str, list[str]], place: Path) -> dict[str, list[Shown]]:
    """Execute several notebooks, two at a time."""
    for name in many:
        (place / name).mkdir()
    with ThreadPoolExecutor(2) as pool:
        jobs = {name: pool.submit(run, sources, place / name) for name, sources in many.items()}
        return {name: job.result() for name, job in jobs.items()}


def test_lessons(who: Who, place: Path) -> None:
    """No cell fails; every question is asked, and every answer is right; nothing is left."""
    many = {path.stem: cells(read(path)) for path in NOTEBOOKS}
    for name, all_shown in apart(who, place, partial(run_all, many, place)).items():
        for source, shown in zip(many[name], all_shown, strict=True):
            assert not shown.error, (name, source, shown.lines)
            if "check(answer" in source or "confirm(" in source:
                assert re.match("(right|confirmed): ", shown.data[-1]["text/plain"]), (name, source, shown)
            for bundle in shown.data:
                clean(bundle)
    assert wait_until(reaped_all)


def spoilt(source: str) -> str:
    return ANSWER.sub(r"\1object()", source)


def skipped(source: str) -> str:
    return "" if "mount -t proc" in source else source


@pytest.mark.parametrize(
    ("change", "words"), [(spoilt, "wrong answer: "), (None, "no answer yet")], ids=["wrong", "none"]
)
def test_wrong_answers(change: Callable[[str], str] | None, words: str, place: Path) -> None:
    """A wrong or missing answer, or a step not done, is noticed; the message names what to look at."""
    who = Who("root")
    notebook = read(NOTEBOOKS[0])
    sources = cells(TOOL["without_answers"](notebook) if change is None else notebook)
    sources = [skipped(source if change is None else change(source)) for source in sources]
    questions = [source for source in sources if "answer = " in source]
    assert len(questions) > 10
    for source, shown in zip(sources, apart(who, place, partial(run, sources, place)), strict=True):
        if "answer = " in source:
            assert shown.error == "WrongAnswerError", source
            assert words in shown.lines[0]
            assert "\n  next  " in shown.text
        if "assert_proc_matches, lab" in source:
            assert shown.error == "WrongAnswerError"
            assert "no proc was mounted" in shown.text
    assert wait_until(reaped_all)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs(path: Path) -> None:
    """The notebook is executed in order; its outputs pass sanitizers unchanged, and nbconvert's page has them all."""
    notebook = read(path)
    assert TOOL["problems"](notebook) == []
    shown = list(bundles(notebook))
    assert shown
    exported, _ = HTMLExporter().from_notebook_node(notebook)
    for bundle in shown:
        clean(bundle)
        if "image/svg+xml" in bundle:
            picture = base64.b64encode(bundle["image/svg+xml"].encode()).decode()
            assert picture in exported or bundle["image/svg+xml"].strip() in exported
        elif "text/html" in bundle:
            # nbconvert's pages have been through this parser.
            assert str(BeautifulSoup(bundle["text/html"], "html.parser")) in exported


def clean(bundle: dict[str, str]) -> None:
    """Look for anything that a sanitizer would remove."""
    if "image/svg+xml" in bundle:
        drawing(bundle["image/svg+xml"])
        image(bundle["text/html"])
    elif "text/html" in bundle:
        page(bundle["text/html"])
    assert bundle["text/plain"]


def test_links_between_lessons() -> None:
    """Each link leads to an existing notebook."""
    for path in NOTEBOOKS:
        text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert (PLACE / target).exists(), (path, target)
