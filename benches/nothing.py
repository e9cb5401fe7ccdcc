"""The function of `call.py` that has a box for each call: it must be found by name."""

from __future__ import annotations

import nsbox

__all__ = ["nothing"]


@nsbox.boxed
def nothing() -> None:
    """Do nothing."""
