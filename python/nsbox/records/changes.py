"""What was added, removed and changed, of things of one sort."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Change", "Changes", "compared"]


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Change(Generic[_T]):
    """Something that was and still is there, but not as it was.

    Attributes:
        before: As it was.
        after: As it is.
        what: The attributes that differ.
    """

    before: _T
    after: _T
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes(Generic[_T]):
    """What became of everything of a sort.

    Attributes:
        came: What was not there before.
        went: What is not there any more.
        changed: What is not as it was.
    """

    came: tuple[_T, ...] = ()
    went: tuple[_T, ...] = ()
    changed: tuple[Change[_T], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.came or self.went or self.changed)


def compared(
    before: Iterable[_T], after: Iterable[_T], key: Callable[[_T], Hashable], what: Callable[[_T, _T], tuple[str, ...]]
) -> Changes[_T]:
    """Compare what there was with what there is.

    Args:
        before: What there was.
        after: What there is.
        key: What makes two of them the same.
        what: In which attributes the same one differs.
    """
    old, new = {key(one): one for one in before}, {key(one): one for one in after}
    differing = ((old[one], new[one], what(old[one], new[one])) for one in new if one in old)
    return Changes(
        tuple(new[one] for one in new if one not in old),
        tuple(old[one] for one in old if one not in new),
        tuple(Change(was, now, attributes) for was, now, attributes in differing if attributes),
    )
