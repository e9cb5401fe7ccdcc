"""What is wrong with a student's answer: each usual form of a right one is accepted, and a wrong one is told why."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterable
from typing import Any

from nsbox.errors import SpecError
from nsbox.spec.kinds import KINDS, namespace_names

__all__ = ["what_is_wrong"]

_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
_KIND_WORDS = {"network": "net", "hostname": "uts"} | {
    kind.flag_name.casefold(): kind.name for kind in KINDS.values()
}  # fmt: skip
"""Words for kinds of namespaces that `namespace_names` does not know: those of namespaces(7) and clone(2)."""
_NUMBER = re.compile(r"[+-]?\d+")
_BETWEEN = re.compile(r"[\s,;:()\[\]{}]+|->")


class _OtherFormError(Exception):
    """The answer is none of what is asked for; the text says what that is."""


def what_is_wrong(answer: object, right: object) -> str | None:
    """Return how far a wrong answer is right, or what is asked for instead; None if it is right.

    The form of an answer does not matter as long as it says the same: a number can be text, numbers can be a list or
    what a tool prints (``"4321 1"``), kinds of namespaces can be ``"mip"``, ``"mnt,pid"`` or a set.

    Args:
        answer: The answer.
        right: What the kernel says: a truth value, a number, a text, numbers in their order, or a set of names.
    """
    try:
        if isinstance(right, bool):
            return None if _truth(answer) is right else ""
        if isinstance(right, int):
            return None if _number(answer) == right else ""
        if isinstance(right, str):
            return _compared_texts(_text(answer), right.strip())
        if isinstance(right, tuple):
            return _compared_numbers(_numbers(answer), right)
        if isinstance(right, set | frozenset):
            return _compared_names(_names(answer, right), right)
    except _OtherFormError as error:
        return str(error)
    return None if type(answer) is type(right) and answer == right else ""


def _truth(answer: object) -> bool:
    if isinstance(answer, str) and answer.strip().casefold() in _BOOLEANS:
        return _BOOLEANS[answer.strip().casefold()]
    # That of numpy as well.
    if type(answer).__name__ in ("bool", "bool_"):
        return bool(answer)
    raise _OtherFormError("True or False is asked for")


def _number(answer: object) -> int:
    if isinstance(answer, str) and _NUMBER.fullmatch(answer.strip()):
        return int(answer)
    if isinstance(answer, float) and answer.is_integer():
        return int(answer)
    if not isinstance(answer, bool):
        try:
            return operator.index(answer)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise _OtherFormError("a number is asked for")


def _text(answer: object) -> str:
    if isinstance(answer, str | bytes | os.PathLike):
        return os.fsdecode(answer).strip()
    raise _OtherFormError("a text is asked for, in quotes")


def _parts(answer: object) -> list[Any]:
    """Return the parts of an answer that consists of several, as a collection or as text."""
    if isinstance(answer, bytes):
        answer = os.fsdecode(answer)
    if isinstance(answer, str):
        return [part for part in _BETWEEN.split(answer) if part]
    return list(answer) if isinstance(answer, Iterable) else [answer]


def _numbers(answer: object) -> tuple[int, ...]:
    try:
        return tuple(_number(part) for part in _parts(answer))
    except _OtherFormError:
        raise _OtherFormError("numbers are asked for, in their order: (1, 2) or '1 2'") from None


def _names(answer: object, right: set[Any] | frozenset[Any]) -> set[str]:
    parts = _parts(answer)
    if not all(isinstance(part, str) for part in parts):
        raise _OtherFormError("names are asked for: {'one', 'another'} or 'one another'")
    if right <= KINDS.keys():
        words = [_KIND_WORDS.get(part.casefold(), part if len(part) == 1 else _lower(part)) for part in parts]
        try:
            return set(namespace_names(words))
        except SpecError:
            pass
    return {part.strip("'\"") for part in parts}


def _lower(word: str) -> str:
    """Return a word in lower case, if it is that of a kind: the case of letters, as in ``"mU"``, has a meaning."""
    return lower if (lower := word.casefold()) in {*KINDS, "mnt"} else word


def _compared_texts(answer: str, right: str) -> str | None:
    if answer == right:
        return None
    return "it differs only in capital letters" if answer.casefold() == right.casefold() else ""


def _compared_numbers(answer: tuple[int, ...], right: tuple[Any, ...]) -> str | None:
    if answer == right:
        return None
    if len(answer) != len(right):
        return f"{_counted(len(right), 'number')} asked for, and {len(answer)} given"
    if sorted(answer) == sorted(right):
        return "right numbers, other order"
    return f"{sum(map(operator.eq, answer, right))} of {len(right)} are right"


def _compared_names(answer: set[str], right: set[Any] | frozenset[Any]) -> str | None:
    if answer == right:
        return None
    found, others = len(answer & right), len(answer - right)
    parts = [f"{found} of {len(right)} are right"] if found < len(right) else []
    if others:
        parts.append(f"{_counted(others, 'name')} not among them")
    return ", and ".join(parts)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"
