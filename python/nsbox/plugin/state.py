"""What a marked test changes in its own fixtures, in its instance and on itself, for the teardown and for hooks.

A fixture that collects failures in a list, and asserts in its teardown that the list is empty, must not pass because
the test ran in another process. So the places that a teardown can look at are listed before the fork, in the same order
in both processes: containers, attributes of objects, and variables of functions and generators. The process of the test
sends what it has changed in them as plain data, with the number of the place. pytest's process changes these places and
no others. Only what belongs to this one test is listed: nothing of a fixture with a wider scope.
"""

from __future__ import annotations

import collections
import functools
import sys
import types
import unittest
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from nsbox.plugin.channel import ReportError
from nsbox.plugin.report import is_plain_number, plain

__all__ = ["State"]

_MAX_PLACES = 1000
_MAX_DEPTH = 6
_SEQUENCES = (list, collections.deque)
_OF_PYTEST = {
    "name", "originalname", "fixturenames", "keywords", "own_markers", "extra_keyword_matches", "user_properties",
    "stash", "callspec", "funcargs",
}  # fmt: skip
"""Attributes that pytest itself gives to a test."""
_ABSENT = object()


class State:
    """The places of one test."""

    def __init__(self, item: pytest.Item) -> None:
        """List the places, before the fork."""
        self._item = item
        wide, own = _roots_of(item)
        seen: set[int] = set()
        for _ in _places_of(wide, seen):
            pass  # what others can reach, too
        self._places = list(_places_of(own, seen))
        self._attributes: dict[str, Any] = {}
        self._stash: dict[str, Any] = {}
        self._contents: list[Any] = []

    # In the child

    def keep(self) -> None:
        """Keep what is there before the test."""
        self._contents = [_content_of(place) for place in self._places]
        self._attributes = dict(_attributes_of(self._item))
        self._stash = dict(_stash_of(self._item))

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """Return what has changed since the last call, as records without their name: kind, key, and content."""
        for number, place in enumerate(self._places):
            before, now = self._contents[number], _content_of(place)
            if (change := _difference(before, now)) is not None:
                yield "place", number, change
            self._contents[number] = now
        for kind, kept, present in (
            ("attribute", self._attributes, dict(_attributes_of(self._item))),
            ("stash", self._stash, dict(_stash_of(self._item))),
        ):
            for name, value in present.items():
                if kept.get(name, _ABSENT) != value:
                    yield kind, name, value
            kept.clear()
            kept.update(present)

    # In pytest's process

    def change(self, kind: str, key: Any, content: Any) -> None:
        """Change a place as it was changed inside.

        Raises:
            ReportError: when there is no such place, or the content has another form.
        """
        if kind == "place" and type(key) is int and 0 <= key < len(self._places):
            _change(self._places[key], content)
        elif kind == "attribute" and type(key) is str and _may_be_set(self._item, key):
            present = vars(self._item).get(key)
            if type(present) is not dict:
                setattr(self._item, key, content)
            elif type(content) is dict:
                present.clear()
                present.update(content)
        elif kind == "stash" and type(key) is str and key in (keys := _named_keys(self._item)):
            self._item.stash[keys[key]] = content
        else:
            raise ReportError("it changes what the test does not have")


# What belongs to the test


def _roots_of(item: pytest.Item) -> tuple[list[object], list[object]]:
    """Return the values and finalizers of fixtures: of those with a wider scope, and of its own with its instance."""
    instance = getattr(item, "instance", None)
    wide: list[object] = []
    own: list[object] = list(item.session._setupstate.stack.get(item, ([],))[0])
    if instance is not None:
        own.append(instance)
    for definition in list(getattr(getattr(item, "_request", None), "_fixture_defs", {}).values()):
        if (cached := getattr(definition, "cached_result", None)) is not None:
            values = own if definition.scope == "function" else wide
            values += [cached[0], *getattr(definition, "_finalizers", ())]
    return wide, own


def _is_of_suite(kind: type) -> bool:
    """Return whether a class is defined in the test suite: not in Python, pytest, nsbox, or an installed package.

    Mocks count as well: a teardown can ask whether they were called.
    """
    if kind.__module__ == "unittest.mock":
        return True
    module = sys.modules.get(kind.__module__)
    file = str(getattr(module, "__file__", None) or "")
    return kind.__module__.partition(".")[0] not in ("nsbox", "_pytest", "pytest") and not (
        not file or "site-packages" in file or "dist-packages" in file or file.startswith(_STDLIB)
    )


_STDLIB = types.__file__.rpartition("/")[0] + "/"


def _attributes_of(item: pytest.Item) -> Iterator[tuple[str, Any]]:
    for name, value in vars(item).items():
        if _may_be_set(item, name) and (is_plain_number(value) or type(value) in (str, list, tuple, dict)):
            text = plain(value)
            if text == value:
                yield name, text


def _may_be_set(item: pytest.Item, name: str) -> bool:
    """Return whether an attribute may be changed: one that the suite or a plugin gives to tests, with plain data.

    Of those with a private name, only dictionaries: plugins keep data in them, such as pytest-json-report.
    """
    if name in _OF_PYTEST or hasattr(type(item), name):
        return False
    present = vars(item).get(name)
    if type(present) is dict:
        return bool(plain(present) == present)
    return name.isidentifier() and name[0] != "_" and (is_plain_number(present) or type(present) in (str, list, tuple))


def _stash_of(item: pytest.Item) -> Iterator[tuple[str, Any]]:
    stash = item.stash
    if len(stash):
        for name, key in _named_keys(item).items():
            value = stash.get(key, _ABSENT)
            if value is not _ABSENT and (text := plain(value)) == value:
                yield name, text


def _named_keys(item: pytest.Item) -> dict[str, pytest.StashKey[Any]]:
    """Return the keys of stashes that are global in the modules of the suite and of plugins, by their names."""
    modules = {getattr(item, "module", None)}
    for plugin in item.config.pluginmanager.get_plugins():
        is_module = isinstance(plugin, types.ModuleType)
        modules.add(plugin if is_module else sys.modules.get(type(plugin).__module__))
    found: dict[str, pytest.StashKey[Any]] = {}
    for module in modules - {None}:
        if module is not None and module.__name__.partition(".")[0] not in ("_pytest", "pytest", "nsbox"):
            for name, value in list(vars(module).items()):
                if isinstance(value, pytest.StashKey):
                    found[f"{module.__name__}:{name}"] = value
    return found


# Places


def _places_of(roots: Iterable[object], seen: set[int]) -> Iterator[object]:
    """Return what can be changed and is reachable from some objects, the nearest first, without what was seen."""
    level = list(roots)
    count = 0
    for _ in range(_MAX_DEPTH):
        following: list[object] = []
        for value in level:
            if id(value) in seen or count >= _MAX_PLACES:
                continue
            seen.add(id(value))
            parts = _parts_of(value)
            if parts is None:
                continue
            following += parts
            if isinstance(value, (*_SEQUENCES, dict, set, types.CellType)) or _has_attributes(value):
                count += 1
                yield value
        level = following


def _has_attributes(value: object) -> bool:
    return isinstance(getattr(value, "__dict__", None), dict) and _is_of_suite(type(value))


def _parts_of(value: object) -> list[object] | None:
    """Return what an object consists of; None for one that is not looked into."""
    if isinstance(value, types.CellType):
        try:
            return [value.cell_contents]
        except ValueError:  # it is empty
            return []
    if isinstance(value, (*_SEQUENCES, tuple, set)):
        return list(value)[:_MAX_PLACES]
    if isinstance(value, dict):
        return [*list(value.values())[:_MAX_PLACES], *(vars(value).values() if _has_attributes(value) else ())]
    if isinstance(value, types.FunctionType):
        return list(value.__closure__ or ())
    if isinstance(value, (types.MethodType, types.BuiltinMethodType)):
        return [value.__self__, getattr(value, "__func__", None)]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, (types.GeneratorType, types.AsyncGeneratorType)):
        frame = value.gi_frame if isinstance(value, types.GeneratorType) else value.ag_frame
        return [] if frame is None else list(frame.f_locals.values())
    return list(_content_of(value).values()) if _has_attributes(value) else None


# Contents and their changes


def _content_of(place: Any) -> Any:
    """Return a copy of what a place has: the parts, and their plain forms to see changes below."""
    if isinstance(place, types.CellType):
        try:
            value = place.cell_contents
        except ValueError:
            return None
        return value if type(value) is str or is_plain_number(value) else None
    if isinstance(place, dict):
        return dict(place)
    if isinstance(place, (*_SEQUENCES, set)):
        return type(place)(place) if type(place) in (list, set) else list(place)
    # Of a unittest.TestCase, what is private is the state of its run, which is over.
    is_case = isinstance(place, unittest.TestCase)
    return {name: value for name, value in vars(place).items() if not (is_case and name[:1] == "_")}


def _difference(before: Any, now: Any) -> Any:
    """Return what has changed between two contents as plain data; None for nothing.

    A container that was there before is a place of its own, so only parts are looked at that are others now.
    """
    if isinstance(now, list):
        same = 0
        for one, other in zip(before, now, strict=False):
            if not _is_same(one, other):
                break
            same += 1
        return None if same == len(before) == len(now) else [same, [plain(one) for one in now[same:]]]
    if isinstance(now, dict):
        gone = [plain(name) for name in before if name not in now and _is_key(name)]
        new = [
            (name, plain(value))
            for name, value in now.items()
            if _is_key(name) and not _is_same(before.get(name, _ABSENT), value)
        ]
        return [gone, new] if gone or new else None
    if isinstance(now, set):
        gone, more = ([plain(one) for one in some] for some in (before - now, now - before))
        return [gone, more] if gone or more else None
    return None if _is_same(before, now) else [now]


def _is_same(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) and (type(one) is str or is_plain_number(one)) and one == other)


def _is_key(name: object) -> bool:
    return type(name) is str or is_plain_number(name)


def _change(place: Any, content: Any) -> None:
    parts = content if type(content) is list else []
    if isinstance(place, types.CellType):
        if len(parts) == 1 and _is_key(parts[0]):
            place.cell_contents = parts[0]
            return
    elif len(parts) == 2:
        first, second = parts
        if isinstance(place, _SEQUENCES):
            if type(first) is int and 0 <= first <= len(place) and type(second) is list:
                while len(place) > first:
                    place.pop()
                place.extend(second)
                return
        elif type(first) is list and type(second) is list and all(map(_is_key, first)):
            if isinstance(place, set):
                if all(map(_is_key, second)):
                    place.difference_update(first)
                    place.update(second)
                    return
            elif all(type(pair) is tuple and len(pair) == 2 and _is_key(pair[0]) for pair in second):
                contents = place if isinstance(place, dict) else vars(place)
                for name in first:
                    dict.pop(contents, name, None)
                dict.update(contents, second)
                return
    raise ReportError("a change of a fixture has another form")
