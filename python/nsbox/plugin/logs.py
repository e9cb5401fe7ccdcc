"""Log records as data, and back, for the handlers by which pytest captures them."""

from __future__ import annotations

import logging
from typing import Any

from nsbox.plugin.channel import ReportError
from nsbox.plugin.report import plain

__all__ = ["capturing_handlers", "record_from", "record_to"]

_NONE = type(None)
_FORM: dict[str, tuple[type, ...]] = {
    "name": (str,), "levelno": (int,), "levelname": (str,), "pathname": (str,), "filename": (str,), "module": (str,),
    "lineno": (int,), "funcName": (str, _NONE), "created": (float,), "msecs": (float, int), "relativeCreated": (float,),
    "thread": (int, _NONE), "threadName": (str, _NONE), "processName": (str, _NONE), "process": (int, _NONE),
    "taskName": (str, _NONE), "exc_text": (str, _NONE), "stack_info": (str, _NONE), "msg": (str,),
}  # fmt: skip
_LAST_SECOND = 1 << 32
_formatter = logging.Formatter()


def capturing_handlers() -> list[Any]:
    """Return the handlers that capture for the test, in the same order in both processes."""
    return [one for one in logging.getLogger().handlers if type(one).__name__ == "LogCaptureHandler"]


def record_to(record: logging.LogRecord) -> dict[str, Any]:
    """Return a log record as data, with its message complete."""
    data = {name: value for name, value in vars(record).items() if name not in ("args", "msg", "exc_info", "message")}
    text = record.exc_text
    if not text and record.exc_info and record.exc_info[0] is not None:
        text = _formatter.formatException(record.exc_info)
    result: dict[str, Any] = plain(data | {"msg": record.getMessage(), "exc_text": text})
    return result


def record_from(data: dict[str, Any]) -> logging.LogRecord:
    """Return the log record.

    Raises:
        ReportError: when a part of it has another type.
    """
    for name, kinds in _FORM.items():
        if name in data and type(data[name]) not in kinds:
            raise ReportError(f"the {name} of a log record has another form")
    if any(type(name) is not str or not name.isidentifier() or hasattr(logging.LogRecord, name) for name in data):
        raise ReportError("a log record has an attribute of another name")
    if not all(0 <= data.get(name, 0) < _LAST_SECOND for name in ("created", "msecs")):
        raise ReportError("a log record has no time")
    return logging.makeLogRecord(data | {"args": (), "exc_info": None})
