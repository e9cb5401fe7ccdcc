"""An object in an IPC namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["IpcKind", "IpcObject"]

IpcKind: TypeAlias = Literal["shm", "sem", "msg", "mqueue"]
"""System V shared memory, semaphores and message queues (sysvipc(7)), and POSIX message queues (mq_overview(7))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IpcObject:
    """An object at the moment of reading.

    Attributes:
        kind: What it is.
        id: Its System V identifier; None for a POSIX queue.
        key: Its System V key, 0 for IPC_PRIVATE; None for a POSIX queue.
        name: The name of a POSIX queue, without the leading slash; None for others.
        uid: Its owner, as an id of the caller's user namespace; None if the owner is not mapped there.
        gid: Its group, in the same way.
        mode: Its permissions.
        size: Its size in bytes: of a segment, or of all messages in a queue; None for semaphores, and for a queue that
            the caller may not read.
        count: The number of attachments of a segment, of semaphores, or of messages in a queue; None for a POSIX queue,
            for which the kernel does not report it.
        creator: The PID of the process that made a segment, or that last sent to a queue, in the caller's PID
            namespace; 0 if that process is outside of it or has ended, None where the kernel does not report it.
    """

    kind: IpcKind
    id: int | None = None
    key: int | None = None
    name: str | None = None
    uid: int | None
    gid: int | None
    mode: int
    size: int | None = None
    count: int | None = None
    creator: int | None = None
