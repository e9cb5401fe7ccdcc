"""Expressions that select rows of a table by its columns, as in scols-filter(5) of util-linux.

    expression   either of: value; (e); !e, not e; e && e, e and e; e || e, e or e; value OPERATOR value
    value        a column, a number with or without K, M, G, ..., a text in quotes, true or false
    OPERATOR     == eq, != ne, < lt, <= le, > gt, >= ge; =~ and !~ with a regular expression in quotes

A value alone is true when it is neither empty nor 0. ``not`` binds strongest, then ``and``, then ``or``. A column is
compared as the type of the other side. A comparison with a missing number is false.

One thing differs from util-linux: regular expressions are those of Python (`re`).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from nsbox.errors import SpecError

__all__ = ["Filter"]

Cells: TypeAlias = "Mapping[str, str | None]"
_Literal: TypeAlias = "bool | int | float | str"
_Test: TypeAlias = "Callable[[Cells], bool]"

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>\d+(?:\.\d+)?)(?P<unit>[KMGTPEZY](?:iB)?)?(?![\w.])
    | "(?P<double>[^"\n]*)" | '(?P<single>[^'\n]*)'
    | (?P<word>[a-zA-Z][a-zA-Z_.%:/\-0-9]*)
    | (?P<sign>\(|\)|&&|\|\||==|!=|<=|>=|=~|!~|<|>|!)
    )""",
    re.VERBOSE,
)
_SYNONYMS = {"&&": "and", "||": "or", "!": "not", "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip
_WORDS = {"and", "or", "not", *_COMPARE}
_UNITS = {letter: 1024 ** (power + 1) for power, letter in enumerate("KMGTPEZY")}


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    is_number: bool

    def read(self, cells: Cells, kind: type) -> _Literal | None:
        """Return its value as this type; None if it is missing, or cannot be converted."""
        text = cells[self.name]
        if text is None or kind is str:
            return text
        try:
            value: _Literal = text.lower() in ("1", "true") if kind is bool else kind(text)
        except ValueError:
            return None
        return value


class Filter:
    """An expression.

    Attributes:
        columns: The columns that occur in it.
    """

    def __init__(self, text: str, columns: Collection[str], numbers: Collection[str]) -> None:
        """Parse the expression.

        Args:
            text: The expression.
            columns: The names of the columns, in upper case.
            numbers: The columns that hold numbers.

        Raises:
            SpecError: for a syntax error, with its place.
        """
        self._text, self._known, self._numbers = text, columns, numbers
        self.columns: set[str] = set()
        self._tokens = list(self._scan())
        self._next = 0
        self._test = self._either()
        if self._next < len(self._tokens):
            raise self._error("the end was expected")

    def matches(self, cells: Cells) -> bool:
        """Return whether a row is selected, by the cells of the columns in `columns`."""
        return self._test(cells)

    def _scan(self) -> Iterator[tuple[int, str, str]]:
        position = 0
        while self._text[position:].strip():
            found = _TOKEN.match(self._text, position)
            if found is None:
                raise SpecError(f'failed to parse "{self._text}": at {self._text[position:].strip()!r}')
            kind = found.lastgroup or ""
            if found["number"] is not None:
                yield position, "number", found["number"] + (found["unit"] or "")
            elif found["double"] is not None or found["single"] is not None:
                yield position, "text", found[kind].strip()
            else:
                word = _SYNONYMS.get(found[kind], found[kind])
                yield position, "sign" if word.lower() in _WORDS or kind == "sign" else "word", word
            position = found.end()

    def _error(self, problem: str) -> SpecError:
        rest = self._text[self._tokens[self._next][0] :].strip() if self._next < len(self._tokens) else ""
        return SpecError(f'failed to parse "{self._text}": {problem}, at {rest!r}' if rest else
                         f'failed to parse "{self._text}": it ends too early')  # fmt: skip

    def _accept(self, *signs: str) -> str:
        """Skip the next token and return it if it is one of these signs, else return an empty text."""
        if self._next < len(self._tokens):
            _, kind, word = self._tokens[self._next]
            if kind == "sign" and word.lower() in signs:
                self._next += 1
                return word.lower()
        return ""

    def _either(self) -> _Test:
        tests = [self._both()]
        while self._accept("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda cells: any(test(cells) for test in tests)

    def _both(self) -> _Test:
        tests = [self._single()]
        while self._accept("and"):
            tests.append(self._single())
        return tests[0] if len(tests) == 1 else lambda cells: all(test(cells) for test in tests)

    def _single(self) -> _Test:
        if self._accept("not"):
            test = self._single()
            return lambda cells: not test(cells)
        if self._accept("("):
            inner = self._either()
            if not self._accept(")"):
                raise self._error("a bracket was expected")
            return inner
        left = self._value()
        if sign := self._accept("=~", "!~"):
            return self._pattern(left, sign)
        if sign := self._accept(*_COMPARE):
            return _comparison(left, _COMPARE[sign], self._value())
        if isinstance(left, _Column):
            column, kind = left, int if left.is_number else str
            return lambda cells: bool(column.read(cells, kind))
        return lambda _: bool(left)

    def _value(self) -> _Column | _Literal:
        if self._next == len(self._tokens):
            raise self._error("a value was expected")
        _, kind, word = self._tokens[self._next]
        if kind == "sign":
            raise self._error("a value was expected")
        value: _Column | _Literal
        if kind == "number":
            digits = word.rstrip("KMGTPEZYiB")
            unit = word[len(digits) : len(digits) + 1]
            size = _UNITS.get(unit, 1)
            value = float(digits) * size if "." in digits else int(digits) * size
        elif kind == "text" or word in ("true", "TRUE", "false", "FALSE"):
            value = word if kind == "text" else word in ("true", "TRUE")
        else:
            if word.upper() not in self._known:
                raise SpecError(f"unknown column: {word}")
            self.columns.add(word.upper())
            value = _Column(word.upper(), word.upper() in self._numbers)
        self._next += 1
        return value

    def _pattern(self, left: _Column | _Literal, sign: str) -> _Test:
        right = self._value()
        if not isinstance(right, str):
            self._next -= 1
            raise self._error("a regular expression in quotes was expected")
        try:
            pattern = re.compile(right)
        except re.error as error:
            raise SpecError(f'failed to parse "{self._text}": {right!r} is no regular expression: {error}') from None
        found = sign == "=~"

        def test(cells: Cells) -> bool:
            text = left.read(cells, str) if isinstance(left, _Column) else left
            return bool(pattern.search("" if text is None else str(text))) is found

        return test


def _comparison(left: _Column | _Literal, compare: Callable[[Any, Any], bool], right: _Column | _Literal) -> _Test:
    kinds = [type(side) for side in (left, right) if not isinstance(side, _Column)]
    if not kinds:
        sides = [side for side in (left, right) if isinstance(side, _Column)]
        kinds = [int if all(side.is_number for side in sides) else str]
    # If the two sides differ in type, a float is preferred to an int, and a number to a text.
    kind = min(kinds, key=[float, int, bool, str].index)

    def read(side: _Column | _Literal, cells: Cells) -> _Literal | None:
        if isinstance(side, _Column):
            return side.read(cells, kind)
        try:
            value: _Literal = kind(side)
        except ValueError:
            return None
        return value

    def test(cells: Cells) -> bool:
        first, second = read(left, cells), read(right, cells)
        if kind is str:
            # A missing text sorts before all others.
            return compare((first is not None, first or ""), (second is not None, second or ""))
        return first is not None and second is not None and compare(first, second)

    return test
