"""What was added, removed and changed, of records of one type."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Change", "Changes", "compared"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Change(Generic[_T]):
    """Something that exists before and after, but differs.

    Attributes:
        before: Its record before.
        after: Its record after.
        what: The names of the attributes that differ.
    """

    before: _T
    after: _T
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes(Generic[_T]):
    """All differences between records of one type.

    Attributes:
        came: What did not exist before.
        went: What does not exist any more.
        changed: What exists before and after, but differs.
    """

    came: tuple[_T, ...] = ()
    went: tuple[_T, ...] = ()
    changed: tuple[Change[_T], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        return bool(self.came or self.went or self.changed)


def compared(
    before: Iterable[_T], after: Iterable[_T], key: Callable[[_T], Hashable], what: Callable[[_T, _T], tuple[str, ...]]
) -> Changes[_T]:
    """Compare records from before with records from after.

    Args:
        before: The records from before.
        after: The records from after.
        key: Returns what identifies a record: two records with the same key are of the same thing.
        what: Returns the names of the attributes in which two records of the same thing differ.
    """
    old, new = {key(one): one for one in before}, {key(one): one for one in after}
    differing = ((old[one], new[one], what(old[one], new[one])) for one in new if one in old)
    return Changes(
        tuple(new[one] for one in new if one not in old),
        tuple(old[one] for one in old if one not in new),
        tuple(Change(was, now, attributes) for was, now, attributes in differing if attributes),
    )
