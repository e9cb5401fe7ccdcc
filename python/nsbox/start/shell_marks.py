"""Where the output of one command ends and that of the next begins, on a terminal whose prompts nobody knows."""

from __future__ import annotations

import codecs
import re
import secrets
from collections.abc import Callable

__all__ = ["Follower", "Marks"]


class Marks:
    """Marks that a shell is told to echo: numbered, so that one that comes late is not taken for the next."""

    def __init__(self) -> None:
        """Choose a word that no output will contain."""
        self._word = secrets.token_hex(8).encode()
        self._number = 0
        # A program that reads the terminal may show the line that was meant for the shell.
        self._any = re.compile(rb'(?:echo ")?%s_\d+:(?:\d+:\d+:|\$\?:\$\$:")\r?\n' % self._word)
        self._partial = re.compile(rb"%s(_\d*(:\d*(:\d*(:\r?)?)?)?)?" % self._word)

    def next(self) -> bytes:
        """Return a line for the shell by which it echoes a new mark, with ``$?`` and ``$$``."""
        self._number += 1
        return b'echo "%s_%d:$?:$$:"\n' % (self._word, self._number)

    def seen(self, output: bytes) -> re.Match[bytes] | None:
        """Find the newest mark: ``$?`` and ``$$`` are its groups."""
        return re.search(rb"%s_%d:(\d+):(\d+):\r?\n" % (self._word, self._number), output)

    def text(self, output: bytes) -> str:
        """Return output as text, without marks."""
        return self._any.sub(b"", output).replace(b"\r\n", b"\n").decode(errors="surrogateescape")

    def without(self, output: bytes) -> tuple[bytes, bytes]:
        """Return output without marks, and the end of it that may become one."""
        output = self._any.sub(b"", output)
        start = output.rfind(self._word)
        if start < 0 or not self._partial.fullmatch(output, start):
            lengths = range(min(len(self._word), len(output)), 0, -1)
            start = next((len(output) - n for n in lengths if output.endswith(self._word[:n])), len(output))
        return output[:start], output[start:]

    def follow(self, output: Callable[[str], object]) -> Follower:
        """Return what passes output on while it arrives."""
        return Follower(self, output)


class Follower:
    """Passes output on as text while it arrives: whole characters, and no marks."""

    def __init__(self, marks: Marks, output: Callable[[str], object]) -> None:
        """Begin with nothing."""
        self._marks, self._output = marks, output
        self._held = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, part: bytes) -> None:
        """Take a piece; an empty one is the end."""
        ready, self._held = self._marks.without(self._held + part)
        if not part:
            ready, self._held = ready + self._held, b""
        elif ready.endswith(b"\r"):
            ready, self._held = ready[:-1], b"\r" + self._held
        text = self._decoder.decode(ready.replace(b"\r\n", b"\n"), not part)
        if text:
            self._output(text)
