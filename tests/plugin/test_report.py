"""What a marked test's process sends: everything that a test can put into a report arrives, at least as text."""

from __future__ import annotations

import contextlib
import os
import warnings
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.plugin.report import MAX_REPORT_BYTES, ReportError, packed, read_report, warning_from, warning_to
from nsbox.remote.encoding import encode

pytestmark = pytest.mark.pure


def read(data: bytes) -> dict[str, Any]:
    """Return what is read of a file with this content."""
    fd = os.memfd_create("test")
    try:
        os.write(fd, data)
        return read_report(fd)
    finally:
        os.close(fd)


class Silent:
    """Has no text."""

    def __repr__(self) -> str:
        raise ValueError("silent")


def test_properties() -> None:
    """Plain data arrives as it is, everything else as text."""
    cycle: list[Any] = []
    cycle.append(cycle)
    values = [1, 2.5, None, "text", [1, ("a", {"b": True})], Decimal(1), b"x", "\udcff", 1 << 100, Silent(), cycle]
    properties = [("name", value) for value in values]
    arrived = read(packed({"report": {"user_properties": properties}}))["report"]["user_properties"]
    assert arrived[:5] == properties[:5]
    assert [value for _, value in arrived[5:10]] == [
        "Decimal('1')", "b'x'", "\\udcff", str(1 << 100), "<Silent without a text: ValueError>",
    ]  # fmt: skip


class TwoWordsWarning(UserWarning):
    """Its constructor takes more than a text."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    ("message", "category"),
    [
        (FutureWarning("new"), FutureWarning),
        (pytest.PytestWarning("of pytest"), pytest.PytestWarning),
        (TwoWordsWarning("two", "words"), UserWarning),
    ],
)
def test_warnings(message: Warning, category: type[Warning]) -> None:
    """A warning keeps its text and its category, if that takes a text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(message, stacklevel=1)
    text, found, filename, lineno = warning_from(warning_to(caught[0]))
    assert (text, found) == (str(message), category)
    assert (filename, lineno) == (caught[0].filename, caught[0].lineno)


@pytest.mark.parametrize("name", ["no_such_module:Name", "os:system", "os:no_such_name", "", "builtins:int", ":", "os"])
def test_forged_categories(name: str) -> None:
    """A name that is no category of warnings is a UserWarning; nothing is imported or called."""
    assert warning_from(("text", name, "file", 1)) == ("text", UserWarning, "file", 1)


@given(st.binary(max_size=100))
def test_hostile_bytes(data: bytes) -> None:
    """Bytes are a dictionary of known parts or a ReportError."""
    with contextlib.suppress(ReportError):
        assert isinstance(read(data), dict)


def test_a_file_that_is_too_long() -> None:
    """It is not read."""
    fd = os.memfd_create("test")
    try:
        os.ftruncate(fd, MAX_REPORT_BYTES + 1)
        with pytest.raises(ReportError, match="at most"):
            read_report(fd)
    finally:
        os.close(fd)
    with pytest.raises(ReportError, match="warnings"):
        read(encode({"warnings": [("text", "category", "file", "line")]}))
