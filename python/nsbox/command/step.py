"""A step of a command that moves its own process, in the form of the steps of a plan."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CommandStep", "quoted"]


@dataclass(frozen=True, slots=True)
class CommandStep:
    """A step, in the form of those of a plan, and what does it.

    Attributes:
        name: A stable name, the same as in a plan where that has such a step.
        call: The system call with its arguments.
        manual: Where it is described.
        why: Why it is done.
        do: Do it, in the calling process.
        actor: The command.
    """

    name: str
    call: str
    manual: str
    why: str
    do: Callable[[], None]
    actor: str = "unshare"


_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n"}


def quoted(text: str) -> str:
    """Return a text as a C string literal."""
    shown = (_ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in os.fsencode(text))
    return f'"{"".join(shown)}"'
