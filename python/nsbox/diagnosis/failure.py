"""A failed step as an exception, with the reason and the remedy."""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING

from nsbox.errors import (
    SpawnError,
    SpawnPermissionError,
)

if TYPE_CHECKING:
    from nsbox.diagnosis.evidence import Evidence

__all__ = ["spawn_error"]


def spawn_error(
    errno: int, step: str, actor: str, call: str, detail: str, evidence: Evidence | None = None
) -> SpawnError:
    """Make the exception for a failed step: its class, the evidence, and the hint. Called by the core.

    Args:
        errno: The error number.
        step: The step's name.
        actor: Who carried it out.
        call: The system call.
        detail: What else was reported about it.
        evidence: What is known about the machine; by default it is gathered now.
    """
    # In a user namespace an id that is not mapped is no argument (EINVAL); outside, it is one the caller may not take.
    unmapped = errno == EINVAL and step in ("set groups", "setgid", "setuid")
    denied = unmapped or isinstance(OSError(errno, ""), PermissionError)
    cls = SpawnPermissionError if denied else SpawnError
    try:
        # Only needed when something fails, and its readers import what is imported from here.
        from nsbox.diagnosis import causes  # noqa: PLC0415

        cause, why, hint = causes.explain(causes.Failure(errno, step, call, detail), evidence)
    except Exception:
        # In a chroot, or as another user, neither our own files nor /proc may be there. What failed matters more.
        cause, why, hint = "", detail, ""
    return cls(errno, step, actor, call, why, hint, cause)
