"""How a lesson is shown: titles, explanations, commands with their output, and checks, in 80 columns."""

from __future__ import annotations

import os
import shutil
import textwrap
from typing import TextIO

__all__ = ["Stage"]

_INDENT = "   "
_WIDEST = 80
_BOLD, _DIM, _GREEN, _RED, _YELLOW, _PLAIN = ("\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m")


class Stage:
    """Writes to a stream; colours only on a terminal, and not when NO_COLOR is set."""

    def __init__(self, out: TextIO) -> None:
        """Show things on `out`."""
        self._out = out
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self.width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns) if out.isatty() else _WIDEST
        self.held = 0
        self.failed: list[str] = []
        self.missing: list[str] = []
        self._title = ""

    def title(self, text: str) -> None:
        """Begin a step."""
        self._title = text
        self._line("")
        self._line(self._colour(_BOLD, text))

    def say(self, text: str) -> None:
        """Explain something."""
        self._wrapped("", " ".join(text.split()))

    def command(self, text: str) -> None:
        """Show what is typed or called."""
        self._line("")
        for number, line in enumerate(text.splitlines()):
            prompt = "" if line.startswith((">>>", "...")) else "$ " if number == 0 else "> "
            self._line(self._colour(_BOLD, self._cut(f"{_INDENT}{prompt}{line}")))

    def output(self, text: str, lines: int | None = None) -> None:
        """Show what came out, at most so many lines of it."""
        shown = text.rstrip("\n").split("\n")
        for line in shown[:lines]:
            self._line(self._cut(_INDENT + line))
        if lines is not None and len(shown) > lines:
            self._line(self._colour(_DIM, f"{_INDENT}... and {len(shown) - lines} more lines"))

    def check(self, holds: bool, sentence: str) -> None:
        """Say what has just been verified on the kernel's own state."""
        if holds:
            self.held += 1
            self._wrapped(self._colour(_GREEN, "ok "), sentence)
        else:
            self.failed.append(f"{self._title}: {sentence}")
            self._wrapped(self._colour(_RED, "NOT "), sentence)

    def unavailable(self, reason: str) -> None:
        """Say that a step cannot be shown here, and why."""
        self.missing.append(self._title)
        for line in reason.splitlines():
            self._wrapped(self._colour(_YELLOW, "not here: "), line)

    def summary(self) -> int:
        """Count the checks; return the exit status: 1 if one of them did not hold."""
        self._line("")
        parts = [f"{self.held} checks held"]
        if self.failed:
            parts.append(f"{len(self.failed)} did not")
        if self.missing:
            parts.append(f"{len(self.missing)} steps cannot be shown on this machine")
        self._line(self._colour(_BOLD, ", ".join(parts) + "."))
        for sentence in self.failed:
            self._wrapped(self._colour(_RED, "NOT "), sentence)
        return 1 if self.failed else 0

    def _wrapped(self, mark: str, text: str) -> None:
        plain = len(mark.removeprefix(_GREEN).removeprefix(_RED).removeprefix(_YELLOW).removesuffix(_PLAIN))
        lines = textwrap.wrap(text, self.width - len(_INDENT) - plain, break_on_hyphens=False, break_long_words=False)
        for number, line in enumerate(lines):
            self._line(_INDENT + (mark if number == 0 else " " * plain) + line)

    def _cut(self, line: str) -> str:
        return line if len(line) <= self.width else line[: self.width - 1] + "+"

    def _colour(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._coloured else text

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)
