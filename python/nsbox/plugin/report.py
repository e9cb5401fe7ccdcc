"""What the process of a test inside sends to pytest's process: the forms of its records, and their checks.

A program that the test starts can trace the test's process, and change everything that it sends. So a report travels
as the data that pytest itself makes of it (pytest_report_to_serializable), never as a pickle: None, numbers, texts,
lists, tuples and dictionaries, which pytest-xdist can send on. A false report can be wrong about its own test, and
nothing else.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from nsbox.plugin import leaks
from nsbox.plugin.channel import ReportError

__all__ = [
    "check",
    "check_properties",
    "is_plain_number",
    "is_text",
    "plain",
    "report_from",
    "without_surrogates",
]

_MAX_DEPTH = 40
_INT_BITS = 63
_SUBTEST = "SubTestReport"
"""The name by which pytest and pytest-subtests mark the data of a report of a subtest."""


# In the child


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value as plain data. What is none is sent as text."""
    if type(value) is str:
        return without_surrogates(value)
    if is_plain_number(value):
        return value
    if depth < _MAX_DEPTH:
        if isinstance(value, dict):
            return {plain(str(key)): plain(one, depth + 1) for key, one in value.items()}
        if type(value) in (list, tuple):
            return type(value)(plain(one, depth + 1) for one in value)
    try:
        return plain(repr(value))
    except Exception as error:
        return f"<{type(value).__qualname__} without a text: {type(error).__name__}>"


def without_surrogates(text: str) -> str:
    """Return a text that can be written as UTF-8: a surrogate is written as an escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def is_plain_number(value: object) -> bool:
    """Return whether a value is None, a truth value, or a number that fits into 64 bits."""
    return value is None or type(value) in (bool, float) or (type(value) is int and value.bit_length() < _INT_BITS)


# In pytest's process


def is_text(text: str) -> bool:
    """Return whether a text can be written as UTF-8: it has no surrogates."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def check(record: Any) -> None:
    """Check the form of a record.

    Raises:
        ReportError: when its name is unknown, or its parts have another form.
    """
    if type(record) is not tuple or not record or type(record[0]) is not str or record[0] not in _RECORDS:
        raise ReportError("it has an unknown record")
    name, *parts = record
    if not _fits(parts, _RECORDS[name]):
        raise ReportError(f"its record {name!a} has another form")
    # Exceptions are checked where they are made, and can contain bytes.
    if not all(_is_plain(part) for number, part in enumerate(parts) if number not in _EXCEPTIONS.get(name, ())):
        raise ReportError(f"its record {name!a} is no plain data")


def _is_plain(value: Any) -> bool:
    if type(value) is str:
        return is_text(value)
    if type(value) is dict:
        return all(type(key) is str and _is_plain(key) for key in value) and all(map(_is_plain, value.values()))
    return all(map(_is_plain, value)) if type(value) in (list, tuple) else is_plain_number(value)


def report_from(item: pytest.Item, data: dict[str, Any], *, of_subtest: bool = False) -> pytest.TestReport:
    """Return the report of a test or a subtest. It is a report of this test, whatever the data say.

    Raises:
        ReportError: when pytest cannot make or show it.
    """
    known = _REPORT | _OF_SUBTEST if of_subtest else _REPORT
    for name, value in data.items():
        if not _fits(value, known[name]) if name in known else not _is_extra(name):
            raise ReportError(f"its attribute {name!a} has another form")
    if any(not math.isfinite(data.get(name, 0.0)) for name in ("duration", "start", "stop")):
        raise ReportError("its time is no number")
    check_properties(data.get("user_properties", ()))
    own: dict[str, Any] = {"nodeid": item.nodeid, "location": item.location, "when": "call"}
    own |= {"_report_type": _SUBTEST} if of_subtest else {"$report_type": "TestReport"}
    try:
        made = item.config.hook.pytest_report_from_serializable(config=item.config, data=data | own)
        # A text of lines that do not fit together would otherwise fail where all reports are shown.
        _ = made.longreprtext, made.head_line
    except Exception as error:
        raise ReportError(f"pytest cannot read it: {error!r:.200}") from None
    if type(made) is not pytest.TestReport and not (of_subtest and type(made).__name__.lower() == _SUBTEST.lower()):
        raise ReportError(f"it is a {type(made).__name__}")
    report: pytest.TestReport = made
    if of_subtest and "_subtest.context" in data:
        # These are texts already, of which pytest 9 has made a text again.
        object.__setattr__(made.context, "kwargs", data["_subtest.context"].get("kwargs", {}))
    for name in ("$report_type", *_OF_SUBTEST):
        vars(report).pop(name, None)
    return report


def check_properties(properties: Any) -> None:
    """Check the properties of a test (record_property).

    Raises:
        ReportError: when one of nsbox has another form.
    """
    if any(name == leaks.LEAKED and type(value) is not str for name, value in properties):
        raise ReportError(f"its property {leaks.LEAKED} is no text")


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
_OF_SUBTEST: dict[str, Any] = {"_report_type": {_SUBTEST}, "_subtest.context": {"msg": _TEXT, "kwargs": dict}}
"""The attributes that the report of a subtest has as well."""
_ERROR = _Either(_NONE, dict)
"""An exception (`nsbox.plugin.exceptions`), or none."""
_RECORDS: dict[str, Any] = {
    "property": (str, object),
    "properties": ([(str, object)],),
    "section": (str, str, str),
    "warning": (dict, str, int, str),
    "log": (int, dict),
    "log cleared": (int,),
    "xml attribute": (str, str),
    "xml property": (str, str),
    "state": ({"place", "attribute", "stash"}, object, object),
    "recorded": (str, object),
    "subtest": (dict, _ERROR),
    "xfail": (str, bool, bool, _Either(_NONE, bool)),
    "output": (_TEXT, _TEXT, bool),
    "dropped": (int,),
    "debugged": (),
    "passed": (float, float, float),
    "end": (dict, _ERROR, [dict]),
    "verdict": (dict, _ERROR),
    "next": (dict,),
    "late": (dict, dict),
    "done": (),
}
"""The records, and the forms of their parts.

- ``property``: of the test (record_property); ``properties``: all of them, at the end.
- ``section``: phase, title and text (add_report_section).
- ``warning``: it, its file, the number of the line, and the line.
- ``log``: the number of the handler that has got it, and its attributes; ``log cleared``: the handler was emptied.
- ``xml attribute``, ``xml property``: for JUnit's XML, of the test and of the suite.
- ``state``: a kind, the number or the name of a place that belongs to the test, and its change (`nsbox.plugin.state`).
- ``recorded``: the name of a plugin, and what the test has recorded with it (`nsbox.plugin.recorded`).
- ``subtest``: its report, and its exception.
- ``xfail``: the reason, whether it counts, whether the test was called, and whether it is strict, of a marker that the
  test has added.
- ``output``: what is in the memory of pytest for the standard streams, and whether it replaces what is there outside.
- ``dropped``: how many records of less importance there was no place for.
- ``debugged``: a debugger was opened inside.
- ``passed``: its start and its end, in seconds since the epoch, and its duration in seconds.
- ``end``: the report of a test that has not passed, its exception, and those that unittest has collected.
- ``verdict``: the report that a plugin has made for a test that has raised nothing, and the exception in it.
- ``next``: the report of the second exception that unittest has collected.
- ``late``: the report of what fails after the end, and its exception; ``done``: nothing follows.
"""
_EXCEPTIONS = {"warning": {0}, "subtest": {1}, "end": {1, 2}, "verdict": {1}, "late": {1}}
"""Which parts are exceptions."""
