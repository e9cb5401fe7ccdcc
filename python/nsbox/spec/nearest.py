"""The known name that is most similar to an unknown one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]

_SIMILAR = 0.6
"""The least ratio of similarity (difflib.SequenceMatcher.ratio)."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known name that is most similar to a word, upper and lower case being the same; empty for none."""
    import difflib  # noqa: PLC0415 - only for errors; it would slow down every start

    by_lower = {name.lower(): name for name in known}
    longer = [name for lower, name in by_lower.items() if lower.startswith(word.lower())]
    if len(longer) == 1 and len(word) > 2:
        return longer[0]
    # A very long word is no typing error, and would take long to compare.
    found = difflib.get_close_matches(word.lower(), by_lower, 1, _SIMILAR) if len(word) <= 64 else []
    return by_lower[found[0]] if found else ""


def did_you_mean(word: str, known: Iterable[str], before: str = "; ") -> str:
    """Return the end of an error message, such as ``"; did you mean 'pstree'?"``; empty where nothing is similar.

    Args:
        word: What was given.
        known: The names that would be accepted.
        before: What separates it from the message.
    """
    found = nearest(word, known)
    return f"{before}did you mean {found!r}?" if found else ""
