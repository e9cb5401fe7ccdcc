"""Exceptions of many classes, that tests raise inside. The module imports little, as each Python inside imports it."""

from __future__ import annotations

import json
import subprocess
import unittest
from typing import Any, ClassVar, NoReturn

import nsbox
import pytest

from tests.support.callees import OddError

__all__ = ["KEPT", "REPLACED", "chain", "raise_kept"]


class PointsError(ValueError):
    """Takes two arguments, keeps one of them, and has defaults, a property and a method."""

    points: int = 0
    reason = None

    def __init__(self, points: Any, reason: Any) -> None:
        super().__init__(reason)
        self.points = points
        self._reason = reason

    @property
    def half(self) -> float:
        return float(self.points) / 2

    def double(self) -> int:
        return self.points * 2


class KeywordError(Exception):
    """Takes only keywords."""

    def __init__(self, *, name: str, code: int) -> None:
        super().__init__(f"{name} has {code}")
        self.name, self.code = name, code


class SilentError(Exception):
    """Does not call the constructor of its base."""

    def __init__(self, one: int, two: int) -> None:
        self.both = one + two


class ReducedError(Exception):
    """Pickles by a function of its own."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)
        self.two = two

    def __reduce__(self) -> Any:
        return ReducedError, (self.args[0], self.two)


class FileError(OSError):
    """An OSError with another constructor."""

    def __init__(self, path: str, *, tries: int) -> None:
        super().__init__(2, "missing", path, None, "other")
        self.tries = tries


class PlainFileError(OSError):
    """An OSError with its own constructor."""


class CodecError(UnicodeDecodeError):
    """A UnicodeDecodeError with another constructor."""

    def __init__(self, data: bytes) -> None:
        super().__init__("odd", data, 0, 1, "bad")


class PluginError(ImportError):
    """An ImportError with another constructor."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no {name}", name=name, path="/x")


class BothError(PointsError, KeyError):
    """Derives from two built-in classes."""


class GroupError(ExceptionGroup[Exception]):
    """A group."""


class LoudError(Exception):
    """Raises whenever something of it is called."""

    called: ClassVar[list[str]] = []

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise CalledError

    def points_of(self) -> NoReturn:
        raise CalledError


class CalledError(Exception):
    """A function was called."""


class AbruptError(BaseException):
    """Is no Exception."""


class SpokenError(Exception):
    """Has a text of its own."""

    def __str__(self) -> str:
        return f"it says {self.args[0]}"


class ShownError(SpokenError):
    """Inherits one."""


class NamedError(Exception):
    """Has a representation of its own."""

    def __repr__(self) -> str:
        return "named"


class DeletedError(Exception):
    """Runs code when it is deleted."""

    def __del__(self) -> None:
        self.__dict__.clear()


class AnyError(Exception):
    """Has every attribute."""

    def __getattr__(self, name: str) -> str:
        raise AttributeError(name)


class NewError(Exception):
    """Has a constructor of the second kind."""

    def __new__(cls, *args: object) -> NewError:
        return super().__new__(cls, *args)


class PanelError(Exception):
    """Is shown by a function of its own in a notebook."""

    def _render_traceback_(self) -> list[str]:
        return ["shown"]


class _Kind(type):
    pass


class KindError(Exception, metaclass=_Kind):
    """Has a metaclass."""


class Mixin:
    """No exception."""


class MixedError(Mixin, Exception):
    """Has a base that is no exception."""


class SlotsError(Exception):
    """Keeps something that is not in its dictionary."""

    __slots__ = ("extra",)


AliasError = PointsError


def chain() -> NoReturn:
    """Raise an exception with a cause and a context."""
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise OddError(1, 2) from error
    except OddError:
        raise ValueError("last")  # noqa: B904 - the context is what is tested


def raise_kept(number: int) -> NoReturn:
    """Raise the exception with this number: not all can be sent into a box."""
    raise KEPT[number]


def noted(error: BaseException) -> BaseException:
    """Return an exception with two notes (PEP 678)."""
    error.add_note("one")
    error.add_note("two\nlines")
    return error


KEPT: list[BaseException] = [
    OddError(1, 2), PointsError(3, "why"), KeywordError(name="n", code=3), SilentError(1, 2), ReducedError(1, 2),
    FileError("/x", tries=3), PlainFileError(13, "denied", "/y"), CodecError(b"\xff"), PluginError("plug"),
    BothError(1, "x"), GroupError("several", [OddError(1, 2), FileError("/x", tries=1)]),
    ExceptionGroup("plain", [ValueError(1), ExceptionGroup("more", [PointsError(1, 2)])]),
    BaseExceptionGroup("base", [KeyboardInterrupt(), ValueError(1)]), noted(PointsError(1, "noted")),
    noted(ValueError("noted")), KeyError("k", 1, (2,)), KeyError(), StopIteration(3), StopAsyncIteration(),
    GeneratorExit("g"), SystemExit(3), SystemExit("text"), KeyboardInterrupt("k"),
    FileNotFoundError(2, "text", "name"), OSError(18, "b", "c", None, "d"), OSError("only text"),
    BlockingIOError(11, "later", 5), UnicodeDecodeError("d", b"e", 0, 1, "f"), ModuleNotFoundError("m", name="m"),
    SyntaxError("bad", ("file", 1, 2, "text", 1, 3)), json.JSONDecodeError("no", "{\n", 1),
    subprocess.CalledProcessError(3, ["false"], b"out", b"err"), subprocess.TimeoutExpired(["x"], 1.5, b"out"),
    unittest.SkipTest("u"), pytest.skip.Exception("skip", allow_module_level=True),
    pytest.fail.Exception("fail", pytrace=False),
    pytest.xfail.Exception("xfail"), pytest.exit.Exception("exit", 3), pytest.exit.Exception("exit"),
    noted(pytest.fail.Exception("noted")), nsbox.OutputLimitError(["x"], 5, b"out"), nsbox.WorkerDiedError("f", -9),
]  # fmt: skip
"""Those that arrive as they are."""
REPLACED: list[BaseException] = [
    AbruptError("x"), SpokenError("x"), ShownError("x"), NamedError("x"), DeletedError("x"), AnyError("x"),
    NewError("x"), PanelError("x"), KindError("x"), MixedError("x"), SlotsError("x"),
]  # fmt: skip
"""Those of which something would run in the caller."""
