"""The encoding of what comes out of a box: every value that is allowed, and bytes that were written by an attacker."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import fractions
import json
import math
import os
import pathlib
import pickle
import signal
import struct
import subprocess
import tracemalloc
import uuid
import zoneinfo
from typing import Any

import nsbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.records.processes import Capabilities, NamespaceIds
from nsbox.remote.encoding import MAX_DEPTH, RefusedError, decode, encode

pytestmark = pytest.mark.pure

ZONES = st.none() | st.timezones() | st.timedeltas(
    datetime.timedelta(hours=-23), datetime.timedelta(hours=23)
).map(datetime.timezone)  # fmt: skip
HASHABLE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.complex_numbers(allow_nan=False),
    st.text(st.characters()), st.text(st.characters(categories=["Cs"])), st.binary(), st.dates(),
    st.datetimes(timezones=ZONES), st.times(), st.timedeltas(), st.uuids(), st.fractions(), st.just(...),
    st.decimals(allow_nan=False), st.text(min_size=1).map(pathlib.PurePosixPath),
    st.sampled_from([signal.SIGTERM, range(1, 9, 3), pathlib.Path("/etc"), pathlib.PureWindowsPath("c:/x")]),
)  # fmt: skip
VALUES = st.recursive(
    HASHABLE | st.binary().map(bytearray) | st.builds(slice, st.none() | st.integers(), st.integers()),
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(HASHABLE, inner),
        st.sets(HASHABLE), st.frozensets(HASHABLE), st.lists(inner, max_size=5).map(collections.deque),
        st.dictionaries(HASHABLE, inner).map(collections.OrderedDict),
    ),
    max_leaves=12,
)  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Return whether two values are of the same types all the way down, and equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, set | frozenset):
        return same(sorted(one, key=repr), sorted(other, key=repr))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple | collections.deque):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


@given(VALUES)
def test_values_arrive_as_they_are(value: Any) -> None:
    """Types and values are the same afterwards."""
    arrived = decode(encode(value))
    assert same(arrived, value)
    assert arrived == value


@pytest.mark.parametrize(
    "value",
    [
        math.inf, -0.0, 1 << 63, -(1 << 63), (1 << 63) - 1, -1 << 5000, "\ud800\udc00", "a\0b", [1] * 8, (2.5,) * 9,
        [1 << 64] * 9, [True] * 9, (1, 2.0) * 9, collections.Counter("hello"), datetime.UTC,
        zoneinfo.ZoneInfo("Europe/Berlin"), datetime.time(1, 2, fold=1, tzinfo=datetime.UTC),
        datetime.timezone(datetime.timedelta(hours=1), "name"), decimal.Decimal("-Infinity"),
        fractions.Fraction(10**30, 7), uuid.uuid4(), os.stat("/"), os.uname(), os.times(), os.statvfs("/"),
        NamespaceIds(1, 2), Capabilities(1, 2, 3, 4, 5), [{"deep": ({1: {2}},)}],
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_single_values(value: Any) -> None:
    """Limits, and types that hypothesis does not make."""
    assert same(decode(encode(value)), value)


def test_nan_and_stat() -> None:
    """A NaN stays one; a stat keeps its fields that are not in the tuple."""
    assert math.isnan(decode(encode(math.nan)))
    stat = os.stat("/")
    assert decode(encode(stat)).st_mtime_ns == stat.st_mtime_ns
    completed = decode(encode(subprocess.CompletedProcess(["x"], 3, b"out", None)))
    assert (completed.args, completed.returncode, completed.stdout) == (["x"], 3, b"out")


def test_what_nsbox_reads() -> None:
    """Tables and records arrive with all attributes."""
    table = nsbox.ps(fields=["all"])
    arrived = decode(encode(table))
    assert type(arrived) is type(table)
    assert list(arrived) == list(table)
    assert arrived.text() == table.text()
    mounts = nsbox.mounts()
    assert list(decode(encode(mounts))) == list(mounts)
    assert decode(encode((mounts[0], table[0]))) == (mounts[0], table[0])
    tree = nsbox.pstree()
    assert decode(encode(tree)).text() == tree.text()


def test_numpy() -> None:
    """Arrays keep their dtype and shape, and can be written to; scalars keep their type."""
    numpy = pytest.importorskip("numpy")
    arrays = [
        numpy.arange(6, dtype=">i4").reshape(2, 3), numpy.zeros((0, 3)), numpy.array([True, False]),
        numpy.array(["", "\U0001f40d"]), numpy.array([b"ab"]), numpy.array("2026-11-30", "M8[ns]"),
        numpy.asfortranarray(numpy.ones((2, 3), "c8")), numpy.arange(10)[::3], numpy.array(7.5, "f2"),
    ]  # fmt: skip
    for array in arrays:
        arrived = decode(encode(array))
        assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
        assert (arrived == array).all()
        assert arrived.flags.writeable
    for scalar in (numpy.float32(1.5), numpy.int8(-3), numpy.bool_(True), numpy.str_("x"), numpy.datetime64("2026")):
        assert decode(encode(scalar)) == scalar
        assert type(decode(encode(scalar))) is type(scalar)
    for refused in (numpy.array([{}]), numpy.zeros(2, "i4,f8"), numpy.ma.zeros(3)):
        with pytest.raises(RefusedError):
            encode(refused)


def test_forged_arrays() -> None:
    """Other dtypes, and sizes that do not match, are refused. A bool is 0 or 1."""
    numpy = pytest.importorskip("numpy")

    def forged(*parts: Any) -> Any:
        return decode(b"T" + struct.pack("<Q", 13) + b"numpy.ndarray" + encode(parts))

    assert forged("|b1", (2,), b"\0\7").view("u1").tolist() == [0, 1]
    assert forged("<i4", (1,), b"\1\0\0\0").tolist() == [1]
    for parts in (
        ("|O", (1,), bytes(8)), ("O", (1,), bytes(8)), ("<i4,|O", (1,), bytes(12)), ("<i4", (2,), bytes(4)),
        ("<i4", (-1,), bytes(4)), ("<U1", (1,), b"\0\0\x11\0"), ("<i4", (1 << 62, 4), b""), ("|S0", (1 << 60,), b""),
        ("<i4", [1], bytes(4)), ("<i4", (0, 1 << 62), b""), ("<i4", (True,), bytes(4)), (numpy.ndarray.__name__,),
        ("|V8", (1,), bytes(8)), ("<f7", (1,), bytes(7)),
    ):  # fmt: skip
        with pytest.raises(nsbox.TransferError):
            forged(*parts)


EXCEPTIONS: list[BaseException] = [
    KeyError("a"), OSError(2, "b", "c"), OSError(18, "b", "c", None, "d"), SystemExit(1), KeyboardInterrupt(),
    UnicodeDecodeError("d", b"e", 0, 1, "f"), UnicodeEncodeError("d", "e", 0, 1, "f"), StopIteration(3),
    subprocess.CalledProcessError(3, ["false"], b"out", b"err"), subprocess.TimeoutExpired(["x"], 1.5, b"out"),
    json.JSONDecodeError("no", "{\n", 1), SyntaxError("bad", ("file", 1, 2, "text", 1, 3)),
    ModuleNotFoundError("none", name="none"), nsbox.SpecError("x: y"), nsbox.WorkerDiedError("f", -9, True),
    nsbox.SpawnError(1, "mount", "init", "mount(...)", "evidence", "hint", "cause"), TimeoutError("late"),
    ExceptionGroup("several", [ValueError(1), ExceptionGroup("more", [OSError(1, "x")])]), DeprecationWarning("old"),
]  # fmt: skip


@pytest.mark.parametrize("error", EXCEPTIONS, ids=lambda error: type(error).__name__)
def test_exceptions(error: BaseException) -> None:
    """Exceptions keep their type, their text, their arguments and their attributes."""
    arrived = decode(encode(error))
    assert type(arrived) is type(error)
    assert repr(arrived) == repr(error)
    assert str(arrived) == str(error)
    assert repr(vars(arrived)) == repr(vars(error))
    if isinstance(error, OSError):
        assert isinstance(arrived, OSError)
        assert (arrived.errno, arrived.filename, arrived.filename2) == (error.errno, error.filename, error.filename2)
    error.add_note("noted")
    assert decode(encode(error)).__notes__ == ["noted"]


def _exception(name: str, *parts: Any) -> bytes:
    data = name.encode()
    return b"T" + struct.pack("<Q", len(data)) + data + encode(parts)


@pytest.mark.parametrize(
    "data",
    [
        _exception("builtins.ValueError", ("x",), {"__class__": 1}),
        _exception("builtins.ValueError", ("x",), {"__traceback__": None}),
        _exception("builtins.ValueError", ("x",), {"add_note": 1}),
        _exception("builtins.ValueError", ("x",), {"args": ()}),
        _exception("builtins.ValueError", ("x",), {"__notes__": [1]}),
        _exception("builtins.ValueError", ["x"], {}),
        _exception("builtins.UnicodeDecodeError", ("u", b"abc", -(1 << 40), 1 - (1 << 40), "x"), {}),
        _exception("builtins.UnicodeDecodeError", ("u", b"abc", 0, 1, "x"), {"object": 1}),
        _exception("builtins.SyntaxError", ("u", ("f", 1, 1, "x", 1, 1 << 60)), {}),
        _exception("builtins.ExceptionGroup", ("u", [KeyboardInterrupt()]), {}),
        _exception("builtins.int", ("1",), {}),
        _exception("builtins.eval", ("1",), {}),
        _exception("os.system", ("true",), {}),
        _exception("nsbox.errors.SpawnError", ("1", "2", "3", "4"), {}),
        _exception("nsbox.errors.WorkerDiedError", ("f", "text", False), {}),
        _exception("subprocess.CalledProcessError", ("text", "command"), {}),
        _exception("nsbox.errors.NsboxError", ("f",), {"_panel_is_shown": True}),
        _exception("nsbox.errors.scope_error", ("f",), {}),
        _exception("zoneinfo.ZoneInfo", "../../etc/passwd"),
        _exception("zoneinfo.ZoneInfo", "/etc/passwd"),
        _exception("datetime.datetime", 1, 2, 3, 4, 5, 6, 7, 0, "UTC"),
        _exception("datetime.date", b"\x07\xe4\x01\x01"),
        _exception("fractions.Fraction", 1 << (1 << 16), 3),
        _exception("fractions.Fraction", 1, 0),
        _exception("pathlib.PosixPath", b"/"),
        _exception("uuid.UUID", b"short"),
        _exception("signal.Signals", 4711),
        _exception("os.stat_result", (1, 2), {}),
        _exception("nsbox.seeing.processes.ProcessTable", 1),
        _exception("nsbox.records.processes.Thread", {"tid": "x"}),
        _exception("collections.Counter", [1]),
        _exception("subprocess.CompletedProcess", ["x"], "text", None, None),
        encode({1: 2})[:-1], encode("a")[:-1], encode(1) + b"N", b"", b"?", b"l", b"s" + b"\xff" * 8,
        b"b" + struct.pack("<Q", 1 << 62), b"l" + struct.pack("<Q", 1 << 62), b"Lq" + struct.pack("<Q", 1 << 61),
        b"Lx" + struct.pack("<Q", 0), b"I" + struct.pack("<Q", 1 << 21) + bytes(1 << 21),
        b"s" + struct.pack("<Q", 1) + b"\xff", b"e" + struct.pack("<Q", 1) + encode([]),
        b"d" + struct.pack("<Q", 1) + encode({}) + b"N", b"r" + encode("a") * 3,
        b"e" + struct.pack("<Q", 1) + encode(decimal.Decimal("sNaN")),
        (b"l" + struct.pack("<Q", 1)) * (MAX_DEPTH + 1) + b"N", (b"t" + struct.pack("<Q", 1)) * 100_000 + b"N",
        (b"T" + struct.pack("<Q", 19) + b"builtins.ValueError") * 5000 + b"N",
        pickle.dumps(ValueError("x")),
    ],
    ids=lambda data: repr(data[:40]),
)  # fmt: skip
def test_forged(data: bytes) -> None:
    """Everything that `encode` does not write is a TransferError."""
    with pytest.raises(nsbox.TransferError):
        decode(data)


def test_a_pickle_is_never_loaded(tmp_path: pathlib.Path) -> None:
    """A pickle that would run a program is bytes that mean nothing, also as the value of bytes."""

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    data = pickle.dumps(Payload())
    with pytest.raises(nsbox.TransferError):
        decode(data)
    assert decode(encode(data)) == data
    assert not (tmp_path / "made").exists()


SAMPLES = [encode(value) for value in (
    [1, 2.5, "text", b"bytes", None, {"a": (1, [2], {3})}], [1] * 20, (1.5,) * 10,
    datetime.datetime.now(datetime.UTC), {fractions.Fraction(1, 3): decimal.Decimal("1.5")},
    ExceptionGroup("g", [OSError(2, "x", "y")]), SyntaxError("bad", ("file", 1, 2, "text", 1, 3)),
    uuid.uuid4(), os.stat("/"), nsbox.SpecError("x"), pathlib.Path("/"), 1 << 100, range(3), "ü\ud800",
)]  # fmt: skip


@given(st.data())
def test_hostile_bytes(data: st.DataObject) -> None:
    """Frames that are cut, joined and changed anywhere give a value or a TransferError, and nothing else."""
    frame = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame)))
        end = data.draw(st.integers(at, min(len(frame), at + 12)))
        other = data.draw(st.sampled_from(SAMPLES))
        frame[at:end] = data.draw(st.binary(max_size=9) | st.just(other) | st.just(other[: len(other) // 2]))
    try:
        value = decode(bytes(frame))
    except nsbox.TransferError:
        return
    repr(value)


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    """The same for random bytes."""
    with contextlib.suppress(nsbox.TransferError):
        decode(data)


@pytest.mark.parametrize(
    "unit",
    [b"l" + bytes(8), b"e" + bytes(8), b"d" + bytes(8), b"a" + bytes(8), b"z" + bytes(8), b"t" + bytes(8),
     encode(collections.deque()), encode(pathlib.PurePosixPath("a")), encode(uuid.uuid4()), encode(ValueError()),
     encode(datetime.datetime.now()), encode(decimal.Decimal(1)), encode(1 << 62), encode(1.5), encode("\U0001f40d")],
    ids=lambda unit: repr(unit[:22]),
)  # fmt: skip
def test_memory_is_limited(unit: bytes) -> None:
    """However little a sender writes for an object, decoding never allocates more than the limit allows."""
    limit = 1 << 23
    decode(unit)
    count = 200_000
    frame = b"l" + struct.pack("<Q", count) + unit * count
    tracemalloc.start()
    try:
        with pytest.raises(nsbox.TransferError, match="memory"):
            decode(frame, limit)
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def test_wide_texts_are_limited() -> None:
    """One wide character makes a text four times as large."""
    text = "x" * (1 << 20) + "\U0001f40d"
    with pytest.raises(nsbox.TransferError, match="memory"):
        decode(encode(text), 4 << 20)


def test_keys_with_the_same_hash() -> None:
    """A dictionary whose keys all have the same hash would take hours."""
    modulus = (1 << 61) - 1
    for keys in ([number * modulus for number in range(1, 5000)], [float(modulus) * 2.0**at for at in range(3)]):
        frame = b"e" + struct.pack("<Q", len(keys)) + b"".join(map(encode, keys))
        if len(keys) > 100:
            with pytest.raises(nsbox.TransferError, match="same hash"):
                decode(frame)
        else:
            decode(frame)


class Unlisted:
    """A type that is not listed."""


class Subclass(dict[Any, Any]):
    """A subclass of a listed type is another type."""


class OwnError(ValueError):
    """An exception that is not listed, with a function that would run when it is shown."""

    def __str__(self) -> str:
        return "own"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Unlisted(), r"type tests\..*\.Unlisted$"), ([{1: Subclass()}], "Subclass"), (OwnError(1), "OwnError"),
        (ValueError(Unlisted()), r"type tests\..*\.Unlisted$"), (len, "builtin_function"), (int, "of type type"),
        (1 << (1 << 24), "an int of more than"), (collections.defaultdict(list), "defaultdict"),
        ((number for number in range(3)), "of type generator$"), (memoryview(b""), "memoryview"),
        (ExceptionGroup("x", [OwnError()]), "OwnError"), (datetime.datetime.now(), None),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_refused(value: Any, text: str | None) -> None:
    """A value of another type is refused, with the name of the type."""
    if text is None:
        encode(value)
        return
    with pytest.raises(RefusedError, match=text):
        encode(value)


def test_tracebacks_stay_inside() -> None:
    """They are None, as in what a framework returns together with an exception."""
    try:
        raise KeyError("k")
    except KeyError as error:
        arrived = decode(encode((error, error.__traceback__)))
    assert (repr(arrived[0]), arrived[1]) == ("KeyError('k')", None)


def test_cycles_are_refused() -> None:
    """So are values that contain themselves; an object that occurs twice arrives twice."""
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    with pytest.raises(RefusedError, match="contains itself"):
        encode(cycle)
    shared = [1]
    one, two = decode(encode([shared, shared]))
    assert one == two == shared
    assert one is not two
    deep: Any = None
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert repr(decode(encode(deep))) == repr(deep)
    with pytest.raises(RefusedError, match="levels deep"):
        encode([deep])
