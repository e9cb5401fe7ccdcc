"""The output of the exercise: titles, explanations, commands with their output, and checks, in 80 columns."""

from __future__ import annotations

import os
import shutil
import textwrap
from typing import TextIO

__all__ = ["Stage"]

_INDENT = "   "
_MAX_WIDTH = 80
_BOLD, _DIM, _GREEN, _RED, _YELLOW, _PLAIN = ("\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m")


class Stage:
    """Writes to a stream, in colours if that is a terminal and NO_COLOR is not set."""

    def __init__(self, out: TextIO) -> None:
        """Write to `out`."""
        self._out = out
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self.width = min(_MAX_WIDTH, shutil.get_terminal_size((_MAX_WIDTH, 24)).columns) if out.isatty() else _MAX_WIDTH
        self.passed = 0
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self._title = ""

    def title(self, text: str) -> None:
        """Write the title of a step."""
        self._title = text
        self._line("")
        self._line(self._colour(_BOLD, text))

    def say(self, text: str) -> None:
        """Write an explanation."""
        self._wrapped("", " ".join(text.split()))

    def command(self, text: str) -> None:
        """Write what is typed or called."""
        self._line("")
        for number, line in enumerate(text.splitlines()):
            prompt = "" if line.startswith((">>>", "...")) else "$ " if number == 0 else "> "
            self._line(self._colour(_BOLD, self._cut(f"{_INDENT}{prompt}{line}")))

    def output(self, text: str, max_lines: int | None = None) -> None:
        """Write the output of a command, at most `max_lines` lines of it."""
        shown = text.rstrip("\n").split("\n")
        for line in shown[:max_lines]:
            self._line(self._cut(_INDENT + line))
        if max_lines is not None and len(shown) > max_lines:
            self._line(self._colour(_DIM, f"{_INDENT}... and {len(shown) - max_lines} more lines"))

    def check(self, holds: bool, sentence: str) -> None:
        """Write a sentence about the kernel's state that has just been checked, and whether it is true."""
        if holds:
            self.passed += 1
            self._wrapped(self._colour(_GREEN, "ok "), sentence)
        else:
            self.failed.append(f"{self._title}: {sentence}")
            self._wrapped(self._colour(_RED, "FAIL "), sentence)

    def unavailable(self, reason: str) -> None:
        """Write that this machine does not allow a step, and why."""
        self.skipped.append(self._title)
        for line in reason.splitlines():
            self._wrapped(self._colour(_YELLOW, "skipped: "), line)

    def summary(self) -> int:
        """Write how many checks passed; return the exit status: 1 if one of them failed."""
        self._line("")
        parts = [f"{self.passed} checks passed"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        if self.skipped:
            parts.append(f"{len(self.skipped)} steps skipped")
        self._line(self._colour(_BOLD, ", ".join(parts) + "."))
        for sentence in self.failed:
            self._wrapped(self._colour(_RED, "FAIL "), sentence)
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
