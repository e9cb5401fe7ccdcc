"""Every block of Python in the README and the docs runs, and every command of nsbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.name)
def test_blocks_run(page: Path) -> None:
    """They run one after another, as a reader would type them."""
    program = "\n".join(BLOCK.findall(page.read_text()))
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, cwd="/")


FILE = re.compile(r"^```\w+ ([\w./-]+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""A block whose first line has a path after the language is a file, which the commands of its page find."""
COMMANDS = [
    pytest.param(page, line.partition("  #")[0], id=f"{page.name}: {line[:40]}")
    for page in PAGES
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("nsbox ")
]


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_run(page: Path, command: str, tmp_path: Path) -> None:
    """Each runs with the nsbox of this Python, in a directory with the files of its page, and its result is checked."""
    (tmp_path / "Makefile").write_text("check:\n\ttrue\n")
    for name, text in FILE.findall(page.read_text()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HOME": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path / "jupyter")}
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, cwd=tmp_path, env=environment)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_are_valid(page: Path) -> None:
    """Links to files of the project lead to existing files."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_paths_exist() -> None:
    """Each file and folder that docs/architecture.md names exists, below the root or in python/nsbox."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    for path in re.findall(r"`([\w.]+/[\w./]*?(?:\.\w+|/))`", text):
        assert (ROOT / path).exists() or (ROOT / "python" / "nsbox" / path).exists(), path
