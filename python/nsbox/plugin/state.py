"""What a marked test changes in its own fixtures, in its instance and on itself, for the teardown and for hooks.

A fixture that collects failures in a list, and asserts in its teardown that the list is empty, must not pass because
the test ran in another process. So the places that a teardown can look at are listed before the fork, in the same order
in both processes: containers, attributes of objects, and variables of functions and generators. The process of the test
sends what it has changed in them as plain data, with the number of the place. pytest's process changes these places and
no others. Only what belongs to this one test is listed: nothing of a fixture with a wider scope.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from nsbox.plugin.channel import ReportError
from nsbox.plugin.places import change, content_of, difference, places_of
from nsbox.plugin.report import is_plain_number, plain

__all__ = ["State", "fixtures_of"]

_OF_PYTEST = {
    "name", "originalname", "fixturenames", "keywords", "own_markers", "extra_keyword_matches", "user_properties",
    "stash", "callspec", "funcargs",
}  # fmt: skip
"""Attributes that pytest itself gives to a test."""
_ABSENT = object()
_MODULES = pytest.StashKey[tuple[int, list[types.ModuleType]]]()


class State:
    """The places of one test."""

    def __init__(self, item: pytest.Item) -> None:
        """List the places, before the fork."""
        self._item = item
        wide, own = _roots_of(item)
        seen: set[int] = set()
        for _ in places_of(wide, seen):
            pass  # what other tests can reach, too
        self._places = list(places_of(own, seen))
        self._attributes: dict[str, Any] = {}
        self._stash: dict[str, Any] = {}
        self._contents: list[Any] = []

    # In the child

    def keep(self) -> None:
        """Keep what is there before the test."""
        self._contents = [content_of(place) for place in self._places]
        self._attributes = dict(_attributes_of(self._item))
        self._stash = dict(_stash_of(self._item))

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """Return what has changed since the last call, as records without their name: kind, key, and content."""
        for number, place in enumerate(self._places):
            before, now = self._contents[number], content_of(place)
            if (changed := difference(before, now)) is not None:
                yield "place", number, changed
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
            change(self._places[key], content)
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
    for definition, value in fixtures_of(item):
        values = own if definition.scope == "function" else wide
        values += [value, *getattr(definition, "_finalizers", ())]
    return wide, own


def fixtures_of(item: pytest.Item) -> Iterator[tuple[Any, object]]:
    """Return the definitions and the values of the fixtures of a test that are set up."""
    for definition in list(getattr(getattr(item, "_request", None), "_fixture_defs", {}).values()):
        if (cached := getattr(definition, "cached_result", None)) is not None:
            yield definition, cached[0]


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
    found: dict[str, pytest.StashKey[Any]] = {}
    for module in (*_modules_of(item.config), getattr(item, "module", None)):
        if module is not None:
            found |= _keys_of(module, len(vars(module)))
    return found


def _modules_of(config: pytest.Config) -> list[types.ModuleType]:
    """Return the modules of the suite's and installed plugins. Looked up once for so many plugins."""
    plugins = config.pluginmanager.get_plugins()
    count, modules = config.stash.get(_MODULES, (0, []))
    if count != len(plugins):
        found = {one if isinstance(one, types.ModuleType) else sys.modules.get(type(one).__module__) for one in plugins}
        names = ("_pytest", "pytest", "nsbox")
        modules = [one for one in found if one is not None and one.__name__.partition(".")[0] not in names]
        config.stash[_MODULES] = len(plugins), modules
    return modules


@functools.cache
def _keys_of(module: types.ModuleType, _size: int) -> dict[str, pytest.StashKey[Any]]:
    """Return those of a module, with this many global variables."""
    keys = [(name, value) for name, value in vars(module).items() if isinstance(value, pytest.StashKey)]
    return {f"{module.__name__}:{name}": value for name, value in keys}
