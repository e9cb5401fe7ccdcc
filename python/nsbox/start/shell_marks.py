"""Marks between the outputs of commands on a terminal, where prompts could have any text."""

from __future__ import annotations

import codecs
import re
import secrets
from collections.abc import Callable

__all__ = ["MAX_BYTES", "Follower", "Marks"]

MAX_BYTES = 128
"""The longest mark: its token, and three numbers."""


class Marks:
    """Marks that a shell prints by its echo. They are numbered, so that a late one is not taken for the next."""

    def __init__(self) -> None:
        """Choose a random text that no output contains."""
        self._token = secrets.token_hex(8).encode()
        self._number = 0
        # Also matches the command itself: a program that reads the terminal may print the line meant for the shell.
        self._any = re.compile(rb'(?:echo ")?%s_\d+:(?:\d+:\d+:|\$\?:\$\$:")\r?\n' % self._token)
        self._partial = re.compile(rb"%s(_\d*(:\d*(:\d*(:\r?)?)?)?)?" % self._token)

    def next(self) -> bytes:
        """Return the command that prints a new mark with ``$?`` and ``$$``."""
        self._number += 1
        return b'echo "%s_%d:$?:$$:"\n' % (self._token, self._number)

    def seen(self, output: bytes | bytearray, begin: int = 0) -> re.Match[bytes] | None:
        """Find the newest mark behind `begin`. The groups of the match are ``$?`` and ``$$``."""
        return re.compile(rb"%s_%d:(\d+):(\d+):\r?\n" % (self._token, self._number)).search(output, begin)

    def text(self, output: bytes | bytearray) -> str:
        """Return output as text, without marks."""
        return self._any.sub(b"", output).replace(b"\r\n", b"\n").decode(errors="surrogateescape")

    def without(self, output: bytes) -> tuple[bytes, bytes]:
        """Return output without marks, and separately its last bytes if they may be the beginning of a mark."""
        output = self._any.sub(b"", output)
        start = output.rfind(self._token)
        if start < 0 or not self._partial.fullmatch(output, start):
            lengths = range(min(len(self._token), len(output)), 0, -1)
            start = next((len(output) - n for n in lengths if output.endswith(self._token[:n])), len(output))
        return output[:start], output[start:]

    def follow(self, output: Callable[[str], object]) -> Follower:
        """Return an object that passes output on while it arrives."""
        return Follower(self, output)


class Follower:
    """Passes output on as text while it arrives, in whole characters and without marks."""

    def __init__(self, marks: Marks, output: Callable[[str], object]) -> None:
        """Pass text on to `output`."""
        self._marks, self._output = marks, output
        self._held = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, part: bytes) -> None:
        """Add a piece of the output; an empty one means the end of it."""
        ready, self._held = self._marks.without(self._held + part)
        if not part:
            ready, self._held = ready + self._held, b""
        elif ready.endswith(b"\r"):
            ready, self._held = ready[:-1], b"\r" + self._held
        text = self._decoder.decode(ready.replace(b"\r\n", b"\n"), not part)
        if text:
            self._output(text)
