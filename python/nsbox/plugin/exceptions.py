"""Exceptions as data, and back: what was raised in the process of a test inside, for hooks in pytest's process.

A forged exception runs no code of the sender, and calls no constructor. Its class is one that is loaded here already.
The object is made by the `__new__` of the class of the interpreter below it, and gets plain data as its arguments and
attributes. For a class that is not loaded here, such as one that the test itself has defined, there is a new class of
that name without any contents, below the nearest class that is loaded.
"""

from __future__ import annotations

import contextlib
import sys
import types
from typing import Any, TypeAlias, cast

import pytest

from nsbox.plugin.channel import ReportError
from nsbox.plugin.report import is_plain_number, is_text, without_surrogates
from nsbox.remote.exceptions import class_at

__all__ = ["Data", "exception_from", "exception_to", "loaded_class"]

Data: TypeAlias = dict[str, Any]

_MAX_DEPTH = 8
_MAX_EXCEPTIONS = 50
"""How many exceptions are sent with one."""
_MAX_NESTED = 60
_MAX_CLASSES = 50
_MAX_FRAMES = 200
_MAX_LINE = 1 << 30
_MAX_NAME = 1000
_HEAP_TYPE = 1 << 9
"""The flag of classes that are no part of the interpreter (Py_TPFLAGS_HEAPTYPE)."""
_OUTCOMES = {one.Exception.__name__: one.Exception for one in (pytest.skip, pytest.fail, pytest.exit)}
"""Classes of pytest that say of themselves that they are in another module."""
_FORM: dict[str, type | tuple[type, ...]] = {
    "classes": list, "texts": (list, tuple), "args": list, "attributes": dict, "members": dict, "frames": list,
    "cause": (dict, type(None)), "context": (dict, bool, type(None)), "suppress": bool,
    "exceptions": (list, type(None)),
}  # fmt: skip


# In the child


def exception_to(error: BaseException, seen: list[int] | None = None) -> Data:
    """Return an exception as data. What is no plain data in its arguments is sent as text, in attributes not at all.

    Args:
        error: The exception.
        seen: The ids of exceptions that are sent with it. A cause or a context is sent once.
    """
    seen = [] if seen is None else seen
    seen.append(id(error))
    args = error.args
    grouped = error.exceptions if isinstance(error, BaseExceptionGroup) else None
    if grouped is not None:
        args = (error.args[0],)
    text = str if len(args) == 1 else repr
    attributes = {name: value for name, value in _vars(error).items() if _is_sent(name) and _is_plain(value)}
    members: Data = {}
    for native in _natives(type(error)):
        for name, member in _members(native):
            with contextlib.suppress(AttributeError):
                # None set to a member is another state than none.
                if (value := member.__get__(error)) is not None and _is_plain(value):
                    members[name] = value

    def chained(other: BaseException | None) -> Data | None:
        return exception_to(other, seen) if other and id(other) not in seen and len(seen) < _MAX_EXCEPTIONS else None

    cause = chained(error.__cause__)
    return {
        "classes": [(kind.__module__, kind.__qualname__) for kind in type(error).__mro__[:-1]][:_MAX_CLASSES],
        "texts": (_clean(_text(str, error)), _clean(_text(repr, error))),
        "args": [_clean(arg if _is_plain(arg) else _text(text, arg)) for arg in args],
        "attributes": _clean(attributes),
        "members": _clean(members),
        "frames": _frames(error.__traceback__),
        "cause": cause,
        "context": True if cause and error.__context__ is error.__cause__ else chained(error.__context__),
        "suppress": error.__suppress_context__,
        "exceptions": None if grouped is None else _members_of(grouped, seen),
    }


def _members_of(grouped: tuple[BaseException, ...], seen: list[int]) -> list[Data]:
    """Return the first exceptions of a group as data, at least one."""
    found: list[Data] = []
    for one in grouped:
        if found and len(seen) >= _MAX_EXCEPTIONS:
            break
        found.append(exception_to(one, seen))
    return found


def _text(text: Any, value: object) -> str:
    try:
        return str(text(value))
    except Exception as failed:
        return f"<{type(value).__qualname__} without a text: {type(failed).__name__}>"


def _vars(error: BaseException) -> dict[str, Any]:
    found = object.__getattribute__(error, "__dict__")
    return found if type(found) is dict else {}


def _is_sent(name: object) -> bool:
    return type(name) is str and len(name) < _MAX_NAME and (not name.startswith("__") or name == "__notes__")


def _is_plain(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if kind in (str, bytes) or is_plain_number(value):
        return True
    if depth >= _MAX_DEPTH:
        return False
    if kind in (list, tuple):
        return all(_is_plain(one, depth + 1) for one in value)
    return kind is dict and all(type(key) is str and _is_plain(one, depth + 1) for key, one in value.items())


def _clean(value: Any) -> Any:
    """Return a value without surrogates."""
    if type(value) is str:
        return without_surrogates(value)
    if type(value) is dict:
        return {_clean(key): _clean(one) for key, one in value.items()}
    return type(value)(map(_clean, value)) if type(value) in (list, tuple) else value


def _frames(trace: types.TracebackType | None) -> list[tuple[str, str, int, int]]:
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append((_clean(code.co_filename), _clean(code.co_name), code.co_firstlineno, trace.tb_lineno or 0))
        trace = trace.tb_next
    return found[-_MAX_FRAMES:]


# In pytest's process


def exception_from(data: Any, depth: int = 0) -> BaseException:
    """Return the exception of which these are the data.

    Raises:
        ReportError: when they are none.
    """
    if type(data) is not dict or data.keys() != _FORM.keys() or depth > _MAX_NESTED:
        raise ReportError("an exception has another form")
    for name, kinds in _FORM.items():
        if not isinstance(data[name], kinds):
            raise ReportError(f"the {name} of an exception have another form")
    if not all(_is_plain(data[name], -1) and _has_text(data[name]) for name in ("args", "attributes", "members")):
        raise ReportError("an exception has other values than plain data")
    grouped = None if data["exceptions"] is None else [exception_from(one, depth + 1) for one in data["exceptions"]]
    error = _filled(_class_of(data["classes"]), data, grouped, depth)
    texts = data["texts"]
    if len(texts) != 2 or not all(type(text) is str and _has_text(text) for text in texts):
        raise ReportError("an exception has no text")
    if (_text(str, error), _text(repr, error)) != tuple(texts):
        # Its text needs what was not sent.
        shown = {"__str__": lambda _: texts[0], "__repr__": lambda _: texts[1]}
        kind = type(error)
        error = _filled(_below(kind, kind.__module__, kind.__qualname__, shown), data, grouped, depth)
    return BaseException.with_traceback(error, _trace_of(data["frames"]))


def _filled(kind: type[BaseException], data: Data, grouped: list[BaseException] | None, depth: int) -> BaseException:
    error = _made(kind, data["args"], grouped)
    _vars(error).update({name: value for name, value in data["attributes"].items() if _is_sent(name)})
    for native in _natives(type(error)):
        for name, member in _members(native):
            if name in data["members"]:
                with contextlib.suppress(AttributeError, TypeError, ValueError):
                    member.__set__(error, data["members"][name])
    put: Any = BaseException.__dict__
    if data["cause"] is not None:
        put["__cause__"].__set__(error, exception_from(data["cause"], depth + 1))
    if data["context"] is True:
        put["__context__"].__set__(error, error.__cause__)
    elif data["context"]:
        put["__context__"].__set__(error, exception_from(data["context"], depth + 1))
    put["__suppress_context__"].__set__(error, data["suppress"])
    return error


def _has_text(value: Any) -> bool:
    """Return whether all texts in a value can be written as UTF-8."""
    if type(value) is str:
        return is_text(value)
    if type(value) is dict:
        return all(_has_text(key) and _has_text(one) for key, one in value.items())
    return all(map(_has_text, value)) if type(value) in (list, tuple) else True


def loaded_class(module: object, name: object) -> type[BaseException] | None:
    """Return a class of exceptions by its name, if its module is loaded. Nothing is imported or called."""
    if type(module) is not str or type(name) is not str:
        return None
    if module == "builtins" and name in _OUTCOMES:
        return _OUTCOMES[name]
    found = class_at(module, name)
    return cast("type[BaseException]", found) if found is not None and _is_exception(found) else None


def _is_exception(kind: type) -> bool:
    return BaseException in type.__dict__["__mro__"].__get__(kind)


def _class_of(names: list[Any]) -> type[BaseException]:
    for number, name in enumerate(names[:_MAX_CLASSES]):
        if type(name) not in (list, tuple) or len(name) != 2:
            break
        kind = loaded_class(*name)
        if kind is not None:
            module, qualname = names[0]
            return kind if number == 0 else _below(kind, module, qualname, {})
    raise ReportError("an exception has no class")


def _below(kind: type[BaseException], module: Any, qualname: Any, contents: Data) -> type[BaseException]:
    """Return a new class of this name below another, if making one runs no code."""
    runs_code = type(kind) is not type or any("__init_subclass__" in vars(base) for base in kind.__mro__[:-1])
    if type(module) is not str or type(qualname) is not str or "\0" in module + qualname or runs_code:
        return kind
    try:
        named = {"__module__": module[:_MAX_NAME], "__qualname__": qualname[:_MAX_NAME]}
        return type(qualname.rpartition(".")[2][:_MAX_NAME], (kind,), named | contents)
    except (TypeError, ValueError):
        return kind


def _made(kind: type[BaseException], args: list[Any], grouped: list[BaseException] | None) -> BaseException:
    if grouped is not None:
        args = [args[0] if args and type(args[0]) is str else "", grouped]
    for native in _natives(kind):
        for given in (args, ()):
            with contextlib.suppress(TypeError, ValueError):
                error: BaseException = native.__new__(kind, *given)
                native.__init__(error, *given)
                if not given and args:
                    error.args = tuple(args)
                return error
    raise ReportError(f"an exception of {kind.__qualname__} cannot be made")


def _natives(kind: type) -> list[type[Any]]:
    """Return the classes of the interpreter below a class of exceptions, the nearest first."""
    return [base for base in kind.__mro__ if not base.__flags__ & _HEAP_TYPE and issubclass(base, BaseException)]


def _members(native: type) -> list[tuple[str, Any]]:
    return [
        (name, member)
        for name, member in vars(native).items()
        if isinstance(member, types.MemberDescriptorType) and not name.startswith("__")
    ]


def _trace_of(frames: list[Any]) -> types.TracebackType | None:
    """Return a traceback with these places. Source lines are shown only of files of loaded modules."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())} if frames else set()
    trace: types.TracebackType | None = None
    for frame in reversed(frames[-_MAX_FRAMES:]):
        match frame:
            case (str(file), str(name), int(first), int(line)) if max(len(file), len(name)) < _MAX_NAME:
                numbers = [min(max(number, 1), _MAX_LINE) for number in (first, line)]
                made = _frame(file if file in files else "<inside>", name, numbers[0])
                # Without an instruction, the number of the line counts.
                trace = types.TracebackType(trace, made, -1, numbers[1])
            case _:
                raise ReportError("a traceback has another form")
    return trace


def _frame(file: str, name: str, first: int) -> types.FrameType:
    """Return the frame of a function of this name, which has ended."""
    code = compile("raise LookupError", file, "exec").replace(co_name=name.replace("\0", ""), co_firstlineno=first)
    trace: types.TracebackType | None = None
    try:
        exec(code, {"__name__": "inside", "__builtins__": {"LookupError": LookupError}})
    except LookupError as error:
        trace = error.__traceback__ and error.__traceback__.tb_next
    assert trace is not None
    return trace.tb_frame
