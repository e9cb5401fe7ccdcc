"""Terminal sessions as tests of pytest."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.support.forked import Who
from tests.support.inner_pytest import Inner

PAGE = """
    ```console
    $ number=1
    $ unshare -mipf
    $ echo $$
    1
    $ echo wrong
    right
    $ exit
    $ echo $number
    1
    ```

    <!-- nsbox: skip -->
    ```console
    $ false
    ```
"""


@pytest.fixture
def inner(place: Path, who: Who) -> Inner:
    """A directory with a handout, as root and as an ordinary user."""
    inner = Inner(place, who)
    for name in ("page.md", "other.md"):
        (place / name).write_text(textwrap.dedent(PAGE))
    (place / "pytest.ini").write_text("[pytest]\nnsbox_transcripts = page.md\n")
    return inner


def test_steps(inner: Inner) -> None:
    """Each step is a test, with a diff instead of a traceback; only files named in the configuration are used."""
    result = inner.run("-rs")
    result.assert_outcomes(passed=5, failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["FAIL    7  echo wrong", "*-right", "*+wrong", "*line 16 of page.md is marked to be skipped"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_one_step(inner: Inner) -> None:
    """The steps before it are run as well, in parallel too."""
    inner.run("page.md", "-k", "number").assert_outcomes(passed=2, deselected=5)
    pytest.importorskip("xdist")
    if inner.starts_pythons():
        inner.run("-n", "2").assert_outcomes(passed=5, failed=1, skipped=1)
