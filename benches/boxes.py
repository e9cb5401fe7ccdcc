"""Measure the time of a command in a box, compared with subprocess.run, and the memory of a box.

    python benches/boxes.py [--runs N] [--boxes N] [--check]

Every round runs each candidate once, all in this process. Compare only ratios.
"""

from __future__ import annotations

import argparse
import gc
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import nsbox

TRUE = "/bin/true"
MAX_RATIO_TO_SUBPROCESS = 1.15
MAX_PRIVATE_KIB = 64
WARM_UP_ROUNDS = 10


def measure(candidates: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return the median time of each candidate, in seconds."""
    times: dict[str, list[int]] = {name: [] for name in candidates}
    order = list(candidates.items())
    gc.disable()
    for number in range(WARM_UP_ROUNDS + runs):
        random.shuffle(order)
        for name, start in order:
            before = time.perf_counter_ns()
            start()
            if number >= WARM_UP_ROUNDS:
                times[name].append(time.perf_counter_ns() - before)
    gc.enable()
    return {name: median(taken) / 1e9 for name, taken in times.items()}


def private_kib(pid: int) -> int:
    """Return the private memory of a process (proc_pid_smaps(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private"))


def memory_of_boxes(count: int) -> tuple[int, float]:
    """Start `count` boxes and use each once; return the largest private memory of an init in KiB, and the seconds."""
    before = time.perf_counter()
    boxes = [nsbox.Box("mip") for _ in range(count)]
    for box in boxes:
        box.run([TRUE], check=True)
    largest = max(private_kib(box.pid) for box in boxes)
    for box in boxes:
        box.close()
    return largest, time.perf_counter() - before


def main() -> int:
    """Measure, print, and compare with the targets; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=500, help="rounds (default %(default)s)")
    parser.add_argument("--boxes", type=int, default=500, help="boxes that are alive at once (default %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a target is missed")
    options = parser.parse_args()
    with nsbox.Box("mip", mount_proc=True) as box:
        times = measure(
            {
                "subprocess.run": lambda: subprocess.run([TRUE], check=True),
                "box.run": lambda: box.run([TRUE]),
                "subprocess.run, captured": lambda: subprocess.run([TRUE], check=True, capture_output=True),
                "box.run, captured": lambda: box.run([TRUE], capture_output=True),
                "box.hostname": lambda: box.hostname,
                "nsbox.run": lambda: nsbox.run([TRUE], unshare="mip", mount_proc=True),
                "Box(), run, close": make_use_close,
            },
            options.runs,
        )
    for name, seconds in sorted(times.items(), key=lambda item: item[1]):
        print(f"{name:28}{seconds * 1e3:>9.3f} ms{seconds / times['subprocess.run']:>8.2f}")
    largest, seconds = memory_of_boxes(options.boxes)
    ratio = times["box.run"] / times["subprocess.run"]
    results = [
        (
            ratio <= MAX_RATIO_TO_SUBPROCESS,
            f"box.run takes {ratio:.2f} x subprocess.run (at most {MAX_RATIO_TO_SUBPROCESS})",
        ),
        (
            largest <= MAX_PRIVATE_KIB,
            f"{options.boxes} boxes at once: {largest} KiB private at most (at most {MAX_PRIVATE_KIB})",
        ),
    ]
    print(f"{options.boxes} boxes made, used and closed in {seconds:.1f} s")
    for holds, text in results:
        print(f"{'holds ' if holds else 'MISSED'}  {text}")
    return 1 if options.check and not all(holds for holds, _ in results) else 0


def make_use_close() -> None:
    """Start a box, run a command in it, and close it."""
    with nsbox.Box("mip", mount_proc=True) as box:
        box.run([TRUE])


if __name__ == "__main__":
    sys.exit(main())
