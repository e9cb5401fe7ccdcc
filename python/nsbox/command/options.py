"""Options in the form of getopt_long(3): one table for the parser, for help and for `explain`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nsbox.errors import SpecError
from nsbox.spec.nearest import did_you_mean

__all__ = ["Option", "UsageError", "help_text", "parse", "whole"]

_HELP_WIDTH, _HELP_COLUMN = 80, 31


class UsageError(SpecError):
    """A command line with invalid options or arguments."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option.

    Attributes:
        name: The long name, without its dashes.
        letter: The short name; empty if there is none.
        value: The name of its value in help; empty if it takes none.
        optional: Whether the value can be omitted; then it can only be given as ``--name=value``.
        attached: Whether an optional value can follow the letter as well: ``-lvalue``.
        meaning: What it does, in one line.
    """

    name: str
    letter: str = ""
    value: str = ""
    optional: bool = False
    attached: bool = False
    meaning: str = ""


def parse(
    table: Sequence[Option], words: Sequence[str], *, exact: bool = False
) -> tuple[list[tuple[Option, str | None]], list[str]]:
    """Split a command line into options with their values, and the rest from the first word that is no option.

    Args:
        table: The options.
        words: The command line.
        exact: Whether long options must be written in full.

    Raises:
        UsageError: for invalid options, with the message of getopt_long(3).
    """
    found: list[tuple[Option, str | None]] = []
    left = list(words)
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            found.append(_long(table, word[2:], left, exact))
        else:
            found.extend(_short(table, word[1:], left))
    return found, left


def _long(table: Sequence[Option], word: str, left: list[str], exact: bool) -> tuple[Option, str | None]:
    name, equals, value = word.partition("=")
    options = [option for option in table if option.name == name] or [
        option for option in table if option.name.startswith(name) and not exact
    ]
    if not options:
        similar = did_you_mean(f"--{name}", [f"--{option.name}" for option in table], "\n")
        raise UsageError(f"unrecognized option '--{name}'{similar.replace('did', 'Did')}")
    if len(options) > 1:
        names = " ".join(f"'--{option.name}'" for option in options)
        raise UsageError(f"option '--{name}' is ambiguous; possibilities: {names}")
    (option,) = options
    if equals:
        if not option.value:
            raise UsageError(f"option '--{option.name}' doesn't allow an argument")
        return option, value
    if option.value and not option.optional:
        if not left:
            raise UsageError(f"option '--{option.name}' requires an argument")
        return option, left.pop(0)
    return option, None


def _short(table: Sequence[Option], letters: str, left: list[str]) -> Iterator[tuple[Option, str | None]]:
    while letters:
        letter, letters = letters[0], letters[1:]
        option = next((option for option in table if option.letter == letter), None)
        if option is None:
            raise UsageError(f"invalid option -- '{letter}'")
        if option.attached:
            yield option, letters or None
            return
        if not option.value or option.optional:
            yield option, None
            continue
        if not letters and not left:
            raise UsageError(f"option requires an argument -- '{letter}'")
        yield option, letters or left.pop(0)
        return


def whole(text: str, what: str, allowed: range | None = None) -> int:
    """Return a whole number.

    Args:
        text: Its digits, with or without a sign.
        what: What it is, for the message.
        allowed: The numbers that it may be; by default any.

    Raises:
        UsageError: for anything else, with the message of util-linux.
    """
    digits = text.strip().removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdecimal()) or (allowed is not None and int(text) not in allowed):
        raise UsageError(f"failed to parse {what}: '{text}'")
    return int(text)


def help_text(table: Sequence[Option]) -> str:
    """Return the options with their meanings, in lines of at most 80 characters."""
    lines = []
    for option in table:
        value = f"[={option.value}]" if option.optional else f" {option.value}" if option.value else ""
        names = f" {f'-{option.letter},' if option.letter else '   '} --{option.name}{value}"
        meaning = textwrap.wrap(option.meaning, _HELP_WIDTH - _HELP_COLUMN, break_on_hyphens=False)
        first = meaning.pop(0) if len(names) < _HELP_COLUMN else ""
        lines.append(f"{names:<{_HELP_COLUMN}}{first}".rstrip())
        lines += [" " * _HELP_COLUMN + line for line in meaning]
    return "\n".join(lines)
