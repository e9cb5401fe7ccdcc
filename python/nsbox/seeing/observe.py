"""What happens in a block of code: observe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nsbox.seeing.diff import Diff, diff
from nsbox.seeing.proc import Target
from nsbox.seeing.snapshot import Snapshot, snapshot

__all__ = ["Observation", "observe"]


class Observation:
    """What happens in the block of `observe`.

    Attributes:
        before: What there was at its beginning.
    """

    def __init__(self, of: Target | None, before: Snapshot) -> None:
        """Begin with what there is."""
        self._of = of
        self._after: Snapshot | None = None
        self.before = before

    @property
    def after(self) -> Snapshot:
        """What there was at the end of the block; before that, what there is now."""
        return self._after or snapshot(self._of)

    @property
    def diff(self) -> Diff:
        """What came, what went and what changed."""
        return diff(self.before, self.after)

    def __repr__(self) -> str:
        """Say whether it is over."""
        return f"<observation, {'over' if self._after else 'going on'}>"


@contextlib.contextmanager
def observe(of: Target | None = None) -> Iterator[Observation]:
    """Take a snapshot at the beginning and at the end of a block, also when it raises.

    >>> with observe() as seen:
    ...     ...
    >>> print(seen.diff)

    Args:
        of: From where, as for `snapshot`.

    Raises:
        OSError: when the processes cannot be read.
    """
    seen = Observation(of, snapshot(of))
    try:
        yield seen
    except BaseException:
        with contextlib.suppress(OSError):
            seen._after = snapshot(of)
        raise
    seen._after = snapshot(of)
