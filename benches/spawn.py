"""Measure the time to start a program in new namespaces, compared with a floor in C and with other programs.

    python benches/spawn.py [--runs N] [--heap-gb 0,2] [--json FILE] [--check]

Every round runs each candidate once, all in this process, so that the machine, its load and the heap are the same for
all. Compare only ratios. The floor in C makes only the necessary system calls (`floor.c`). The floor with an init, as
nsbox has one, is the lowest cost of two processes and two execs (`floor_init.c`).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import floor
import nsbox

TRUE = "/bin/true"
FLOOR, WITH_INIT, PLAIN, SUBPROCESS = "floor", "floor, with an init", "floor, no namespaces", "subprocess.run"
RUN, FORK_EXEC, HARDENED = "nsbox.run", "nsbox.fork_exec", "nsbox.run, harden"
UNSHARE, BWRAP = "unshare", "bwrap"

MAX_RATIO_TO_FLOOR_WITH_INIT = 1.3
MIN_SPEEDUP_OVER_UNSHARE = 1.8
MAX_RATIO_TO_SMALL_HEAP = 1.1
WARM_UP_ROUNDS = 5
PAGE_BYTES = 4096
GB = 1 << 30

Candidate = Callable[[], "int | None"]
"""Starts a program and waits until it exits; may return the nanoseconds, if it measures them itself."""


def command(*args: str) -> Candidate:
    """Return the candidate that runs a command with subprocess.run."""

    def start() -> None:
        subprocess.run(args, check=True)

    return start


def run() -> None:
    """Start with nsbox.run."""
    nsbox.run([TRUE], unshare="mip", mount_proc=True, check=True)


def hardened() -> None:
    """Start with nsbox.run, and all that holds a program."""
    nsbox.run([TRUE], harden=True, cwd="/", check=True)


def fork_exec() -> None:
    """Start with nsbox.fork_exec."""
    end = nsbox.fork_exec([TRUE], unshare="mip", mount_proc=True).wait()
    if end is None or end.returncode:
        raise RuntimeError(f"{TRUE} exited with {end}")


def candidates() -> dict[str, Candidate]:
    """Return everything that can be measured on this machine."""
    found: dict[str, Candidate] = {}
    try:
        library = floor.build()
    except floor.NoCompilerError as error:
        print(f"no floor: {error}", file=sys.stderr)
    else:
        found[FLOOR] = library.namespaces
        found[WITH_INIT] = library.with_init
        found[PLAIN] = library.plain
    found[RUN] = run
    found[FORK_EXEC] = fork_exec
    found[SUBPROCESS] = command(TRUE)
    if path := shutil.which("unshare"):
        found[UNSHARE] = command(path, "-mipf", "--mount-proc", TRUE)
    if path := shutil.which("bwrap"):
        isolation = ("--unshare-pid", "--unshare-ipc", "--die-with-parent")
        found[BWRAP] = command(path, *isolation, "--dev-bind", "/", "/", "--proc", "/proc", TRUE)
    return found


def measure(measured: dict[str, Candidate], runs: int) -> dict[str, list[int]]:
    """Time every candidate once per round, in a new random order for each round."""
    times: dict[str, list[int]] = {name: [] for name in measured}
    order = list(measured.items())
    gc.disable()
    for number in range(WARM_UP_ROUNDS + runs):
        random.shuffle(order)
        for name, start in order:
            before = time.perf_counter_ns()
            own = start()
            taken = time.perf_counter_ns() - before
            if number >= WARM_UP_ROUNDS:
                times[name].append(taken if own is None else own)
    gc.enable()
    return times


def touched(gigabytes: float) -> bytearray:
    """Return memory of this size in which every page is present, so that a fork would copy its page tables."""
    memory = bytearray(int(gigabytes * GB))
    for at in range(0, len(memory), PAGE_BYTES):
        memory[at] = 1
    return memory


def table(times: dict[str, list[int]]) -> str:
    """Return the table of times, the fastest first."""
    base = median(times[FLOOR]) if FLOOR in times else None
    lines = [f"{'':24}{'median':>10}{'p90':>10}{'/ floor':>10}"]
    for name, taken in sorted(times.items(), key=lambda item: median(item[1])):
        middle = median(taken)
        p90 = quantiles(taken, n=10)[-1]
        ratio = f"{middle / base:.2f}" if base else "-"
        lines.append(f"{name:24}{middle / 1e6:>7.3f} ms{p90 / 1e6:>7.3f} ms{ratio:>10}")
    return "\n".join(lines)


def verdicts(results: dict[float, dict[str, list[int]]]) -> list[tuple[bool, str]]:
    """Compare the times with the targets; return for each target whether it is reached, and a sentence."""
    found = []
    for heap, times in results.items():
        nsbox_run = median(times[RUN])
        if WITH_INIT in times:
            ratio, most = nsbox_run / median(times[WITH_INIT]), MAX_RATIO_TO_FLOOR_WITH_INIT
            text = f"heap {heap:g} GB: {RUN} takes {ratio:.2f} x {WITH_INIT} (at most {most})"
            found.append((ratio <= most, text))
        if UNSHARE in times:
            ratio = median(times[UNSHARE]) / nsbox_run
            least = MIN_SPEEDUP_OVER_UNSHARE
            text = f"heap {heap:g} GB: {RUN} is {ratio:.2f} x as fast as unshare (at least {least})"
            found.append((ratio >= least, text))
    if len(results) > 1:
        small, large = min(results), max(results)
        # Relative to the floor, if there is one: the heaps are measured one after the other, and the load of the
        # machine may change in between.
        per_floor = {heap: median(times[RUN]) / median(times.get(FLOOR, [1])) for heap, times in results.items()}
        ratio = per_floor[large] / per_floor[small]
        text = f"heap {large:g} GB costs {ratio:.2f} x heap {small:g} GB (at most {MAX_RATIO_TO_SMALL_HEAP})"
        found.append((ratio <= MAX_RATIO_TO_SMALL_HEAP, text))
    return found


def main() -> int:
    """Measure, print, and compare with the targets; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=300, help="rounds per heap size (default %(default)s)")
    parser.add_argument("--heap-gb", default="0,2", help="sizes of this process, in GB (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write every single time, in nanoseconds, to this file")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a target is missed")
    options = parser.parse_args()
    measured = candidates()
    results: dict[float, dict[str, list[int]]] = {}
    for heap in sorted({float(part) for part in options.heap_gb.split(",")}):
        memory = touched(heap)
        results[heap] = measure(measured, options.runs)
        machine = f"{os.cpu_count()} CPUs with load {os.getloadavg()[0]:.1f}"
        print(f"\nheap {heap:g} GB, {options.runs} rounds on {machine}")
        print(table(results[heap]))
        del memory
    print()
    targets = verdicts(results)
    for holds, text in targets:
        print(f"{'holds ' if holds else 'MISSED'}  {text}")
    if options.json:
        options.json.write_text(json.dumps({f"{heap:g}": times for heap, times in results.items()}))
    return 1 if options.check and not all(holds for holds, _ in targets) else 0


if __name__ == "__main__":
    sys.exit(main())
