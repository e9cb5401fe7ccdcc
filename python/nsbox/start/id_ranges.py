"""The id ranges that ``"auto"``, ``"all"`` and ``"subids"`` stand for, looked up when a process is started."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nsbox.errors import SpecError, UnsupportedError
from nsbox.records.names import user
from nsbox.spec.id_maps import IdRange, parse_id_map
from nsbox.spec.spec import Spec
from nsbox.start.hardening import resolve_hardening

__all__ = ["resolve", "resolved_ranges"]

# The ranges that are granted to each user (subuid(5), subgid(5)), and those that are mapped in the user namespace of
# this process (user_namespaces(7)).
_GRANTS = {"map_users": "/etc/subuid", "map_groups": "/etc/subgid"}
_OWN_MAPS = {"map_users": "/proc/self/uid_map", "map_groups": "/proc/self/gid_map"}


def resolve(spec: Spec, *, nested: bool = False, mapped: bool = False) -> Spec:
    """Return the spec with what it means for this caller: ranges in place of words, and what `harden` stands for.

    Args:
        spec: The namespaces as the caller asked for them.
        nested: Whether it is for a box in a box: its outer ids are those inside the other box.
        mapped: Whether these ids are already others than the caller's.

    Raises:
        SpecError: for a word in a nested box, or when root would be root outside in spite of `harden`.
        UnsupportedError: when nothing is granted to the caller, or no private ids are free.
    """
    words = {option: word for option in _GRANTS if isinstance(word := getattr(spec, option), str)}
    if words and nested:
        option, word = next(iter(words.items()))
        raise SpecError(f"{option}: {word!r} stands for ids of the caller, not of a box; give ranges")
    changes: Any = {option: resolved_ranges(option, [word]) for option, word in words.items()}
    return resolve_hardening(replace(spec, **changes) if changes else spec, nested=nested, mapped=mapped)


def resolved_ranges(option: str, wanted: Iterable[IdRange | str]) -> tuple[IdRange, ...]:
    """Return the ranges, with the ranges that a word stands for in place of the word.

    Args:
        option: ``"map_users"`` or ``"map_groups"``.
        wanted: Ranges and words; see `nsbox.spec.id_maps.IdRanges`.

    Raises:
        UnsupportedError: when nothing is granted to the caller.
    """
    return tuple(found for part in wanted for found in (_stands_for(option, part) if isinstance(part, str) else [part]))


def _stands_for(option: str, word: str) -> tuple[IdRange, ...]:
    if word == "all":
        own_map = parse_id_map(Path(_OWN_MAPS[option]).read_text())
        return tuple((inside, inside, count) for inside, _, count in own_map)
    return _granted(option, word)


def _granted(option: str, word: str) -> tuple[IdRange, ...]:
    uid, file = os.geteuid(), _GRANTS[option]
    name = user(uid)
    try:
        with open(file, errors="surrogateescape") as grants:
            lines = grants.read().splitlines()
    except OSError as error:
        raise UnsupportedError(
            f"{option}: {word!r} stands for the ids in {file}, which cannot be read: {error.strerror}; {_advice(name)}"
        ) from None
    for line in lines:
        match line.split(":"):
            case [owner, first, count] if owner in (name, str(uid)) and first.isdigit() and count.isdigit():
                return ((0 if word == "auto" else int(first), int(first), int(count)),)
    raise UnsupportedError(
        f"{option}: {word!r} stands for the ids in {file}, which has no line for {name}; {_advice(name)}"
    )


def _advice(name: str) -> str:
    return f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
