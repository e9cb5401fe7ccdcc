"""Places that hold data and can be changed: containers, attributes of objects, and variables of functions.

They are listed before a fork, in the same order in both processes. The child finds out what it has changed in them, and
describes that as plain data. The parent makes the same changes. What is no plain data is described by its ``repr``.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import io
import sys
import types
import unittest
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nsbox.plugin.channel import ReportError
from nsbox.plugin.report import is_plain_number, plain

__all__ = ["change", "content_of", "difference", "places_of"]

_MAX_PLACES = 1000
_MAX_DEPTH = 6
_MAX_NEW = 100_000
"""How many new parts of a container are described."""
_MAX_PARTS = 10_000
"""How many parts of one new part are described."""
_SEQUENCES = (list, collections.deque)
_TEXTS = (io.StringIO, io.BytesIO, bytearray)
_CONTAINERS = (*_SEQUENCES, *_TEXTS, dict, set, types.CellType)
_OF_PYTHON = {
    ("types", "SimpleNamespace"), ("argparse", "Namespace"), ("threading", "Event"), ("queue", "Queue"),
    ("queue", "LifoQueue"), ("queue", "PriorityQueue"),
}  # fmt: skip
"""Classes of Python whose attributes are places. Those of others may have to fit to the process, as that of Popen."""
_STDLIB = types.__file__.rpartition("/")[0] + "/"
_ABSENT = object()


def places_of(roots: Iterable[object], seen: set[int]) -> Iterator[object]:
    """Return what can be changed and is reachable from some objects, the nearest first.

    Args:
        roots: These objects.
        seen: The ids of objects that do not count, to which the ids of all that is reachable are added.
    """
    level = list(roots)
    count = 0
    for _ in range(_MAX_DEPTH):
        following: list[object] = []
        for value in level:
            if id(value) in seen or count >= _MAX_PLACES:
                continue
            seen.add(id(value))
            parts = None
            with contextlib.suppress(Exception):  # a class of the test suite can do anything
                parts = _parts_of(value)
            if parts is None:
                continue
            following += parts
            if isinstance(value, _CONTAINERS) or _has_attributes(value):
                count += 1
                yield value
        level = following


def _parts_of(value: object) -> list[object] | None:
    """Return what an object consists of; None for one that is not looked into."""
    if isinstance(value, types.CellType):
        return [] if _is_empty(value) else [value.cell_contents]
    if isinstance(value, _TEXTS):
        return []
    if isinstance(value, (*_SEQUENCES, tuple, set)):
        return list(value)[:_MAX_PLACES]
    if isinstance(value, dict):
        return [*list(value.values())[:_MAX_PLACES], *(_attributes(value).values() if _has_attributes(value) else ())]
    if isinstance(value, types.FunctionType):
        return list(value.__closure__ or ())
    if isinstance(value, (types.MethodType, types.BuiltinMethodType)):
        return [value.__self__, getattr(value, "__func__", None)]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, (types.GeneratorType, types.AsyncGeneratorType)):
        frame = value.gi_frame if isinstance(value, types.GeneratorType) else value.ag_frame
        return [] if frame is None else list(frame.f_locals.values())
    return list(_attributes(value).values()) if _has_attributes(value) else None


def _is_empty(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def _has_attributes(value: object) -> bool:
    kind = type(value)
    return not isinstance(value, type) and _is_of_suite(kind) and (_dict_of(value) is not None or bool(_slots_of(kind)))


def _is_of_suite(kind: type) -> bool:
    """Return whether a class is defined in the test suite: not in Python, pytest, nsbox, or an installed package.

    Some classes of Python count as well, and mocks: a teardown can ask whether they were called.
    """
    if kind.__module__ == "unittest.mock" or (kind.__module__, kind.__qualname__) in _OF_PYTHON:
        return True
    return type(kind.__module__) is str and _is_module_of_suite(kind.__module__)


@functools.cache
def _is_module_of_suite(name: str) -> bool:
    file = str(getattr(sys.modules.get(name), "__file__", None) or "")
    return name.partition(".")[0] not in ("nsbox", "_pytest", "pytest") and not (
        not file or "site-packages" in file or "dist-packages" in file or file.startswith(_STDLIB)
    )


def _dict_of(value: object) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if type(found) is dict else None


def _slots_of(kind: type) -> dict[str, Any]:
    """Return the descriptors of the slots of a class."""
    return {
        name: member
        for one in reversed(kind.__mro__)
        for name, member in vars(one).items()
        if type(member) is types.MemberDescriptorType and _is_of_suite(one)
    }


def _attributes(value: object) -> dict[str, Any]:
    found = dict(_dict_of(value) or {})
    for name, member in _slots_of(type(value)).items():
        with contextlib.suppress(AttributeError):  # it is not set
            found[name] = member.__get__(value)
    # Of a unittest.TestCase, what is private is the state of its run, which is over.
    is_case = isinstance(value, unittest.TestCase)
    return {name: one for name, one in found.items() if not (is_case and name[:1] == "_")}


def content_of(place: Any) -> Any:
    """Return a copy of what a place has: a list, a dictionary, a set, or a text or number; None for nothing to see."""
    try:
        if isinstance(place, types.CellType):
            value = None if _is_empty(place) else place.cell_contents
            return value if _is_scalar(value) else None
        if isinstance(place, _TEXTS):
            value = bytes(place) if isinstance(place, bytearray) else place.getvalue()
            return value if isinstance(value, str) else value.decode("latin-1")
        if isinstance(place, _SEQUENCES):
            return list(place)
        if isinstance(place, (dict, set)):
            return dict(place) if isinstance(place, dict) else set(place)
        return _attributes(place)
    except Exception:  # a thread changes it, or a class of the test suite refuses
        return None


def difference(before: Any, now: Any) -> Any:
    """Return what has changed between two contents as plain data; None for nothing.

    A container that was there before is a place of its own, so only parts are looked at that are others now.
    """
    if isinstance(before, list) and isinstance(now, list):
        pairs = enumerate(zip(before, now, strict=False))
        same = next((at for at, (one, other) in pairs if not _is_same(one, other)), min(len(before), len(now)))
        new = [_data_of(one) for one in now[same : same + _MAX_NEW]]
        return None if same == len(before) == len(now) else [same, new]
    if isinstance(before, dict) and isinstance(now, dict):
        gone = [plain(name) for name in before if name not in now and _is_scalar(name)]
        changed = [(name, value) for name, value in now.items() if not _is_same(before.get(name, _ABSENT), value)]
        pairs_of = [(_scalar_of(name), _data_of(value)) for name, value in changed[:_MAX_NEW]]
        return [gone, pairs_of] if gone or changed else None
    if isinstance(before, set) and isinstance(now, set):
        gone = [_scalar_of(one) for one in before - now]
        more = [_scalar_of(one) for one in list(now - before)[:_MAX_NEW]]
        return [gone, more] if gone or more else None
    if not _is_scalar(before) or not _is_scalar(now) or _is_same(before, now):
        return None
    return [plain(now)]


def _is_scalar(value: object) -> bool:
    return type(value) is str or is_plain_number(value)


def _is_same(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) and _is_scalar(one) and one == other)


def _scalar_of(value: object) -> Any:
    return plain(value if _is_scalar(value) else repr(value))


def _data_of(value: object) -> Any:
    """Return a value as plain data, if it has not too many parts: parts can be shared, and contain each other."""
    left = _MAX_PARTS

    def is_small(one: object) -> bool:
        nonlocal left
        left -= 1
        parts = one.values() if isinstance(one, dict) else one if type(one) in (list, tuple) else ()
        return left > 0 and all(map(is_small, parts))  # type: ignore[call-overload]

    try:
        return plain(value) if is_small(value) else f"<{type(value).__qualname__} with many parts>"
    except RecursionError:
        return f"<{type(value).__qualname__} that contains itself>"


def change(place: Any, content: Any) -> None:
    """Change a place as it was changed in the other process.

    Raises:
        ReportError: when the change has another form.
    """
    parts = content if type(content) is list else []
    if len(parts) == 1 and _is_scalar(parts[0]):
        made = _change_value(place, parts[0])
    else:
        made = len(parts) == 2 and _change_parts(place, *parts)
    if not made:
        raise ReportError("a change of a fixture has another form")


def _change_value(place: Any, value: Any) -> bool:
    if isinstance(place, types.CellType):
        place.cell_contents = value
        return True
    if not isinstance(place, _TEXTS) or type(value) is not str:
        return False
    if isinstance(place, io.StringIO):
        _rewrite(place, value)
    else:
        if not value.isascii() and max(value) > "\xff":
            return False
        data = value.encode("latin-1")
        if isinstance(place, bytearray):
            place[:] = data
        else:
            _rewrite(place, data)
    return True


def _rewrite(file: Any, content: str | bytes) -> None:
    file.seek(0)
    file.truncate()
    file.write(content)


def _change_parts(place: Any, first: Any, second: Any) -> bool:
    if type(second) is not list:
        return False
    if isinstance(place, _SEQUENCES):
        if type(first) is not int or not 0 <= first <= len(place):
            return False
        while len(place) > first:
            place.pop()
        place.extend(second)
        return True
    if type(first) is not list or not all(map(_is_scalar, first)):
        return False
    if isinstance(place, set):
        if all(map(_is_scalar, second)):
            place.difference_update(first)
            place.update(second)
            return True
        return False
    if isinstance(place, (*_TEXTS, types.CellType)):
        return False
    if not all(type(pair) is tuple and len(pair) == 2 and _is_scalar(pair[0]) for pair in second):
        return False
    if isinstance(place, dict):
        for name in first:
            dict.pop(place, name, None)
        dict.update(place, second)
        return True
    return _change_attributes(place, first, second)


def _change_attributes(place: Any, gone: list[Any], new: list[tuple[Any, Any]]) -> bool:
    slots, attributes = _slots_of(type(place)), _dict_of(place)
    names = [*gone, *(name for name, _ in new)]
    if not all(type(name) is str and (name in slots or attributes is not None) for name in names):
        return False
    for name in gone:
        if name in slots:
            _quietly(slots[name].__delete__, place)
        elif attributes is not None:
            attributes.pop(name, None)
    for name, value in new:
        if name in slots:
            slots[name].__set__(place, value)
        elif attributes is not None:
            attributes[name] = value
    return True


def _quietly(delete: Callable[[Any], None], place: Any) -> None:
    with contextlib.suppress(AttributeError):  # it is not set
        delete(place)
