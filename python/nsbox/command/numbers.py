"""Numbers in command lines."""

from __future__ import annotations

from nsbox.command.options import UsageError

__all__ = ["whole"]


def whole(text: str, what: str, allowed: range | None = None) -> int:
    """Return a whole number.

    Args:
        text: Its digits, with or without a sign.
        what: What it is, for the message.
        allowed: The numbers that it may be; by default any.

    Raises:
        UsageError: for anything else, in the words of util-linux.
    """
    digits = text.strip().removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdecimal()) or (allowed is not None and int(text) not in allowed):
        raise UsageError(f"failed to parse {what}: '{text}'")
    return int(text)
