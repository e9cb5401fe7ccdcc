"""Text that a submission may have written, made fit for terminals, XML and JSON."""

from __future__ import annotations

__all__ = ["one_line", "plain", "shortened"]


def plain(text: str) -> str:
    r"""Return text in which each control character is visible, such as ``\x1b``; newlines and tabs stay.

    Terminals act on control characters, and on those that change the direction of text. XML 1.0 does not allow most.
    """
    return "".join(one if one in "\n\t" or one.isprintable() else _escaped(one) for one in text)


def one_line(text: str) -> str:
    r"""Return the same as one line, with newlines as ``\n``: a name could look like a line of a report."""
    return plain(text).replace("\n", r"\n").replace("\t", r"\t")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def shortened(text: str, characters: int) -> str:
    """Return the beginning and the end of a text that is longer than this, with what was left out between them."""
    if len(text) <= characters:
        return text
    half = characters // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
