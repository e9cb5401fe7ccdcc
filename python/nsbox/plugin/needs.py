"""Whether the namespaces that a test needs can be made here: for `nsbox.pytest_plugin`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pytest

from nsbox.diagnosis.trial import attempt
from nsbox.spec.kinds import namespace_names
from nsbox.spec.spec import Options

__all__ = ["Needed", "refusal", "skip_if_refused", "those_of"]

_FIXTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "box": ("mip", {"mount_proc": True}),
    "box_factory": ("mip", {}),
    "netns": ("mpn", {"mount_proc": True}),
    "shell": ("mip", {}),
}
"""What each fixture makes without a marker of its name. `box_factory` is the default of its function."""


class Needed(NamedTuple):
    """The namespaces that a marker or a fixture makes.

    Attributes:
        args: The arguments of the marker.
        kwargs: Its options.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def those_of(item: pytest.Item) -> list[Needed]:
    """Return which namespaces a test needs.

    They are those that its marker ``needs_namespaces`` names, or else those of its other markers and of its fixtures.
    """
    named = item.get_closest_marker("needs_namespaces")
    if named is not None and (named.args or named.kwargs):
        return [Needed(named.args, named.kwargs)]
    marked = {name: mark for name in ("unshare", "box", "shell") if (mark := item.get_closest_marker(name))}
    fixtures = set(getattr(item, "fixturenames", ())) & _FIXTURES.keys() - marked.keys()
    if fixtures & {"box", "netns"} or "box" in marked:
        fixtures.discard("box_factory")  # they use it
    made = [Needed((kinds,), options) for name, (kinds, options) in _FIXTURES.items() if name in fixtures]
    return [*(Needed(mark.args, mark.kwargs) for mark in marked.values()), *made]


def skip_if_refused(item: pytest.Item, needed: Iterable[Needed]) -> None:
    """Skip a test, or fail it with ``--nsbox=require``, if these namespaces cannot be made here.

    Raises:
        SpecError: for an unknown namespace, and options that make no sense.
    """
    reason = next(filter(None, map(refusal, needed)), "")
    if reason and item.config.getoption("nsbox") == "require":
        pytest.fail(f"{reason}\n(a failure because of --nsbox=require)", pytrace=False)
    if reason:
        pytest.skip(reason)


def refusal(needed: Needed) -> str:
    """Return why the namespaces cannot be made, and what to do about it; empty if they can be made.

    Raises:
        SpecError: for an unknown namespace, and options that make no sense.
    """
    # The others are options of boxes, shells and tests.
    options = {name: value for name, value in needed.kwargs.items() if name in Options.__annotations__}
    return _refusal(namespace_names(needed.args or "mip"), _Options(options))


class _Options:
    """Options of a marker, made hashable: they are equal if their texts are."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self._text = repr(sorted(options.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Options) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@functools.cache
def _refusal(kinds: tuple[str, ...], options: _Options) -> str:
    trial = attempt(kinds, **options.options)
    if trial.works:
        return ""
    step = f"step {trial.step!r} failed: " if trial.step else ""
    remedy = f"; next: {trial.remedy}" if trial.remedy else ""
    return f"new {', '.join(kinds)} namespaces cannot be made here: {step}{trial.why}{remedy}"
