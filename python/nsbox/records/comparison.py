"""What a process sees and what the caller sees, to be shown side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from nsbox.records.ipc import IpcObject
from nsbox.records.mounts import Mount
from nsbox.records.processes import NamespaceIds, Process

__all__ = ["Compared", "Pair"]


class Pair(NamedTuple):
    """Two records of one process.

    Attributes:
        outside: The process as the caller sees it.
        inside: The process as it is seen in the other PID namespace.
    """

    outside: Process
    inside: Process


class Compared(Protocol):
    """The attributes of `nsbox.Comparison` that are shown; they are described there."""

    @property
    def pid(self) -> int:
        """See `nsbox.Comparison`."""
        ...

    @property
    def outside(self) -> NamespaceIds:
        """See `nsbox.Comparison`."""
        ...

    @property
    def inside(self) -> NamespaceIds:
        """See `nsbox.Comparison`."""
        ...

    @property
    def own(self) -> Sequence[str]:
        """See `nsbox.Comparison`."""
        ...

    @property
    def pairs(self) -> Sequence[Pair]:
        """See `nsbox.Comparison`."""
        ...

    @property
    def others(self) -> Sequence[Process]:
        """See `nsbox.Comparison`."""
        ...

    @property
    def only_outside(self) -> Sequence[Mount]:
        """See `nsbox.Comparison`."""
        ...

    @property
    def only_inside(self) -> Sequence[Mount]:
        """See `nsbox.Comparison`."""
        ...

    @property
    def ipc_only_outside(self) -> Sequence[IpcObject]:
        """See `nsbox.Comparison`."""
        ...

    @property
    def ipc_only_inside(self) -> Sequence[IpcObject]:
        """See `nsbox.Comparison`."""
        ...

    @property
    def unknown(self) -> Sequence[str]:
        """See `nsbox.Comparison`."""
        ...
