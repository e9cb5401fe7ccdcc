"""The boxed function of `call.py`. It is in a module, because a worker finds it by its name."""

from __future__ import annotations

import nsbox

__all__ = ["nothing"]


@nsbox.boxed
def nothing() -> None:
    """Do nothing."""
