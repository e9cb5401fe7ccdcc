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
        name: The name of a POSIX queue, without the slash at its beginning; None for others.
        uid: Its owner, as the caller's user namespace has it; None where it has no id there.
        gid: Its group, likewise.
        mode: Its permissions.
        size: Bytes: of a segment, or of the messages in a queue; None for semaphores, and for a queue that the caller
            may not read.
        count: How many attachments, semaphores, or messages; None for a POSIX queue, which does not tell.
        creator: The PID that made a segment, or last sent to a queue, in the caller's PID namespace; 0 if it is outside
            or over, None where the kernel does not tell.
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
