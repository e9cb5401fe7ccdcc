"""Busy threads that compete with the test."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["busy"]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep `count` threads spinning during the block, allocating all the time.

    The interpreter's switch interval is a fiftieth of the default: otherwise each step of another thread would take
    5 ms per busy thread, and the test would check the same, but slowly.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 50)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            [bytearray(64) for _ in range(1000)]

    threads = [threading.Thread(target=spin, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
