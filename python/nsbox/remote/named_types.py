"""The listed types whose objects come out of a box besides numbers, texts and containers; for `nsbox.remote.encoding`.

Each has a form: a function that takes an object apart into plain values, and one that makes an object from parts that
may have been written by anybody. It calls the type's own constructor alone, after it has checked the parts.
"""

from __future__ import annotations

import math
import re
import sys
from importlib import import_module

from nsbox.remote import exceptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Form: TypeAlias = tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]

__all__ = ["made_from", "parts_of"]

_MAX_FRACTION_BITS = 1 << 15
"""The size of the two numbers of a Fraction: their greatest common divisor takes quadratic time."""
_MAX_NUMBER_CHARS = 1 << 16
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,3}")
_ZONES = ("datetime.timezone", "zoneinfo.ZoneInfo")
_DTYPE = re.compile(r"[<>|=](?P<kind>[biufcmMSU])[1-9][0-9]{0,8}(\[[0-9]{0,6}[a-zA-Z]{1,2}\])?")
_MAX_DIMENSIONS = 32
_MAX_CHARACTER = 0x10FFFF


def parts_of(value: object) -> tuple[str, Any] | None:
    """Return the name of a value's type, and its parts; None for a type that is not listed."""
    name = _name_of(type(value))
    parts = None if name is None else _form_of(name)[0](value)
    return None if parts is None or name is None else (name, parts)


def made_from(name: str, parts: Any) -> Any:
    """Return the object.

    Raises:
        Exception: for a name that is not listed, and for other parts than `parts_of` returns.
    """
    if name == _LOADED:
        return exceptions.loaded(parts)
    form = _form_of(name)
    if name in exceptions.OUTCOMES:
        return form[1](exceptions.outcome_class(name), parts)
    module, _, kind = name.rpartition(".")
    return form[1](getattr(import_module(module), kind), parts)


def _form_of(name: str) -> Form:
    if name in exceptions.LISTED:
        return _EXCEPTION
    if name in exceptions.OUTCOMES:
        return _OUTCOME
    if name in _STRUCTURES:
        return _STRUCTURE
    if name in _RECORDS:
        return _RECORD
    if name in _TABLES:
        return _TABLE
    return _FORMS[name]


_found_names: dict[type, str | None] = {}


def _name_of(kind: type) -> str | None:
    """Return the listed name of a type."""
    if kind not in _found_names:
        _found_names[kind] = _find_name(kind)
    return _found_names[kind]


def _find_name(kind: type) -> str | None:
    # Only a module that is loaded can have made it.
    for names in (_FORMS, exceptions.LISTED, exceptions.OUTCOMES, _STRUCTURES, _RECORDS, _TABLES):
        for name in names:
            module, _, attribute = name.rpartition(".")
            if getattr(sys.modules.get(module), attribute, None) is kind:
                return name
    if issubclass(kind, BaseException):
        return None if exceptions.obstacle(kind) else _LOADED
    numpy = sys.modules.get("numpy")
    is_scalar = numpy is not None and issubclass(kind, numpy.generic)
    return "numpy.generic" if is_scalar and kind.__module__ == "numpy" else None


def _typed(parts: Any, *kinds: type) -> Any:
    """Return parts, if they are a tuple of exactly these types."""
    if type(parts) is not tuple or [type(part) for part in parts] != list(kinds):
        raise TypeError("parts of other types")
    return parts


# Dates and times


def _check_zone(zone: Any) -> Any:
    if zone is not None and _name_of(type(zone)) not in _ZONES:
        raise TypeError("a time zone of another type")
    return zone


def _datetime_parts(value: Any) -> Any:
    day = value.year, value.month, value.day
    return *day, value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo


def _datetime(kind: Any, parts: Any) -> Any:
    *numbers, fold, zone = parts
    return kind(*_typed(tuple(numbers), *[int] * 7), tzinfo=_check_zone(zone), fold=fold)


def _time_parts(value: Any) -> Any:
    return value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo


def _time(kind: Any, parts: Any) -> Any:
    *numbers, fold, zone = parts
    return kind(*_typed(tuple(numbers), *[int] * 4), tzinfo=_check_zone(zone), fold=fold)


def _timezone(kind: Any, parts: Any) -> Any:
    # Its constructor checks the types.
    if type(parts) is not tuple:
        raise TypeError("parts of another type")
    return kind(*parts)


def _zone_info(kind: Any, parts: Any) -> Any:
    # The key becomes a path.
    (key,) = _typed(parts, str)
    if not _ZONE.fullmatch(key):
        raise ValueError("the key of no time zone")
    return kind(key)


# Numbers, paths and identifiers


def _decimal(kind: Any, parts: Any) -> Any:
    (text,) = _typed(parts, str)
    if len(text) > _MAX_NUMBER_CHARS:
        raise ValueError("a long number")
    return kind(text)


def _decimal_parts(value: Any) -> Any:
    text = str(value)
    return (text,) if len(text) <= _MAX_NUMBER_CHARS else None


def _fraction(kind: Any, parts: Any) -> Any:
    if max(part.bit_length() for part in _typed(parts, int, int)) > _MAX_FRACTION_BITS:
        raise ValueError("a large number")
    return kind(*parts)


def _fraction_parts(value: Any) -> Any:
    parts = value.numerator, value.denominator
    return parts if max(part.bit_length() for part in parts) <= _MAX_FRACTION_BITS else None


def _from_text(kind: Any, parts: Any) -> Any:
    return kind(*_typed(parts, str))


def _uuid(kind: Any, parts: Any) -> Any:
    (data,) = _typed(parts, bytes)
    return kind(bytes=data)


def _signal(kind: Any, parts: Any) -> Any:
    return kind(*_typed(parts, int))


# Containers


def _from_dict(kind: Any, parts: Any) -> Any:
    if type(parts) is not dict:
        raise TypeError("parts of another type")
    return kind(parts)


def _deque(kind: Any, parts: Any) -> Any:
    items, length = parts
    if type(items) is not list:
        raise TypeError("parts of another type")
    return kind(items, length)


# Arrays of numpy


def _array_parts(value: Any) -> Any:
    form = value.dtype.str
    if value.dtype.fields is not None or not _DTYPE.fullmatch(form):
        return None
    return form, value.shape, value.tobytes()


def _array(_: Any, parts: Any) -> Any:
    import numpy  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - may be missing

    form, shape, data = _typed(parts, str, tuple, bytes)
    found = _DTYPE.fullmatch(form)
    if not found or len(shape) > _MAX_DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("another dtype or shape")
    dtype = numpy.dtype(form)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("an array of another size")
    if not data:
        return numpy.empty(shape, dtype)
    array = numpy.frombuffer(bytearray(data), dtype)
    if found["kind"] == "b":
        # A bool that is neither 0 nor 1 is counted wrong.
        array = array.view(numpy.uint8) != 0
    if found["kind"] == "U" and array.view(numpy.dtype(form[0] + "u4")).max() > _MAX_CHARACTER:
        raise ValueError("a text with a number that is no character")
    return array.reshape(shape)


def _scalar_parts(value: Any) -> Any:
    import numpy  # noqa: PLC0415 - may be missing

    return _array_parts(numpy.asarray(value))


def _scalar(kind: Any, parts: Any) -> Any:
    array = _array(kind, parts)
    if array.shape != ():
        raise ValueError("an array, not a scalar")
    return array[()]


# Structures of the os, time and resource modules: tuples with names


def _structure_parts(value: Any) -> Any:
    return value.__reduce__()[1]


def _structure(kind: Any, parts: Any) -> Any:
    return kind(*_typed(parts, tuple, dict))


# What nsbox has read


def _record_parts(value: Any) -> Any:
    from nsbox.records.recording import plain  # noqa: PLC0415 - only if needed

    return plain(value)


def _record(kind: Any, parts: Any) -> Any:
    from nsbox.records.recording import restored  # noqa: PLC0415 - only if needed

    return restored(_marked(parts), kind)


def _table_parts(value: Any) -> Any:
    return value.to_dict()


def _table(kind: Any, parts: Any) -> Any:
    return kind.from_dict(_marked(parts))


def _marked(parts: Any) -> Any:
    """Mark everywhere that a record was received: which process it names may be made up (`nsbox.seeing.target`)."""
    if isinstance(parts, dict):
        if isinstance(reading := parts.get("reading"), dict):
            reading["received"] = True
        for part in parts.values():
            _marked(part)
    elif isinstance(parts, list):
        for part in parts:
            _marked(part)
    return parts


def _completed_parts(value: Any) -> Any:
    return value.args, value.returncode, value.stdout, value.stderr


def _known_parts(value: Any) -> Any:
    return *_completed_parts(value), value._used, value.seconds, value.truncated, value._cpu_limits


def _known(kind: Any, parts: Any) -> Any:
    *subject, used, seconds, truncated, limits = parts
    completed = _completed(kind, subject)
    _typed((seconds, truncated, *limits), float, bool, int, int)
    if used is not None:
        user, system, counts = used
        _typed((user, system, *counts), float, float, *[int] * 14)
    completed._used, completed.seconds, completed.truncated, completed._cpu_limits = used, seconds, truncated, limits
    return completed


def _completed(kind: Any, parts: Any) -> Any:
    args, returncode, stdout, stderr = parts
    if type(returncode) is not int:
        raise TypeError("no return code")
    return kind(args, returncode, stdout, stderr)


_LOADED = "loaded exception"
"""The name for an exception of any class that is loaded; its parts have the name of the class."""
_FORMS: dict[str, Form] = {
    _LOADED: (exceptions.loaded_parts, lambda _, parts: exceptions.loaded(parts)),
    "datetime.datetime": (_datetime_parts, _datetime),
    "datetime.date": (lambda day: (day.year, day.month, day.day), lambda kind, parts: kind(*_typed(parts, *[int] * 3))),
    "datetime.time": (_time_parts, _time),
    "datetime.timedelta": (
        lambda value: (value.days, value.seconds, value.microseconds),
        lambda kind, parts: kind(*_typed(parts, *[int] * 3)),
    ),
    "datetime.timezone": (lambda zone: zone.__getinitargs__(), _timezone),
    "zoneinfo.ZoneInfo": (lambda zone: (zone.key,) if zone.key else None, _zone_info),
    "decimal.Decimal": (_decimal_parts, _decimal),
    "fractions.Fraction": (_fraction_parts, _fraction),
    "pathlib.PosixPath": (lambda path: (str(path),), _from_text),
    "pathlib.PurePosixPath": (lambda path: (str(path),), _from_text),
    "pathlib.PureWindowsPath": (lambda path: (str(path),), _from_text),
    "uuid.UUID": (lambda value: (value.bytes,), _uuid),
    "signal.Signals": (lambda value: (value.value,), _signal),
    "signal.Handlers": (lambda value: (value.value,), _signal),
    "collections.OrderedDict": (dict, _from_dict),
    "collections.Counter": (dict, _from_dict),
    "collections.deque": (lambda value: (list(value), value.maxlen), _deque),
    "subprocess.CompletedProcess": (_completed_parts, _completed),
    "nsbox.start.completed.Completed": (_known_parts, _known),
    "numpy.ndarray": (_array_parts, _array),
    "numpy.generic": (_scalar_parts, _scalar),
}
_EXCEPTION: Form = exceptions.listed_parts, exceptions.listed
_OUTCOME: Form = exceptions.outcome_parts, exceptions.outcome
_STRUCTURE: Form = _structure_parts, _structure
_RECORD: Form = _record_parts, _record
_TABLE: Form = _table_parts, _table
_STRUCTURES = {
    "os.stat_result", "os.statvfs_result", "os.terminal_size", "os.times_result", "os.uname_result",
    "resource.struct_rusage", "time.struct_time",
}  # fmt: skip
_RECORDS = {
    "nsbox.records.diagnosis.Allowed", "nsbox.records.diagnosis.Answer", "nsbox.records.diagnosis.Trial",
    "nsbox.records.ipc.IpcObject", "nsbox.records.mountinfo.Mount", "nsbox.records.namespaces.NamespaceRecord",
    "nsbox.records.processes.Capabilities", "nsbox.records.processes.NamespaceIds", "nsbox.records.processes.Process",
    "nsbox.records.processes.Thread", "nsbox.records.tree.Node",
}  # fmt: skip
_TABLES = {
    "nsbox.seeing.compare.Comparison", "nsbox.seeing.diff.Diff", "nsbox.seeing.ipc.IpcTable",
    "nsbox.seeing.mounts.MountTable", "nsbox.seeing.namespaces.NamespaceTable", "nsbox.seeing.processes.ProcessTable",
    "nsbox.seeing.snapshot.Snapshot", "nsbox.seeing.tree.ProcessTree",
}  # fmt: skip
