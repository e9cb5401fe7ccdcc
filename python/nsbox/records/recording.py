"""Records as plain data, and back: what was read on one machine can be shown on another, also without Linux.

The data fit into JSON: dictionaries, lists, texts, numbers and None. The types of the attributes determine which texts
are read back as bytes, so there are no tags. Bytes that are not UTF-8 are ``{"hex": ...}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from nsbox.errors import SpecError

__all__ = ["VERSION", "loaded", "plain", "recorded", "restored"]

VERSION = 1
"""The version of the format. It is raised when code for the version before would misread the data."""


def recorded(kind: str, **parts: object) -> dict[str, Any]:
    """Return an object as plain data: its kind, the version, and its parts."""
    return {"nsbox": kind, "version": VERSION} | {name: plain(part) for name, part in parts.items()}


def loaded(data: object, kind: str, **types: Any) -> dict[str, Any]:
    """Return the parts of a recorded object.

    Args:
        data: The plain data.
        kind: The kind that is expected.
        **types: The types of the parts.

    Raises:
        SpecError: when the data are of another kind, of an unknown version, or damaged.
    """
    if not isinstance(data, dict) or data.get("nsbox") != kind:
        raise SpecError(f"data: no recorded {kind}")
    if data.get("version") != VERSION:
        raise SpecError(f"data: recorded in version {data.get('version')!r} of the format; this nsbox knows {VERSION}")
    try:
        return {name: restored(data[name], each) for name, each in types.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SpecError(f"data: damaged {kind}: {error}") from error


def plain(value: object) -> Any:
    """Return a value as plain data. A record becomes a dictionary of the attributes that are set."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return _text(value.decode("utf-8", "surrogateescape"))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if is_dataclass(value):
        known = ((field.name, getattr(value, field.name, _NONE)) for field in fields(value))
        return {name: plain(one) for name, one in known if one is not _NONE}
    if hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Iterable):
        return [plain(one) for one in value]
    raise TypeError(f"{type(value).__name__} cannot be recorded")


_NONE = object()


def _text(text: str) -> Any:
    """Return a text; a dictionary if lone surrogates in it stand for bytes, as most JSON readers refuse these."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"hex": text.encode("utf-8", "surrogateescape").hex()}
    return text


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def restored(data: Any, kind: Any) -> Any:
    """Return a value of a type from plain data.

    Raises:
        Exception: an AttributeError, KeyError, TypeError or ValueError when the data do not fit the type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if data is None:
            return None
        (kind,) = (one for one in arguments if one is not type(None))
        return restored(data, kind)
    if origin is tuple:
        if not isinstance(data, list):
            raise TypeError(f"a list was expected, not {data!r}")
        kinds = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else arguments
        return tuple(restored(one, each) for one, each in zip(data, kinds, strict=True))
    if origin is dict:
        return {arguments[0](key): restored(one, arguments[1]) for key, one in data.items()}
    if origin is Literal:
        if data not in arguments:
            raise ValueError(f"{data!r} is none of {arguments}")
        return data
    if kind is dict:
        return dict(data)
    if kind in (bytes, str):
        raw = bytes.fromhex(data["hex"]) if isinstance(data, dict) else str(data).encode()
        return raw if kind is bytes else raw.decode("utf-8", "surrogateescape")
    if kind is float and type(data) is int:
        return float(data)
    if kind in (bool, int, float):
        if type(data) is not kind:
            raise TypeError(f"{kind.__name__} was expected, not {data!r}")
        return data
    return _record(data, kind)


def _record(data: Any, kind: Any) -> Any:
    """Make a record. Attributes that the class does not know are left out."""
    hints = _hints(kind)
    record = kind(**{name: restored(value, hints[name]) for name, value in data.items() if name in hints})
    missing: list[str] = getattr(record, "_missing", list)()
    if missing:
        raise KeyError(f"{kind.__name__} without {', '.join(missing)}")
    return record
