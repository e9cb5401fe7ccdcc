"""Compare output with the expected lines: masks, ellipses, diffs."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence

from nsbox.errors import SpecError

__all__ = ["ELLIPSES", "MASKS", "as_expected", "check_masks", "diff", "line_matches", "masked", "matches"]

ELLIPSES = ("...", "[...]", "…")
"""A line that matches any number of lines. Within a line, the first and the last one match any text."""

MASKS: dict[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    # PIDs of one digit are compared: lessons are about PID 1.
    "pid": ((re.compile(r"(?<![\w-])(?<!\d[.:,])\d{2,7}(?![\w-]|[.:,]\d)"), "<pid>"),),
    "time": (
        (re.compile(r"\b\d{4}-\d\d-\d\d\b|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ?\d{1,2}\b"), "<time>"),
        (re.compile(r"\b\d{1,3}:\d\d(?::\d\d)?(?:\.\d+)?\b|\b\d+(?:\.\d+)?m?s\b"), "<time>"),
    ),
    "inode": ((re.compile(r"(?<=:\[)\d+(?=\])|(?<![\w.])40265\d{5}(?![\w.])"), "<inode>"),),
    "number": ((re.compile(r"\d+(?:\.\d+)?"), "<number>"),),
    "blank": ((re.compile(r"[ \t]+"), " "), (re.compile(r" $"), "")),
}
"""What is not compared, by the name of the mask: PIDs of two and more digits, times and durations, inode numbers of
namespaces, all numbers, and the amount of blank between words."""

_SUFFIX = re.compile(r"^(.*) \((re|glob|esc|no-eol)\)$", re.DOTALL)


def check_masks(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of masks.

    Raises:
        SpecError: for an unknown name.
    """
    found = tuple(names)
    for name in found:
        if name not in MASKS:
            raise SpecError(f"mask: {name!r} is unknown; the masks are {', '.join(MASKS)}")
    return found


def masked(line: str, masks: Sequence[str]) -> str:
    """Return a line in which each part that a mask matches is replaced."""
    for name in masks:
        for pattern, replacement in MASKS[name]:
            line = pattern.sub(replacement, line)
    return line


def line_matches(expected: str, actual: str, masks: Sequence[str] = ()) -> bool:
    """Return whether a line matches the expected one: equal, by ``(re)`` or ``(glob)``, or by ellipses in it."""
    if expected == actual:
        return True
    if found := _SUFFIX.match(expected):
        text, kind = found.groups()
        match kind:
            case "re":
                try:
                    return re.fullmatch(text, actual) is not None
                except re.error:
                    return False
            case "glob":
                return re.match(fnmatch.translate(text.replace("[", "[[]")), actual) is not None
            case "esc":
                return _unescaped(text) == actual
            case "no-eol":
                expected = text
    expected, actual = masked(expected, masks), masked(actual, masks)
    parts = re.split(r"\.\.\.|…", expected)
    return re.fullmatch(".*".join(map(re.escape, parts)), actual) is not None


def _unescaped(text: str) -> str:
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1", "replace").decode(
        errors="surrogateescape"
    )  # fmt: skip


def matches(expected: Sequence[str], actual: Sequence[str], masks: Sequence[str] = ()) -> bool:
    """Return whether lines match the expected ones."""
    # The numbers of actual lines that the expected lines read so far can match.
    ends = {0}
    for line in expected:
        if line.strip() in ELLIPSES:
            ends = set(range(min(ends), len(actual) + 1)) if ends else ends
        else:
            ends = {end + 1 for end in ends if end < len(actual) and line_matches(line, actual[end], masks)}
    return len(actual) in ends


def diff(expected: Sequence[str], actual: Sequence[str], masks: Sequence[str] = ()) -> str:
    """Return the difference in the form of diff -u; masked parts are equal."""
    kept = as_expected(expected, actual, masks)
    before, after = ([masked(line, masks) for line in lines] for lines in (expected, kept))
    lines = difflib.unified_diff(before, after, "expected", "actual", lineterm="", n=2)
    return "\n".join(line for line in lines if not line.startswith("@@"))


def as_expected(expected: Sequence[str], actual: Sequence[str], masks: Sequence[str]) -> list[str]:
    """Return the actual lines; a line that matches an expected line is replaced by that one."""
    found: list[str] = []
    at = 0
    for line in actual:
        for index in range(at, len(expected)):
            if expected[index].strip() not in ELLIPSES and line_matches(expected[index], line, masks):
                found.append(expected[index])
                at = index + 1
                break
        else:
            found.append(line)
    return found
