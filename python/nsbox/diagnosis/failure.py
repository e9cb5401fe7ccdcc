"""The exception for a failed step, with the reason and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from errno import EINVAL
from typing import TYPE_CHECKING

from nsbox.errors import SpawnError, SpawnPermissionError
from nsbox.spec.step_names import StepName

if TYPE_CHECKING:
    from nsbox._core import Call
    from nsbox.diagnosis.evidence import Evidence

__all__ = ["spawn_error"]


def spawn_error(
    errno: int, step: StepName, actor: str, calls: Sequence[Call], detail: str = "", evidence: Evidence | None = None
) -> SpawnError:
    """Return the exception for a failed step: its class, the evidence, and the hint. Also called by the core.

    Args:
        errno: The error number.
        step: The name of the step.
        actor: The process that carried it out.
        calls: Its system calls, of which one failed.
        detail: What else was reported about it.
        evidence: What is known about the machine; by default it is gathered now.
    """
    # For an id that is not mapped in a user namespace the kernel returns EINVAL; the reason is a lack of rights.
    unmapped = errno == EINVAL and step in ("set groups", "setgid", "setuid")
    denied = unmapped or isinstance(OSError(errno, ""), PermissionError)
    cls = SpawnPermissionError if denied else SpawnError
    try:
        # Loaded only when a step fails.
        from nsbox.diagnosis.causes import FailedStep, explain  # noqa: PLC0415

        cause, why, hint = explain(FailedStep(errno, step, tuple(calls), detail), evidence)
    except Exception:
        # In a chroot, or as another user, the files of nsbox and /proc may be missing. The step is still reported.
        cause, why, hint = "", detail, ""
    return cls(errno, step, actor, "; ".join(map(str, calls)), why, hint, cause)
