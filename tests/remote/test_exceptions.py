"""Exceptions out of a box: they arrive as what they are, and nothing that arrives runs code in the caller."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox.remote import protocol as remote
from nsbox.remote.encoding import RefusedError, decode, encode
from nsbox.remote.exceptions import LISTED, OUTCOMES, obstacle

from tests.support import callees, raisers
from tests.support.far import run_as
from tests.support.forked import Who
from tests.support.inner_pytest import Inner


def arrived(function: Any, *args: Any, trust: bool = False) -> BaseException:
    """Return the exception of a function after its way through the protocol."""
    try:
        function(*args)
    except BaseException as error:
        reply = remote.unpack_reply(function, remote.pack_failure(error, trust), trust)
        assert isinstance(reply, remote.Failure)
        return reply.error
    raise AssertionError("it raises nothing")


def facts(error: BaseException) -> list[Any]:
    """Return what a caller can see of an exception."""
    attributes = {name: repr(value) for name, value in vars(error).items()}
    more = [repr(getattr(error, name, None)) for name in ("errno", "filename", "filename2", "code", "value", "name")]
    return [type(error), repr(error), str(error), repr(error.args), attributes, *more]


@pytest.mark.pure
@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("error", raisers.KEPT, ids=lambda error: type(error).__qualname__)
def test_they_arrive_as_they_are(error: BaseException, trust: bool) -> None:
    """Their type, text, arguments, attributes and notes are the same; the traceback is the cause."""
    got = arrived(callees.raise_it, error, trust=trust)
    assert facts(got) == facts(error)
    assert "in raise_it" in str(got.__cause__)
    if isinstance(error, BaseExceptionGroup):
        assert isinstance(got, BaseExceptionGroup)
        assert list(map(facts, got.exceptions)) == list(map(facts, error.exceptions))


@pytest.mark.pure
@pytest.mark.parametrize("error", raisers.REPLACED, ids=lambda error: type(error).__qualname__)
def test_others_are_replaced(error: BaseException) -> None:
    """An exception that could run code here is a RemoteError that names it and the reason; with trust it is kept."""
    got = arrived(callees.raise_it, error)
    assert isinstance(got, nsbox.RemoteError)
    kind = type(error)
    assert (got.type_name, got.message) == (f"{kind.__module__}.{kind.__qualname__}", str(error))
    assert str(got).startswith(f"{kind.__qualname__}: {error} (this error replaces it, as ")
    assert "trust=True" in str(got)
    assert obstacle(kind) in str(got)
    assert "in raise_it" in str(got.__cause__)
    again = pickle.loads(pickle.dumps(got))
    assert (again.type_name, again.message, str(again)) == (got.type_name, got.message, str(got))
    assert facts(decode(encode(got)))[1:4] == facts(got)[1:4]
    assert facts(arrived(callees.raise_it, error, trust=True)) == facts(error)


@pytest.mark.pure
def test_why_it_is_replaced() -> None:
    """The reason is an attribute, an argument, or a class that is not known here."""
    assert "a value of type object cannot be sent" in str(arrived(callees.raise_it, raisers.PointsError(object(), 1)))

    pytest.importorskip("cloudpickle")

    class LocalError(Exception):
        pass

    assert "not loaded here under its own name" in str(arrived(callees.raise_it, LocalError("x")))
    assert type(arrived(callees.raise_it, LocalError("x"), trust=True)) is LocalError


@pytest.mark.pure
def test_the_chain_is_in_the_traceback() -> None:
    """The cause and the context of an exception are in the text of its cause."""
    text = str(arrived(raisers.chain).__cause__)
    for part in ("KeyError: 'first'", "direct cause", "OddError: 1 and 2", "During handling", "ValueError: last"):
        assert part in text


@pytest.mark.pure
def test_attributes_that_do_not_pickle() -> None:
    """With trust an exception keeps its type without them, and a note says which are missing."""
    error = raisers.PointsError(1, 2)
    error.lock = sys._getframe()  # type: ignore[attr-defined]
    got = arrived(callees.raise_it, error, trust=True)
    assert (type(got), str(got), got.points) == (raisers.PointsError, "2", 1)  # type: ignore[attr-defined]
    assert got.__notes__ == ["attributes that do not pickle were left out: lock"]


# Forged ones


def forged(module: Any, qualname: Any, args: Any = (), attributes: Any = None) -> bytes:
    """Return the bytes for an exception of any class."""
    name = b"loaded exception"
    parts = module, qualname, args, {} if attributes is None else attributes
    return b"T" + struct.pack("<Q", len(name)) + name + encode(parts)


def outcome(kind: str, *parts: Any) -> bytes:
    """Return the bytes for an outcome of pytest."""
    name = f"_pytest.outcomes.{kind}".encode()
    return b"T" + struct.pack("<Q", len(name)) + name + encode(parts)


POINTS = (raisers.__name__, "PointsError")


@pytest.mark.pure
@pytest.mark.parametrize(
    "data",
    [
        forged("os", "system", ("true",)),
        forged("builtins", "eval", ("1",)),
        forged("builtins", "int", ("1",)),
        forged("subprocess", "Popen", (["true"],)),
        forged("no.such.module", "Error"),
        forged(raisers.__name__, "NoSuchError"),
        forged(raisers.__name__, "chain"),
        forged(raisers.__name__, "chain.<locals>.X"),
        forged(raisers.__name__, "nsbox.RemoteError"),
        forged(raisers.__name__, "AliasError"),
        forged(raisers.__name__, ""),
        forged(raisers.__name__, "PointsError.__class__"),
        forged(raisers.__name__, "PointsError.__init__"),
        forged(1, "PointsError"),
        forged(raisers.__name__, None),
        forged(*POINTS, ["x"]),
        forged(*POINTS, (), [1]),
        forged(*POINTS, (), {1: 2}),
        forged(*POINTS, (), {"__class__": 1}),
        forged(*POINTS, (), {"__cause__": 1}),
        forged(*POINTS, (), {"__traceback__": None}),
        forged(*POINTS, (), {"_render_traceback_": 1}),
        forged(*POINTS, (), {"with_traceback": 1}),
        forged(*POINTS, (), {"half": 1}),
        forged(*POINTS, (), {"double": 1}),
        forged(*POINTS, (), {"args": (1,)}),
        forged(*POINTS, (), {"no identifier": 1}),
        forged(*POINTS, (), {"__notes__": [1]}),
        forged(*POINTS, (), {"__notes__": "x"}),
        forged(raisers.__name__, "CodecError", ("x",)),
        forged(raisers.__name__, "CodecError", ("u", b"abc", -(1 << 40), 1 - (1 << 40), "x")),
        forged(raisers.__name__, "GroupError", ("u", [])),
        forged(raisers.__name__, "GroupError", ("u", [1])),
        *(forged(raisers.__name__, type(error).__qualname__, ("x",)) for error in raisers.REPLACED),
        outcome("Skipped", 1, {}),
        outcome("Skipped", "x", {"pytrace": 1}),
        outcome("Skipped", "x", {"unknown": True}),
        outcome("Skipped", "x", {"returncode": 0}),
        outcome("Skipped", "x", []),
        outcome("Exit", "x", {"returncode": True}),
        outcome("OutcomeException", "x", {}),
        outcome("exit", "x", {}),
    ],
    ids=lambda data: repr(data[40:110]),
)
def test_forged(data: bytes) -> None:
    """What names another object, or hides something of the class, is refused."""
    with pytest.raises(nsbox.TransferError):
        decode(data)


@pytest.mark.pure
def test_no_code_of_a_class_runs() -> None:
    """Not when its exception is made, shown or deleted: neither a constructor nor a property nor a method."""
    error = decode(forged(raisers.__name__, "LoudError", (1, 2), {"points": 3, "_hidden": 4}))
    assert (str(error), repr(error), error.points, error._hidden) == ("(1, 2)", "LoudError(1, 2)", 3, 4)
    assert raisers.LoudError.called == []
    with pytest.raises(raisers.CalledError):
        raisers.LoudError()


@pytest.mark.pure
def test_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is not loaded, or is loaded when it is used, stays as it is."""
    with pytest.raises(nsbox.TransferError, match="not loaded here"):
        decode(forged("this", "Error"))
    assert "this" not in sys.modules

    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"{name} was looked up")

    class Proxy:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"{name} was looked up")

    lazy = types.ModuleType("lazy")
    vars(lazy)["Proxy"] = Proxy()
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    with pytest.raises(nsbox.TransferError, match="not loaded here"):
        decode(forged("lazy", "Proxy"))
    lazy.__class__ = Lazy
    with pytest.raises(nsbox.TransferError, match="not loaded here"):
        decode(forged("lazy", "Error"))
    monkeypatch.setitem(sys.modules, "lazy", Proxy())
    with pytest.raises(nsbox.TransferError, match="not loaded here"):
        decode(forged("lazy", "Error"))


@pytest.mark.pure
def test_without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that has not loaded pytest does not load it for an exception that arrives."""
    reply = remote.pack_failure(pytest.skip.Exception("reason"))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pytest", "_pytest")]:
        monkeypatch.delitem(sys.modules, name)
    failure = remote.unpack_reply(None, reply)
    assert isinstance(failure, remote.Failure)
    assert isinstance(failure.error, nsbox.RemoteError)
    assert failure.error.message == "reason"
    assert "_pytest.outcomes" not in sys.modules


@pytest.mark.pure
def test_the_lists() -> None:
    """Every listed class exists, and the outcomes of pytest are those that pytest raises."""
    kinds = {pytest.skip.Exception, pytest.fail.Exception, pytest.xfail.Exception, pytest.exit.Exception}
    assert {f"_pytest.outcomes.{kind.__qualname__}" for kind in kinds} == set(OUTCOMES)
    for name in LISTED:
        module, _, kind = name.rpartition(".")
        assert issubclass(getattr(__import__(module, fromlist=[kind]), kind), BaseException)
    with pytest.raises(RefusedError):
        encode(raisers.SpokenError("x"))


# In a box


def test_in_a_box(who: Who, place: Path) -> None:
    """A caller gets what the function raises, from each of the ways to call one."""

    def raised() -> list[tuple[str, str]]:
        found = []
        with nsbox.Box("mip") as box, nsbox.Executor(1) as executor:
            outcomes = list(executor.outcomes(raisers.raise_kept, range(len(raisers.KEPT))))
            assert [type(outcome.error) for outcome in outcomes] == list(map(type, raisers.KEPT))
            for number, error in enumerate(raisers.KEPT):
                with pytest.raises(type(error)) as caught:
                    box.call(raisers.raise_kept, number)
                found.append((str(caught.value), str(caught.value.__cause__)))
        with pytest.raises(type(raisers.KEPT[0])):
            nsbox.boxed(raisers.raise_kept)(0)
        return found

    found = run_as(who, place, raised)
    assert [text for text, _ in found] == [str(error) for error in raisers.KEPT]
    assert all("in raise_kept" in cause for _, cause in found)


def test_of_a_script(tmp_path: Path) -> None:
    """The classes of a script are found in its own module, with and without trust."""
    script = tmp_path / "script.py"
    script.write_text(
        "import nsbox\n"
        "class MineError(Exception):\n"
        "    def __init__(self, one, two):\n"
        "        super().__init__(f'{one} and {two}')\n"
        "        self.one = one\n"
        "class SpokenError(MineError):\n"
        "    def __str__(self): return 'spoken'\n"
        "def fail(kind): raise kind(1, two=2)\n"
        "for trust in (False, True):\n"
        "    with nsbox.Box('p', trust=trust) as box, nsbox.Executor(1, trust=trust) as executor:\n"
        "        for kind in (MineError, SpokenError):\n"
        "            for call in (box.call, lambda *call: executor.submit(*call).result()):\n"
        "                try: call(fail, kind)\n"
        "                except Exception as error: print(type(error) is kind, error, getattr(error, 'one', None))\n"
    )
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[:2] == ["True 1 and 2 1"] * 2
    assert [line[:27] for line in lines[2:4]] == ["False SpokenError: spoken (t"[:27]] * 2
    assert lines[4:] == ["True 1 and 2 1"] * 2 + ["True spoken 1"] * 2


def test_outcomes_of_pytest(place: Path) -> None:
    """A test whose function skips or fails in a box has the outcome of one that does it itself, and its place."""
    inner = Inner(place, Who("root") if os.geteuid() == 0 else Who("user"))
    inner.write(
        test_it="""
        import nsbox, pytest, unittest

        def skip(): pytest.skip("not here")
        def fail(): pytest.fail("the message", pytrace=False)
        def xfail(): pytest.xfail("known")
        def older(): raise unittest.SkipTest("older")
        def raises():
            with pytest.raises(KeyError): pass
        def call(function):
            with nsbox.Box("p") as box:
                box.call(function)  # the line
        def submit(function):
            with nsbox.Executor(1) as executor:
                executor.submit(function).result()  # the line
        def boxed(function):
            nsbox.boxed(unshare="p")(function)()  # the line

        @pytest.mark.parametrize("function", [skip, fail, xfail, older, raises])
        @pytest.mark.parametrize("way", [call, submit, boxed])
        def test(way, function):
            way(function)
    """
    )
    result = inner.run("-rsx")
    result.assert_outcomes(skipped=6, failed=6, xfailed=3)
    text = result.stdout.str()
    lines = (place / "test_it.py").read_text().splitlines()
    for number in (number for number, line in enumerate(lines, 1) if "the line" in line):
        assert f"test_it.py:{number}: not here" in text
    assert "nsbox/remote" not in text
    assert "DID NOT RAISE" in text
    assert text.count("the message") >= 3


@pytest.mark.parametrize(("returncode", "status"), [("7", 7), ("None", 2), ("0", 2)])
def test_exit_of_pytest(place: Path, returncode: str, status: int) -> None:
    """A function can end the whole run, but not with success: the exception may be forged."""
    inner = Inner(place, Who("root") if os.geteuid() == 0 else Who("user"))
    inner.write(
        test_it=f"""
        import nsbox, pytest

        def leave():
            pytest.exit("it is over", {returncode})

        def test_it():
            with nsbox.Box("p") as box:
                box.call(leave)
    """
    )
    result = inner.run()
    assert result.ret == status
    assert "it is over" in result.stdout.str()
