"""The id ranges that ``"auto"``, ``"all"`` and ``"subids"`` stand for, looked up when a process is started."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from typing import Any

from nsbox.errors import SpecError, UnsupportedError
from nsbox.spec.spec import IdRange, Spec

__all__ = ["resolve", "stands_for"]

# The ranges that are granted to each user (subuid(5), subgid(5)), and those that are mapped in the user namespace of
# this process (user_namespaces(7)).
_GRANTS = {"map_users": "/etc/subuid", "map_groups": "/etc/subgid"}
_OWN_MAPS = {"map_users": "/proc/self/uid_map", "map_groups": "/proc/self/gid_map"}


def resolve(spec: Spec, *, nested: bool = False) -> Spec:
    """Return the spec with ranges in place of the words that unshare(1) has for them.

    Args:
        spec: The namespaces as the caller asked for them.
        nested: Whether it is for a box in a box: its outer ids are those inside the other box.

    Raises:
        SpecError: for a word in a nested box.
        UnsupportedError: when nothing is granted to the caller.
    """
    words = {option: word for option in _GRANTS if isinstance(word := getattr(spec, option), str)}
    if not words:
        return spec
    if nested:
        option, word = next(iter(words.items()))
        raise SpecError(f"{option}: {word!r} stands for ids of the caller, not of a box; give ranges")
    changes: Any = {option: stands_for(option, word) for option, word in words.items()}
    return replace(spec, **changes)


def stands_for(option: str, word: str) -> tuple[IdRange, ...]:
    """Return the ranges that a word stands for.

    Args:
        option: ``"map_users"`` or ``"map_groups"``.
        word: See `nsbox.spec.spec.IdRanges`.

    Raises:
        UnsupportedError: when nothing is granted to the caller.
    """
    return _all(option) if word == "all" else _granted(option, word)


def _all(option: str) -> tuple[IdRange, ...]:
    with open(_OWN_MAPS[option]) as file:
        lines = [tuple(map(int, line.split())) for line in file]
    return tuple((inside, inside, count) for inside, _, count in lines)


def _granted(option: str, word: str) -> tuple[IdRange, ...]:
    uid, file = os.geteuid(), _GRANTS[option]
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
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
