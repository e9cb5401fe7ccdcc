"""Ranges of user and group ids, as for uid_map and gid_map (user_namespaces(7)): their types, checks and parsers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, cast

from nsbox.errors import SpecError

__all__ = [
    "IDS",
    "MAX_RANGES",
    "WORDS",
    "IdRange",
    "IdRanges",
    "Maps",
    "id_ranges_of",
    "is_id",
    "parse_id_map",
    "parse_id_range",
]

IDS = range(2**32 - 1)
"""User and group ids; the last number of 32 bits means "no change" (setresuid(2))."""

IdRange: TypeAlias = "tuple[int, int, int]"
"""``(inside, outside, count)``, the fields of a line of uid_map (user_namespaces(7))."""

IdRanges: TypeAlias = "Sequence[IdRange] | Literal['auto', 'subids', 'all']"
"""Ranges, or a word of unshare(1) for them. ``"auto"`` is the caller's line of subuid(5) or subgid(5), with the ids
from 0 on inside. ``"subids"`` is the same line, with the same ids inside. ``"all"`` is every id that the caller can
name, with the same ids inside, and takes privileges."""

WORDS = ("auto", "subids", "all")
"""The words for ranges; `nsbox.start.id_ranges` looks up what they stand for."""

MAX_RANGES = 340
"""The kernel takes at most this number of ranges since Linux 4.15 (user_namespaces(7))."""


@dataclass(frozen=True, slots=True)
class Maps:
    """How the ids inside a user namespace stand for ids outside; `None` is the caller's own id.

    A word instead of a range is not resolved yet; the core does not take it. `users_first` says that uid_map is written
    before gid_map.
    """

    auto: bool = True
    users_first: bool = False
    users: tuple[tuple[int | None, int | None, int] | str, ...] = ()
    groups: tuple[tuple[int | None, int | None, int] | str, ...] = ()


def is_id(value: object) -> bool:
    """Return whether a value can be a user or group id."""
    return isinstance(value, int) and not isinstance(value, bool) and value in IDS


def parse_id_map(text: str) -> tuple[IdRange, ...]:
    """Parse a uid_map or gid_map, which has three numbers in each line.

    Raises:
        ValueError: for any other line.
    """
    lines = (map(int, line.split()) for line in text.splitlines())
    return tuple((inside, outside, count) for inside, outside, count in lines)


def parse_id_range(text: str) -> IdRange | str:
    """Parse a range of a command line, ``INSIDE:OUTSIDE:COUNT``, or one of `WORDS`.

    unshare(1) of util-linux 2.38 had the outer id first, with commas: ``OUTSIDE,INSIDE,COUNT`` is taken as well.

    Raises:
        ValueError: for any other text.
    """
    if text in WORDS:
        return text
    for sign in ":,":
        parts = text.split(sign)
        if len(parts) == 3 and all(part.isascii() and part.isdecimal() and int(part) in IDS for part in parts):
            first, second, count = map(int, parts)
            return (first, second, count) if sign == ":" else (second, first, count)
    raise ValueError(text)


def id_ranges_of(argument: str, value: object) -> IdRanges:
    """Return ranges as a checked tuple, or the word for them.

    The kernel refuses wrong ones with a single error, EINVAL (user_namespaces(7)); these errors name the reason.

    Raises:
        SpecError: for anything else, naming the argument.
    """
    if isinstance(value, str) and value in WORDS:
        return cast("Literal['auto', 'subids', 'all']", value)
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        words = ", ".join(map(repr, WORDS))
        raise SpecError(f"{argument}: expected ranges (inside, outside, count), or one of {words}, got {value!r}")
    ranges: list[IdRange] = []
    for item in value:
        match item:
            case (int(inside), int(outside), int(count)) if all(map(is_id, (inside, outside, count - 1))):
                ranges.append((inside, outside, count))
            case _:
                raise SpecError(f"{argument}: {item!r} is no range (inside, outside, count)")
    if len(ranges) > MAX_RANGES:
        raise SpecError(f"{argument}: the kernel takes {MAX_RANGES} ranges, not {len(ranges)}")
    for side, name in enumerate(("inside", "outside")):
        runs = sorted((item[side], item[2]) for item in ranges)
        if any(first + count > len(IDS) for first, count in runs):
            raise SpecError(f"{argument}: the largest id is {IDS[-1]}")
        for (first, count), (following, _) in pairwise(runs):
            if first + count > following:
                raise SpecError(f"{argument}: {name}, {following} is in two ranges")
    return tuple(ranges)
