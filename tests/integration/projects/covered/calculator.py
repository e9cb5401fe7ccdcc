"""What the tests measure."""

from __future__ import annotations


def by_unmarked(number: int) -> int:
    return number + 1


def by_marked(number: int) -> int:
    if number > 1:
        return number + 2
    return 0


def by_failing(number: int) -> int:
    return number + 3


def by_a_program(number: int) -> int:
    return number + 4
