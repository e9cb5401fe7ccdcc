"""What the process of a test inside sends to pytest's process: encoded, and checked as data of an attacker.

A program that the test starts can trace the test's process, and change everything that it sends. So the report travels
as the data that pytest itself makes of it (pytest_report_to_serializable), never as a pickle: None, numbers, texts,
lists, tuples and dictionaries, which pytest-xdist can send on. A false report can be wrong about its own test, and
nothing else.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from typing import Any

import pytest

from nsbox.errors import TransferError
from nsbox.plugin import leaks
from nsbox.remote.encoding import decode, encode

__all__ = ["MAX_REPORT_BYTES", "ReportError", "packed", "read_report", "report_from", "warning_from", "warning_to"]

MAX_REPORT_BYTES = 1 << 26
"""The longest report, with all that the test has printed."""
_MAX_DEPTH = 40
_INT_BITS = 63


class ReportError(Exception):
    """What arrived is no report; the text says why."""


# In the child


def packed(result: dict[str, Any]) -> bytes:
    """Return what the child sends. Attributes and properties that are no plain data are sent as text."""
    return encode(_plain(result))


def _plain(value: Any, depth: int = 0) -> Any:
    if type(value) is str:
        return value.encode("utf-8", "backslashreplace").decode()
    if _is_plain_number(value):
        return value
    if depth < _MAX_DEPTH:
        if isinstance(value, dict):
            return {_plain(str(key)): _plain(one, depth + 1) for key, one in value.items()}
        if type(value) in (list, tuple):
            return type(value)(_plain(one, depth + 1) for one in value)
    try:
        return _plain(repr(value))
    except Exception as error:
        return f"<{type(value).__qualname__} without a text: {type(error).__name__}>"


def _is_plain_number(value: object) -> bool:
    return value is None or type(value) in (bool, float) or (type(value) is int and value.bit_length() < _INT_BITS)


def warning_to(message: warnings.WarningMessage) -> tuple[str, str, str, int]:
    """Return the text, the category and the place of a warning."""
    category = f"{message.category.__module__}:{message.category.__qualname__}"
    return str(message.message), category, message.filename, message.lineno


# In pytest's process


def read_report(fd: int) -> dict[str, Any]:
    """Return what the child has written to a file; empty if it has written nothing.

    Raises:
        ReportError: when it is too long, is no encoded value, or has other parts than `_RESULT`.
    """
    size = os.fstat(fd).st_size
    if size > MAX_REPORT_BYTES:
        raise ReportError(f"it has {size} bytes, and at most {MAX_REPORT_BYTES} are read")
    data = os.pread(fd, size, 0)
    try:
        result = decode(data) if data else {}
    except TransferError as error:
        raise ReportError(str(error)) from None
    if type(result) is not dict or not _is_plain(result):
        raise ReportError("it is no dictionary of plain data")
    for name, value in result.items():
        if name not in _RESULT or not _fits(value, _RESULT[name]):
            raise ReportError(f"its part {name!a} has another form")
    return result


def _is_plain(value: Any) -> bool:
    if type(value) is str:
        return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
    if type(value) is dict:
        return all(type(key) is str and _is_plain(key) for key in value) and all(map(_is_plain, value.values()))
    return all(map(_is_plain, value)) if type(value) in (list, tuple) else _is_plain_number(value)


def report_from(item: pytest.Item, data: dict[str, Any]) -> pytest.TestReport:
    """Return the report of a test. It is the report of this test, whatever the data say.

    Raises:
        ReportError: when pytest cannot make or show it.
    """
    for name, value in data.items():
        if not _fits(value, _REPORT[name]) if name in _REPORT else not _is_extra(name):
            raise ReportError(f"its attribute {name!a} has another form")
    if any(not math.isfinite(data.get(name, 0.0)) for name in ("duration", "start", "stop")):
        raise ReportError("its time is no number")
    if any(name == leaks.LEAKED and type(value) is not str for name, value in data.get("user_properties", ())):
        raise ReportError(f"its property {leaks.LEAKED} is no text")
    own = {"$report_type": "TestReport", "nodeid": item.nodeid, "location": item.location, "when": "call"}
    try:
        made = item.config.hook.pytest_report_from_serializable(config=item.config, data=data | own)
        # A text of lines that do not fit together would otherwise fail where all reports are shown.
        _ = made.longreprtext
    except Exception as error:
        raise ReportError(f"pytest cannot read it: {error!r:.200}") from None
    if type(made) is not pytest.TestReport:
        raise ReportError(f"it is a {type(made).__name__}")
    return made


def warning_from(parts: tuple[str, str, str, int]) -> tuple[str, type[Warning], str, int]:
    """Return the arguments of `warnings.warn_explicit`. A category that is not loaded here is a UserWarning."""
    message, name, filename, lineno = parts
    module, _, attribute = name.partition(":")
    category: Any = getattr(sys.modules.get(module), "__dict__", {}).get(attribute)
    try:
        if issubclass(category, Warning) and category(message):
            return message, category, filename, lineno
    except Exception:
        pass  # no class, or one whose constructor takes something else
    return message, UserWarning, filename, lineno


def _is_extra(name: object) -> bool:
    """Return whether a plugin can have added an attribute of this name to a report: it hides nothing of the class."""
    return type(name) is str and name.isidentifier() and name[0] != "_" and not hasattr(pytest.TestReport, name)


def _fits(value: object, form: Any) -> bool:
    """Return whether a value has a form.

    A form is a type; a set of values; a list with the form of all items; a tuple with the form of each item; a
    dictionary with the form of each value, by its key; or `_Either`.
    """
    if isinstance(form, _Either):
        return any(_fits(value, one) for one in form.forms)
    if isinstance(form, type):
        return form is object or type(value) is form
    if isinstance(form, set):
        return type(value) is str and value in form
    if isinstance(form, dict):
        # Later versions of pytest may add other keys.
        return type(value) is dict and all(_fits(value[name], form[name]) for name in form if name in value)
    if type(value) not in (list, tuple):
        return False
    items: list[Any] = list(value)  # type: ignore[call-overload]
    if isinstance(form, list):
        return all(_fits(one, form[0]) for one in items)
    return len(items) == len(form) and all(map(_fits, items, form))


class _Either:
    def __init__(self, *forms: Any) -> None:
        self.forms = forms


_NONE = type(None)
_TEXT = _Either(str, _NONE)
_PLACE = {"path": str, "lineno": int, "message": str}
_ENTRY = {
    "type": {"ReprEntry", "ReprEntryNative"},
    "data": {
        "lines": [str],
        "reprfuncargs": _Either(_NONE, {"args": [(str, str)]}),
        "reprlocals": _Either(_NONE, {"lines": [str]}),
        "reprfileloc": _Either(_NONE, _PLACE),
        "style": str,
    },
}
_TRACEBACK = {"reprentries": [_ENTRY], "extraline": _TEXT, "style": str}
_FAILURE = {
    "reprcrash": _Either(_NONE, _PLACE),
    "reprtraceback": _TRACEBACK,
    "sections": [(str, str, {"-", "=", "_", "!"})],
    "chain": _Either(_NONE, [(_TRACEBACK, _Either(_NONE, _PLACE), _TEXT)]),
}
_NUMBER = _Either(int, float)
_REPORT: dict[str, Any] = {
    "$report_type": str,
    "nodeid": str,
    "location": (str, _Either(int, _NONE), str),
    "keywords": dict,
    "outcome": {"passed", "failed", "skipped"},
    "longrepr": _Either(_NONE, str, (str, int, str), _FAILURE),
    "when": str,
    "user_properties": [(str, object)],
    "sections": [(str, str)],
    "duration": _NUMBER,
    "start": _NUMBER,
    "stop": _NUMBER,
    "wasxfail": str,
}
"""The attributes of `pytest.TestReport`, and the data that pytest makes of them."""
_RESULT: dict[str, Any] = {
    "report": dict,
    "raised": bool,
    "exit": (_TEXT, _Either(int, _NONE)),
    "interrupt": bool,
    "warnings": [(str, str, str, int)],
}
"""The parts of what the child sends: its report, or that the test has ended the whole run; and its warnings."""
