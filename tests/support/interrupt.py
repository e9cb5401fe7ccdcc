"""Signals that arrive while a process waits: sent on a condition, never after a time."""

from __future__ import annotations

import linecache
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.census import wait_until

__all__ = ["blocked", "interrupted", "interrupted_at"]

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


def interrupted_at(number: int, files: Collection[str], function: Callable[[], object]) -> bool:
    """Call a function, and raise KeyboardInterrupt at this line of these files, as the handler of a signal does.

    Returns:
        False if the function has executed fewer lines, and so was not interrupted.
    """
    lines = iter(range(number))

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        # A handler runs after calls and at jumps: not between the end of a block and its __exit__, nor at a try.
        code = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
        if event == "line" and not code.startswith(("with ", "try:")) and next(lines, None) is None:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False
