"""The end of what was killed: a wait with a limit, and the error for what has not ended by then."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from nsbox.errors import NotEndedError

__all__ = ["END_SECONDS", "TURN_SECONDS", "await_end", "not_ended"]

END_SECONDS = 30.0
"""The longest wait for what was killed. The kernel may have much memory to free, and many processes to reap."""

TURN_SECONDS = 2.0
"""How often a caller that waits for something else looks whether killed processes have to be helped to end."""

E = TypeVar("E")


def await_end(wait: Callable[[float], E | None], *pids: int) -> E:
    """Wait until something that was killed has ended, and return how.

    Args:
        wait: Waits for that many seconds, and returns how it ended; None if it has not.
        *pids: Its processes, for the error.

    Raises:
        NotEndedError: when it has not ended within `END_SECONDS`.
    """
    end = wait(END_SECONDS)
    if end is None:
        raise not_ended(*pids)
    return end


def not_ended(*pids: int) -> NotEndedError:
    """Return the error for processes that were killed, and have not ended within `END_SECONDS`."""
    return NotEndedError(END_SECONDS, tuple((pid, _state(pid)) for pid in dict.fromkeys(pids)))


def _state(pid: int) -> str:
    """Return the state of a process in words (proc_pid_status(5)); empty if it has none any more."""
    from nsbox.seeing.target import pid_of  # noqa: PLC0415 - few starts need it

    try:
        with open(f"/proc/{pid_of(pid, 'pid')}/status", "rb") as lines:
            fields = dict(line.split(b":", 1) for line in lines)
        uid = int(fields[b"Uid"].split()[0])
        state = fields[b"State"].decode().strip()
    except (OSError, KeyError, ValueError):
        return ""
    return state if uid == os.getuid() else f"{state}, user {uid}"
