"""Threads that do nothing but get in the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["busy"]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep `count` threads spinning meanwhile, allocating all the time."""
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
