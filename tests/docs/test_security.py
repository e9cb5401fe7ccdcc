"""docs/security.md names tests, which exist, and each file of attacks is named there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
NAMED = re.findall(r"\[(test_\w+)\]\(\.\./([\w/.]+)\)", PAGE.read_text())


@pytest.mark.parametrize(("name", "file"), NAMED)
def test_each_test_exists(name: str, file: str) -> None:
    """The file has a test of this name."""
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_each_line_has_a_test() -> None:
    """No attack is listed without a test that shows what the line says."""
    section = PAGE.read_text().partition("## What is held")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    assert all("](../tests/" in row for row in rows)


def test_what_is_not_held_is_asserted() -> None:
    """A test whose name says that it documents something is in the table."""
    found = {
        name
        for file in (ROOT / "tests" / "attacks").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+_documented)\(", file.read_text(), re.MULTILINE)
    }
    assert found
    assert found <= {name for name, _ in NAMED}
