"""What a marked test's process sends: everything that a test can put into a report arrives, at least as text."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import traceback
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.plugin.channel import MAX_REPORT_BYTES, Channel, ReportError
from nsbox.plugin.exceptions import exception_from, exception_to, loaded_class
from nsbox.plugin.report import check, plain
from nsbox.remote.encoding import decode, encode

pytestmark = pytest.mark.pure


@pytest.fixture
def channel() -> Iterator[Channel]:
    """A channel of which this process is both ends."""
    channel = Channel()
    channel.own()
    yield channel
    channel.close()


def read(channel: Channel) -> list[Any]:
    """Return what arrives, as pytest's process reads it."""
    channel._at = struct.calcsize("=Q")
    return channel.read()


def overwrite(channel: Channel, data: bytes) -> None:
    """Write to the file as an attacker."""
    os.pwrite(channel._fd, data, 0)


class Silent:
    """Has no text."""

    def __repr__(self) -> str:
        raise ValueError("silent")


def test_properties(channel: Channel) -> None:
    """Plain data arrives as it is, everything else as text."""
    cycle: list[Any] = []
    cycle.append(cycle)
    values = [1, 2.5, None, "text", [1, ("a", {"b": True})], Decimal(1), b"x", "\udcff", 1 << 100, Silent(), cycle]
    for value in values:
        channel.send("property", "name", plain(value))
    arrived = [value for _, _, value in read(channel)]
    assert arrived[:5] == values[:5]
    assert arrived[5:10] == ["Decimal('1')", "b'x'", "\\udcff", str(1 << 100), "<Silent without a text: ValueError>"]


def test_records(channel: Channel) -> None:
    """They arrive in their order; what is sent later arrives with the next call."""
    channel.send("property", "a", 1)
    channel.send("done")
    assert read(channel) == [("property", "a", 1), ("done",)]
    channel.send("dropped", 3)
    at, channel._at = channel._at, struct.calcsize("=Q")
    assert channel.read()[2:] == [("dropped", 3)]
    assert channel._at == at


def test_only_the_owner_sends(channel: Channel) -> None:
    """A forked process, and one that does not own it, send nothing."""
    channel._owner = 0
    channel.send("done")
    assert read(channel) == []


def test_too_much(channel: Channel) -> None:
    """Records of less importance are left out and counted; others make the report too long."""
    text = "x" * (1 << 22)
    for _ in range(20):
        channel.send("section", "call", "key", text, droppable=True)
    assert channel.dropped == 13
    channel.send("property", "a", 1)
    assert read(channel)[-1] == ("property", "a", 1)
    for _ in range(20):
        channel.send("property", "a", text)
    with pytest.raises(ReportError, match="at most"):
        read(channel)


class PointsError(AssertionError):
    """Has points, and a constructor that takes something else."""

    def __init__(self, text: str, *, points: int) -> None:
        super().__init__(text)
        self.points = points
        self.other = object()

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.points} points"


class ObjectError(Exception):
    """Its text needs what is no data."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def __str__(self) -> str:
        return f"type {self.value.__class__.__name__}"


def chained() -> BaseException:
    """Return an exception with a cause and notes."""
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            error.add_note("a note")
            raise PointsError("outer", points=3) from error
    except PointsError as error:
        return error


EXCEPTIONS = [
    chained(), KeyError("a"), OSError(2, "no", "file", None, "other"), SystemExit(3), SystemExit(), KeyboardInterrupt(),
    UnicodeDecodeError("utf8", b"x", 0, 1, "r"), ExceptionGroup("g", [ValueError(1), PointsError("x", points=1)]),
    StopIteration(4), ImportError("x", name="n"), SyntaxError("bad", ("f", 1, 2, "t")), ObjectError(Decimal(1)),
    AttributeError("x", name="n"), subprocess.CalledProcessError(3, ["a"], b"out"), json.JSONDecodeError("m", "d", 1),
    pytest.skip.Exception("s"), pytest.fail.Exception("f"), pytest.xfail.Exception("x"), pytest.exit.Exception("e", 3),
    FutureWarning("w"), type("Own", (PointsError,), {})("own", points=2), ValueError(float("nan")),
    Exception(), GeneratorExit(),
]  # fmt: skip


@pytest.mark.parametrize("error", EXCEPTIONS, ids=lambda error: type(error).__name__)
def test_exceptions(error: BaseException) -> None:
    """An exception keeps its class, text, arguments, attributes, chain and places."""
    arrived = exception_from(decode(encode(exception_to(error))))
    assert type(arrived).__qualname__ == type(error).__qualname__
    assert isinstance(arrived, type(error).__mro__[1] if type(error).__name__ == "Own" else type(error))
    assert (str(arrived), repr(arrived)) == (str(error), repr(error))
    assert getattr(arrived, "points", None) == getattr(error, "points", None)
    assert type(arrived.__cause__) is type(error.__cause__)
    assert traceback.format_exception(arrived) == traceback.format_exception(error)


def test_long_chains() -> None:
    """Each exception is sent once: neither causes that are contexts too nor circles make many of a few."""
    error: Exception = ValueError(0)
    for number in range(1, 1000):
        other = KeyError(number)
        other.__cause__ = other.__context__ = error
        error = other
    error.__context__ = None
    one, two = ValueError(1), ValueError(2)
    one.__context__, two.__context__ = two, one
    group: Exception = one
    for _ in range(10):
        group = ExceptionGroup("same", [group, group])
    for each in (error, one, group, ExceptionGroup("many", [error, one, two])):
        data = encode(exception_to(each))
        assert len(data) < 1 << 18
        assert isinstance(exception_from(decode(data)), type(each))


def forged(**parts: Any) -> dict[str, Any]:
    """Return the data of an exception with other parts."""
    return exception_to(ValueError("x")) | parts


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, forged(more=1), forged(classes=[]), forged(classes=[("os", "system")]), forged(classes=[1]),
        forged(classes=[("no_such_module", "Name")]), forged(args="x"), forged(args=[{1: 2}]), forged(texts=()),
        forged(texts=("\ud800", "x")), forged(cause=1), forged(cause={}), forged(frames=[1]), forged(exceptions=[1]),
        forged(frames=[("f", "f", "1", 1)]), forged(attributes={"a": {1: 2}}), forged(members={"a": 1 << 70}),
    ],
)  # fmt: skip
def test_forged_exceptions(data: Any) -> None:
    """What is no exception is refused."""
    with pytest.raises(ReportError):
        exception_from(data)


def test_a_forged_exception_runs_no_code() -> None:
    """Neither constructors nor setters of its class are called, and no file is shown that is not a module's."""
    called = []

    class TracedError(Exception):
        def __new__(cls, *args: Any) -> TracedError:
            called.append("new")
            return super().__new__(cls, *args)

        def __init__(self, *args: Any) -> None:
            called.append("init")

        def __setattr__(self, name: str, value: object) -> None:
            called.append("setattr")

        def __init_subclass__(cls) -> None:
            called.append("subclass")

    globals()["TracedError"] = TracedError
    TracedError.__qualname__ = "TracedError"
    called.clear()
    try:
        data = forged(
            classes=[(__name__, "TracedError.Inner"), (__name__, "TracedError")], attributes={"a": 1, "__class__": "x"},
            frames=[("/etc/passwd", "f", 1, 1)], args=["x"],
        )  # fmt: skip
        error = exception_from(data)
    finally:
        del globals()["TracedError"]
    assert called == []
    assert type(error) is TracedError
    assert vars(error) == {"a": 1}
    assert "root:" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "name", ["no_such_module:Name", "os:system", "os:no_such_name", ":", "builtins:int", "os:path"]
)
def test_forged_classes(name: str) -> None:
    """A name that is no loaded class of exceptions is none; nothing is imported or called."""
    assert loaded_class(*name.split(":")) is None
    assert loaded_class(1, []) is None


@given(st.binary(max_size=100))
def test_hostile_bytes(data: bytes) -> None:
    """Bytes are a list of values or a ReportError, and a value is a known record or a ReportError."""
    channel = Channel()
    try:
        overwrite(channel, data)
        with contextlib.suppress(ReportError):
            for record in read(channel):
                check(record)
        overwrite(channel, (8 + 8 + len(data)).to_bytes(8, "little") + len(data).to_bytes(8, "little") + data)
        with contextlib.suppress(ReportError):
            for record in read(channel):
                check(record)
    finally:
        channel.close()


def test_a_file_of_another_size(channel: Channel) -> None:
    """It is not read."""
    os.ftruncate(channel._fd, MAX_REPORT_BYTES + 1)
    with pytest.raises(ReportError, match="at most"):
        read(channel)
    os.ftruncate(channel._fd, 3)
    with pytest.raises(ReportError, match="cut off"):
        read(channel)


def test_other_forms() -> None:
    """A record with other parts is refused."""
    records: list[Any] = [
        ("done", 1),
        ("nothing",),
        ["done"],
        (),
        ("log", True, {}),
        ("section", "call", "key"),
        ("end", {}),
    ]
    for record in records:
        with pytest.raises(ReportError):
            check(record)
    check(("done",))
