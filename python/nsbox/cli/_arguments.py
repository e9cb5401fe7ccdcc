"""The parser of the commands whose options argparse reads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from nsbox.cli import _output
from nsbox.spec.nearest import did_you_mean

__all__ = ["parser_of"]


def parser_of(name: str, meaning: str, command: ModuleType) -> argparse.ArgumentParser:
    """Return the parser of a command.

    Args:
        name: Its name.
        meaning: What it does, in one line.
        command: Its module, whose `configure` adds the arguments.
    """
    parser = _Parser(
        prog=f"nsbox {name}",
        description=meaning,
        allow_abbrev=False,
        conflict_handler="resolve",  # in pstree(1) -h is another option
    )
    command.configure(parser)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that names the option which was probably meant, and whose help fails where the output does."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Read arguments; raise SystemExit for help, and for wrong usage."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            word = next((word for word in unknown if word.startswith("-")), "").partition("=")[0]
            self.error(
                f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(word, self._options()) if word else ''}"
            )
        return found

    def _options(self) -> list[str]:
        """Return all options, also those of the commands below this one."""
        found = [option for action in self._actions for option in action.option_strings]
        below = [action.choices for action in self._actions if isinstance(action.choices, dict)]
        return found + [option for parsers in below for parser in parsers.values() for option in parser._options()]

    def print_help(self, file: Any = None) -> None:
        """Print the help."""
        if file is None:
            _output.write(self.format_help().rstrip("\n"))
        else:
            super().print_help(file)

    def error(self, message: str) -> Any:
        """Print what is wrong, and end with status 2."""
        print(f"{self.format_usage()}{self.prog}: error: {message}", file=sys.stderr)
        self.exit(2)
