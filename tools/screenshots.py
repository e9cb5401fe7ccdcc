"""Execute a notebook in JupyterLab, in a headless Chromium, and write a picture of each cell to `docs/pictures`.

This needs `jupyterlab`, `playwright` and `pillow` from PyPI besides what the tests need, and a Chromium: that of the
machine, or that of playwright. The server runs in new namespaces, with a small tree of processes. With --all, every
cell is pictured in every view, to look at them.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import nsbox
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "docs" / "pictures"
CELLS = {
    "": "%load_ext nsbox\nimport nsbox\nfrom nsbox import quiz",
    "shell": "%%unshare -mipf --name lab\necho $$\nmount -t proc none /proc\nps -e\nsleep 600 &",
    "broken": "%%unshare -mip\necho $$\nuname\nuname",
    "tree": "%pstree -S lab",
    "compare": "nsbox.compare(lab)",
    "table": "%lsns lab",
    "processes": "%ps lab",
    "plan": "%explain unshare -mipf --mount-proc",
    "diff": "with nsbox.observe(of=lab) as seen:\n    lab.run('sleep 500 &')\nseen.diff",
    "diff-tree": "seen.diff.tree",
    "mounts": "nsbox.mounts(lab)",
    "question": "answer = (lab.pid, 1)\nquiz.check(answer, quiz.numbers(lab))",
    "nested": 'a = nsbox.Box("mipu", hostname="a")\nb = a.Box("mipun", hostname="b")\nc = b.Box("mip")\n'
    'running = [box.Popen(["sleep", "900"]) for box in (a, b, c)]\nnsbox.pstree(a)',
    "networks": 'hosts = {f"host{number}": nsbox.Box("n") for number in range(5)}\n'
    "lan = nsbox.connect(*hosts.values())\nnsbox.networks(**hosts)",
    "doctor": "%nsdoctor",
    # This is the last cell: no cell is executed after an error.
    "error": 'def build():\n    nsbox.run(["make"], unshare="mip", root="/srv/image")\n\nbuild()',
}
"""The cells, by the name of their picture."""
MAX_HEIGHT_PIXELS = {"doctor": 425}
"""Pictures that show only the upper part of a cell."""


IS_CUT_OFF = """cell => [...cell.querySelectorAll(".jp-OutputArea-output")].some(
    output => output.scrollWidth > output.clientWidth + 1
)"""


class View(NamedTuple):
    """How the page is shown.

    Attributes:
        theme: The theme of JupyterLab.
        width: The width of the screen in pixels.
        zoom: How much larger everything is than usual.
        cells: The cells of which there is a picture in the docs.
    """

    theme: str
    width: int
    zoom: float
    cells: tuple[str, ...]


IN_DOCS = ("shell", "broken", "tree", "compare", "table", "plan", "question", "doctor", "error")
VIEWS = {
    "": View("light", 1280, 1, IN_DOCS),
    "-dark": View("dark", 1280, 1, ("compare", "nested")),
    "-small": View("light", 1024, 1.5, ("nested",)),
    "-small-dark": View("dark", 1024, 1.5, ()),
}
"""The views, by the end of the names of their pictures."""


def notebook() -> object:
    """Return the notebook."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def server(place: Path, token: str, user: int) -> tuple[nsbox.Popen, str]:
    """Start JupyterLab as a user in new namespaces; return its process and its address."""
    rights: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    command = [
        "python", "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", "--ip=127.0.0.1",
        "--expose-app-in-browser", "--LabApp.news_url=None", f"--IdentityProvider.token={token}",
    ]  # fmt: skip
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8", "HOME": str(place),
        "JUPYTER_CONFIG_DIR": str(place / "config"), "JUPYTER_DATA_DIR": str(place / "data"),
        "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
    }  # fmt: skip
    started = nsbox.Popen(
        command, executable=sys.executable, unshare="mipuC", mount_proc=True, hostname="workshop", cwd=place,
        env=environment, stdin=nsbox.DEVNULL, stderr=nsbox.PIPE, text=True,
        **rights,
    )  # fmt: skip
    assert started.stderr is not None
    lines = []
    for line in started.stderr:
        lines.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return started, found[0]
    raise SystemExit(f"JupyterLab has not started:\n{''.join(lines)}")


def photograph(page: Any, address: str, token: str, into: Path, end: str, cells: Container[str]) -> None:
    """Execute the notebook in a page, and take a picture of these cells."""
    page.goto(f"{address}lab/tree/cells.ipynb?token={token}")
    page.wait_for_function("window.jupyterapp && window.jupyterapp.shell.currentWidget?.context?.isReady")
    page.wait_for_selector(".jp-Cell")
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    page.wait_for_function("window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status == 'idle'")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    # A cell that has been executed has a number.
    for number, cell in enumerate(page.locator(".jp-Notebook .jp-Cell").all(), 1):
        cell.locator(".jp-InputPrompt", has_text=f"[{number}]:").wait_for(timeout=60_000)
    page.wait_for_timeout(1000)
    # Jupyter shows buttons on the active cell, so select one that is not pictured.
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
    for name, cell in zip(CELLS, page.locator(".jp-Notebook .jp-Cell").all(), strict=True):
        box = cell.bounding_box()
        if cell.evaluate(IS_CUT_OFF):
            print(f"jupyter-{name}{end}: a part is only visible after scrolling", file=sys.stderr)
        if name in cells and box:
            clip = {**box, "height": min(box["height"], MAX_HEIGHT_PIXELS.get(name, math.inf))}
            picture = Image.open(io.BytesIO(page.screenshot(clip=clip)))
            # A palette would lose the colours of small squares.
            picture.convert("RGB").save(into / f"jupyter-{name}{end}.png", optimize=True)


def take(end: str, cells: Container[str], into: Path, user: int) -> None:
    """Start a server and a browser, and take the pictures of one view."""
    view, token = VIEWS[end], secrets.token_hex()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        nbformat.write(notebook(), place / "cells.ipynb")
        settings = place / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "JupyterLab {view.theme.title()}"}}')
        for path in (place, *place.rglob("*")) if user else ():
            os.chown(path, user, user)
        process, address = server(place, token, user)
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                # All cells are in the window, as JupyterLab draws no others.
                size = {"width": round(view.width / view.zoom), "height": 9000}
                page = browser.new_page(viewport=size, device_scale_factor=view.zoom)
                photograph(page, address, token, into, end, cells)
                browser.close()
        finally:
            process.kill()
            process.communicate()


def main() -> None:
    """Take the pictures of all views."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=PLACE, help="the directory; default: docs/pictures")
    parser.add_argument("--all", action="store_true", help="every cell in every view, not only those in the docs")
    parser.add_argument("--user", type=int, default=0, help="the user who runs JupyterLab; default: root")
    options = parser.parse_args()
    for end, view in VIEWS.items():
        if cells := (tuple(CELLS)[1:] if options.all else view.cells):
            take(end, cells, options.into, options.user)


if __name__ == "__main__":
    main()
