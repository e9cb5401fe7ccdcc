"""Whether the namespaces that a marker of a test names can be made here: for `nsbox.pytest_plugin`."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from nsbox.diagnosis.trial import attempt
from nsbox.spec.kinds import namespace_names

__all__ = ["refusal"]


def refusal(marker: pytest.Mark) -> str:
    """Return why the namespaces of a marker cannot be made, and what to do about it; empty if they can be made.

    Raises:
        SpecError: for an unknown namespace, and options that make no sense.
    """
    options = {name: value for name, value in marker.kwargs.items() if name != "trust"}  # no option of namespaces
    return _refusal(namespace_names(marker.args), _Options(options))


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
