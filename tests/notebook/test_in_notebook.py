"""All features of nsbox, in cells of real kernels with their dozen of threads, as root and as an ordinary user.

The cells are in `cells/`, one file per theme; a wrong result is an error in a cell. Nothing may be left behind.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import survivors
from tests.support.census import Census, reap_adopted
from tests.support.far import become, open_place
from tests.support.forked import Who
from tests.support.needs import needs

PROGRAM = Path(__file__).with_name("in_notebook.py")
THEMES = sorted(path.stem for path in PROGRAM.with_name("cells").glob("*.py"))
SHOWN = {
    "functions": "hello one\nfrom a program\nhello two\nfrom a program\nhello three\nfrom a program\n",
    "joining": "a thread can be started\n",
}
_LIMIT_SECONDS = 600


@pytest.fixture(
    scope="module",
    # Both users are tested in one process of xdist, so that the notebooks run once.
    params=[pytest.param(who, marks=pytest.mark.xdist_group(f"notebooks as {who}")) for who in ("root", "user")],
)
def notebooks(request: pytest.FixtureRequest, _prepared: None) -> Iterator[tuple[Who, dict[str, dict[str, str]]]]:
    """Run all notebooks as one user, and return the results."""
    who = Who(request.param)
    needs(who, "mipnu")
    before = Census.take()
    with open_place() as place, open_place() as work:
        # Write to a file: a process that is left behind and holds a pipe open would block this test.
        with (place / "output").open("w") as file:
            status = subprocess.run(
                [sys.executable, str(PROGRAM), str(work)], cwd="/", timeout=_LIMIT_SECONDS, check=False,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, preexec_fn=become(who, place),
            ).returncode  # fmt: skip
        text = (place / "output").read_text()
        assert status == 0, text
        assert survivors() == []
        reap_adopted()
        assert before.left_behind() == []
        yield who, json.loads(text.splitlines()[-1])


@pytest.mark.limit(_LIMIT_SECONDS)
@pytest.mark.parametrize("theme", THEMES)
def test_theme(notebooks: tuple[Who, dict[str, dict[str, str]]], theme: str) -> None:
    """No cell raises an error, and output from inside is shown below the cell."""
    who, found = notebooks
    assert not found[theme]["error"], found[theme]["error"]
    if theme in SHOWN and (theme != "joining" or who.is_root):
        assert found[theme]["printed"] == SHOWN[theme]
    if theme == "seeing":
        assert {"image/svg+xml", "text/plain"} <= set(found[theme]["kinds"].split())
