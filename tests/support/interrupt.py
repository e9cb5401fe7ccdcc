"""Signals that arrive while a process waits: sent on a condition, never after a time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.census import wait_until

__all__ = ["blocked", "interrupted"]

_FUTEX = {"x86_64": "202", "aarch64": "98"}.get(os.uname().machine)
"""The system call with which a thread waits for a lock, including the interpreter's."""


def blocked(thread: int) -> bool:
    """Whether a thread of this process waits in the kernel for anything but a lock (proc_pid_syscall(5))."""
    try:
        call = Path(f"/proc/self/task/{thread}/syscall").read_text().split()[0]
    except PermissionError:
        return True  # not dumpable (prctl(2)), so it cannot be read
    return call not in ("running", "-1", _FUTEX)


@contextmanager
def interrupted(
    when: Callable[[], object] = lambda: True, send: Callable[[], object] = lambda: os.kill(os.getpid(), signal.SIGINT)
) -> Iterator[None]:
    """Send this process a signal, by default SIGINT, once `when()` is true and the calling thread waits in the block.

    Only for a child (`in_child`): the signal's effect must not reach pytest.
    """
    caller = threading.get_native_id()

    def work() -> None:
        if wait_until(when) and wait_until(lambda: blocked(caller)):
            send()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
