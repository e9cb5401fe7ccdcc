"""Measure how long an asyncio loop is busy when it starts many programs at once, compared with asyncio's own function.

    python benches/aio.py [--programs N] [--rounds N]

The longest gap is the longest time in which the loop ran no other task. Compare only ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import nsbox

TRUE = "/bin/true"

Create = Callable[..., Awaitable[Any]]


async def one(create: Create) -> None:
    """Start a program and wait until it exits."""
    process = await create(TRUE)
    await process.wait()


async def measure(create: Create, programs: int) -> tuple[float, float]:
    """Return the seconds until all programs have exited, and the longest gap in that time."""
    longest, finished = 0.0, False

    async def watch() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not finished:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    before = time.perf_counter()
    await asyncio.gather(*(one(create) for _ in range(programs)))
    taken = time.perf_counter() - before
    finished = True
    await watching
    return taken, longest


async def main() -> None:
    """Measure the functions in turn, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    creates: dict[str, Create] = {"asyncio": asyncio.create_subprocess_exec, "nsbox": nsbox.create_subprocess_exec}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in creates}
    for _ in range(options.rounds):
        for name, create in creates.items():
            results[name].append(await measure(create, options.programs))
    print(f"{options.programs} at once{'together':>16}{'longest gap':>16}")
    for name, figures in results.items():
        together, gap = (median(column) * 1000 for column in zip(*figures, strict=True))
        print(f"{name:<12}{together:>13.1f} ms{gap:>13.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
