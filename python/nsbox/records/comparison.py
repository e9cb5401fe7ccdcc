"""What a process sees and what the caller sees, to be shown side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from nsbox.records.ipc import IpcObject
from nsbox.records.mountinfo import Mount
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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Compared:
    """The data of `nsbox.Comparison`, which describes the attributes."""

    pid: int
    outside: NamespaceIds
    inside: NamespaceIds
    pairs: tuple[Pair, ...]
    others: tuple[Process, ...]
    only_outside: tuple[Mount, ...] = ()
    only_inside: tuple[Mount, ...] = ()
    ipc_only_outside: tuple[IpcObject, ...] = ()
    ipc_only_inside: tuple[IpcObject, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def process(self) -> Process | None:
        """The record of the process with which the caller is compared."""
        return next((pair.outside for pair in self.pairs if pair.outside.pid == self.pid), None)

    @property
    def own(self) -> tuple[str, ...]:
        """The kinds of namespaces in which the two are known to differ."""
        pairs = zip(NamespaceIds._fields, self.outside, self.inside, strict=True)
        return tuple(kind for kind, out, inner in pairs if out and inner and out != inner)
