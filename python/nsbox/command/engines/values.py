"""The values of options of container engines: sizes, modes of namespaces, volumes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable

from nsbox.command.options import UsageError
from nsbox.spec.nearest import did_you_mean

__all__ = ["fields", "flag", "mode_of", "number", "size", "volume"]

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def flag(option: str, value: str | None) -> bool:
    """Return whether an option without value, or with ``=true`` or ``=false``, is on."""
    words = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
    word = "true" if value is None else value.lower()
    if word not in words:
        raise UsageError(f"--{option}: expected true or false, got '{value}'")
    return words[word]


def size(option: str, value: str) -> int:
    """Return a number of bytes, such as ``512m``."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([bkmgtp]?)(?:i?b)?", value.lower(), re.ASCII)
    if match is None:
        raise UsageError(f"--{option}: expected a size such as 512m or 2g, got '{value}'")
    return int(float(match[1]) * _UNITS[match[2]])


def number(option: str, value: str) -> float:
    """Return a number."""
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value, re.ASCII):
        raise UsageError(f"--{option}: expected a number, got '{value}'")
    return float(value)


def mode_of(option: str, value: str, words: Iterable[str], prefixes: Iterable[str]) -> tuple[str, str]:
    """Return the mode of a namespace, and the name behind it: ``("container", "web")`` for ``container:web``.

    Raises:
        UsageError: for another mode.
    """
    word, colon, name = value.partition(":")
    if (colon and word in prefixes and name) or (not colon and word in words):
        return word, name
    known = [word for word in words if word] + [f"{prefix}:NAME" for prefix in prefixes]
    similar = did_you_mean(word, [*words, *prefixes])
    raise UsageError(f"--{option}: expected {', '.join(known)}, got '{value}'{similar}")


def fields(option: str, value: str) -> dict[str, str]:
    """Return ``NAME=VALUE,NAME,...`` by names."""
    rows = list(csv.reader([value]))
    if not rows:
        raise UsageError(f"--{option}: expected NAME=VALUE,NAME=VALUE..., got '{value}'")
    return {name.strip().lower(): text for name, _, text in (part.partition("=") for part in rows[0])}


def volume(value: str) -> tuple[str, str, list[str]]:
    """Return the source, the target and the options of ``SOURCE:TARGET:OPTIONS``; an empty source is a new volume.

    Raises:
        UsageError: for anything else.
    """
    parts = value.split(":")
    source, target, options = "", parts[0], ""
    if len(parts) in (2, 3):
        source, target, options = (*parts, "")[:3]
    if len(parts) > 3 or not target.startswith("/"):
        raise UsageError(f"--volume: expected SOURCE:TARGET:OPTIONS with an absolute TARGET, got '{value}'")
    return source, target, [option for option in options.split(",") if option]
