"""Threads that do nothing but get in the way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["busy"]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep `count` threads spinning meanwhile, allocating all the time.

    They pass the interpreter on fifty times as often as usual: otherwise each step of the others would take 5 ms for
    every one of them, and the same would happen, but slowly.
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
