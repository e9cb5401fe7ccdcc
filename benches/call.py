"""Measure the time of a function call in a box, compared with a pool of processes without namespaces.

    python benches/call.py [--runs N] [--check]

Every round calls each candidate once, all in this process, in a new random order. Compare only ratios. The function
returns at once. "Again" means that the same process is used for all calls. "For each" means a new process for each
call: a fork of a running Python, or a newly started Python.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from statistics import median, quantiles

import nsbox
from nothing import nothing

CALL, POOL = "Box.call, again", "ProcessPoolExecutor, again"
TASK, FORKED = "Executor, a box and a fork for each", "multiprocessing, a fork for each"
FRESH, BARE = "Box.call, a Python for each", "subprocess.run, a Python for each"
BOXED = "boxed, a box and a Python for each"
MAX_RATIO_TO_POOL = 1.0
WARM_UP_ROUNDS = 5


def candidates(stack: ExitStack) -> dict[str, Callable[[], object]]:
    """Start the processes that are used again; return all candidates."""
    box = stack.enter_context(nsbox.Box("mip"))
    executor = stack.enter_context(nsbox.Executor(1, "mip"))
    forkserver = multiprocessing.get_context("forkserver")
    pool = stack.enter_context(ProcessPoolExecutor(1, forkserver))

    def fork() -> None:
        process = forkserver.Process(target=abs, args=(-1,))
        process.start()
        process.join()

    return {
        CALL: lambda: box.call(abs, -1),
        POOL: lambda: pool.submit(abs, -1).result(),
        TASK: lambda: executor.submit(abs, -1).result(),
        FORKED: fork,
        FRESH: lambda: box.call(abs, -1, fresh=True),
        BARE: lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
        BOXED: nothing,
    }


def measure(measured: dict[str, Callable[[], object]], runs: int) -> dict[str, list[int]]:
    """Time every candidate once per round."""
    times: dict[str, list[int]] = {name: [] for name in measured}
    order = list(measured.items())
    gc.disable()
    for number in range(WARM_UP_ROUNDS + runs):
        random.shuffle(order)
        for name, call in order:
            before = time.perf_counter_ns()
            call()
            taken = time.perf_counter_ns() - before
            if number >= WARM_UP_ROUNDS:
                times[name].append(taken)
    gc.enable()
    return times


def main() -> int:
    """Measure, print, and compare with the target; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=100, help="rounds (default %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when the target is missed")
    options = parser.parse_args()
    with ExitStack() as stack:
        times = measure(candidates(stack), options.runs)
    base = median(times[POOL])
    print(f"{options.runs} rounds on {os.cpu_count()} CPUs with load {os.getloadavg()[0]:.1f}")
    print(f"{'':42}{'median':>11}{'p90':>11}{'/ pool':>9}")
    for name, taken in sorted(times.items(), key=lambda item: median(item[1])):
        middle, p90 = median(taken), quantiles(taken, n=10)[-1]
        print(f"{name:42}{middle / 1e6:>8.3f} ms{p90 / 1e6:>8.3f} ms{middle / base:>9.2f}")
    ratio = median(times[CALL]) / base
    holds = ratio <= MAX_RATIO_TO_POOL
    print(f"\n{'holds ' if holds else 'MISSED'}  {CALL}: {ratio:.2f} x {POOL} (at most {MAX_RATIO_TO_POOL:g})")
    return 1 if options.check and not holds else 0


if __name__ == "__main__":
    sys.exit(main())
