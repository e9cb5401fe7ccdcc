"""The differences that a block of code makes: `observe`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nsbox.seeing.diff import Diff, diff
from nsbox.seeing.snapshot import Snapshot, snapshot
from nsbox.seeing.target import Target

__all__ = ["Observation", "observe"]


class Observation:
    """The snapshots before and after the block of `observe`.

    Attributes:
        before: The snapshot from the beginning of the block.
    """

    def __init__(self, of: Target | None, before: Snapshot) -> None:
        """Keep the snapshot from the beginning of the block."""
        self._of = of
        self._after: Snapshot | None = None
        self.before = before

    @property
    def after(self) -> Snapshot:
        """The snapshot from the end of the block; until then, one of this moment."""
        return self._after or snapshot(self._of)

    @property
    def diff(self) -> Diff:
        """What came, went and changed."""
        return diff(self.before, self.after)

    def __repr__(self) -> str:
        """Return whether the block has ended."""
        return f"<observation, {'finished' if self._after else 'running'}>"


@contextlib.contextmanager
def observe(of: Target | None = None) -> Iterator[Observation]:
    """Take a snapshot at the beginning and at the end of a block, also when it raises.

    >>> with observe() as seen:
    ...     ...
    >>> print(seen.diff)

    Args:
        of: The process for which snapshots are taken, as for `snapshot`.

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
