"""Execute a notebook in JupyterLab, in a headless Chromium, and write a picture of each cell to `docs/pictures`.

This needs `jupyterlab`, `playwright` and `pillow` from PyPI, and a `chromium`. The server runs in new namespaces, with
a small tree of processes.
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
from pathlib import Path
from typing import Any

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
    "plan": "%explain unshare -mipf --mount-proc",
    "question": "answer = (lab.pid, 1)\nquiz.check(answer, quiz.numbers(lab))",
    "doctor": "%nsdoctor",
    # This is the last cell: no cell is executed after an error.
    "error": 'def build():\n    nsbox.run(["make"], unshare="mip", root="/srv/image")\n\nbuild()',
}
"""The cells, by the name of their picture."""
MAX_HEIGHT_PIXELS = {"doctor": 425}
"""Pictures that show only the upper part of a cell."""


def notebook() -> object:
    """Return the notebook."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def server(place: Path, token: str) -> tuple[nsbox.Popen, str]:
    """Start JupyterLab in new namespaces; return its process and its address."""
    command = [
        "python", "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", "--ip=127.0.0.1",
        "--expose-app-in-browser", "--LabApp.news_url=None", f"--IdentityProvider.token={token}",
    ]  # fmt: skip
    environment = {
        "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(place), "JUPYTER_CONFIG_DIR": str(place / "config"),
        "JUPYTER_DATA_DIR": str(place / "data"), "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
    }  # fmt: skip
    started = nsbox.Popen(
        command, executable=sys.executable, unshare="mipuC", mount_proc=True, hostname="workshop", cwd=place,
        env=environment, stdin=nsbox.DEVNULL, stderr=nsbox.PIPE, text=True,
    )  # fmt: skip
    assert started.stderr is not None
    for line in started.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return started, found[0]
    raise SystemExit("JupyterLab has not started")


def photograph(page: Any, address: str, token: str, into: Path) -> None:
    """Execute the notebook in a page, and take a picture of each cell."""
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
        if name and box:
            clip = {**box, "height": min(box["height"], MAX_HEIGHT_PIXELS.get(name, math.inf))}
            picture = Image.open(io.BytesIO(page.screenshot(clip=clip)))
            picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(
                into / f"jupyter-{name}.png", optimize=True
            )


def main() -> None:
    """Start the server, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=PLACE, help="the directory; default: docs/pictures")
    parser.add_argument("--theme", choices=["light", "dark"], default="light", help="the colours of JupyterLab")
    options = parser.parse_args()
    token = secrets.token_hex()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        nbformat.write(notebook(), place / "cells.ipynb")
        settings = place / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "JupyterLab {options.theme.title()}"}}')
        process, address = server(place, token)
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                photograph(browser.new_page(viewport={"width": 1080, "height": 5000}), address, token, options.into)
                browser.close()
        finally:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    main()
