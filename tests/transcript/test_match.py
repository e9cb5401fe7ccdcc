"""Comparison of outputs with the expected text: masks, ellipses, patterns, diffs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.transcript.match import as_expected, diff, line_matches, masked, matches

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("mask", "line", "result"),
    [
        ("pid", "bash 7128, child 42 of 1", "bash <pid>, child <pid> of 1"),
        ("pid", "1", "1"),
        ("pid", "bash(28207)---sleep(28209)", "bash(<pid>)---sleep(<pid>)"),
        ("pid", "10:15 1.25 v12 -m100 12345678", "10:15 1.25 v12 -m100 12345678"),
        ("time", "Feb05 03:21 0:00 00:00:01", "<time> <time> <time> <time>"),
        ("time", "2024-05-01 took 1.5s and 20ms", "<time> took <time> and <time>"),
        ("inode", "pid:[4026531836] 4026532201 7128", "pid:[<inode>] <inode> 7128"),
        ("number", "12.5 apples, 3 pears", "<number> apples, <number> pears"),
        ("blank", "a   b\t c  ", "a b c"),
    ],
)
def test_masks(mask: str, line: str, result: str) -> None:
    """Each mask replaces what it is named after, and nothing else."""
    assert masked(line, [mask]) == result


@pytest.mark.parametrize(
    ("expected", "actual", "fits"),
    [
        ("same", "same", True),
        ("same", "Same", False),
        ("a ... z", "a to z", True),
        ("a ... z", "a to y", False),
        ("... pts/0 ... ps", "    12 pts/0 00:00:00 ps", True),
        ("[0-9]+ (re)", "123", True),
        ("[0-9]+ (re)", "123x", False),
        ("[broken (re)", "[broken", False),
        ("file*.? (glob)", "file12.c", True),
        ("file[1]* (glob)", "file[1]x", True),
        ("file* (glob)", "a file", False),
        ("a\\tb\\xe9 (esc)", "a\tb\udce9", True),
        ("no newline (no-eol)", "no newline", True),
        ("literal (re)", "literal (re)", True),
    ],
)
def test_lines(expected: str, actual: str, fits: bool) -> None:
    """A line matches literally or by a pattern."""
    assert line_matches(expected, actual) is fits


@pytest.mark.parametrize(
    ("expected", "actual", "fits"),
    [
        ("", "", True),
        ("", "a", False),
        ("a b", "a b", True),
        ("...", "", True),
        ("... z", "a b z", True),
        ("a ... z", "a z", True),
        ("a ... b ... z", "a b b c z", True),
        ("a ... b ... z", "a c z", False),
        ("a ...", "b a", False),
        ("... a b", "a a b", True),
    ],
)
def test_ellipses(expected: str, actual: str, fits: bool) -> None:
    """A line of three dots matches any number of lines."""
    assert matches(expected.split(), actual.split()) is fits


@given(st.lists(st.sampled_from(["a", "b", "..."]), max_size=8), st.lists(st.sampled_from(["a", "b"]), max_size=8))
def test_ellipses_like_a_pattern(expected: list[str], actual: list[str]) -> None:
    """They match the same as a regular expression over the lines."""
    import re

    pattern = "".join(".*" if line == "..." else line for line in expected)
    assert matches(expected, actual) == (re.fullmatch(pattern, "".join(actual)) is not None)


@given(st.lists(st.text(max_size=8).filter(lambda line: "..." not in line and "…" not in line and "(" not in line)))
def test_diff_of_equal_outputs(lines: list[str]) -> None:
    """The diff is empty, and the expected lines are kept."""
    assert diff(lines, lines) == ""
    assert as_expected(lines, lines, ()) == lines


def test_diff_shows_what_differs() -> None:
    """The diff is masked; lines that matched by a pattern appear as expected."""
    text = diff(["a ... z", "7128", "same", "old"], ["a to z", "4711", "same", "new"], ["pid"])
    assert text.splitlines() == ["--- expected", "+++ actual", " <pid>", " same", "-old", "+new"]
