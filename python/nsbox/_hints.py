"""Why a step fails, from evidence read at that moment, and what to do about it."""

from __future__ import annotations

__all__ = ["explain"]


def explain(errno: int, step: str, detail: str) -> tuple[str, str]:
    """Return the evidence and the hint for a failed step; either may be empty."""
    return detail, ""
