"""What a command in a box costs, against starting one without any namespace; and what a box weighs.

    python benches/boxes.py [--runs N] [--boxes N] [--check]

Every round runs each candidate once, in this one process; only the ratios mean anything.
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
AT_MOST_OVER_SUBPROCESS = 1.15
AT_MOST_KIB = 64
WARM_UP = 10


def measure(candidates: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return the median time of each candidate, in seconds."""
    times: dict[str, list[int]] = {name: [] for name in candidates}
    order = list(candidates.items())
    gc.disable()
    for number in range(WARM_UP + runs):
        random.shuffle(order)
        for name, start in order:
            before = time.perf_counter_ns()
            start()
            if number >= WARM_UP:
                times[name].append(time.perf_counter_ns() - before)
    gc.enable()
    return {name: median(taken) / 1e9 for name, taken in times.items()}


def private_kib(pid: int) -> int:
    """Return the memory that only this process has (proc_pid_smaps(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private"))


def weigh(count: int) -> tuple[int, float]:
    """Hold so many boxes at once, each used; return the private memory of the heaviest init in KiB, and seconds."""
    before = time.perf_counter()
    boxes = [nsbox.Box("mip") for _ in range(count)]
    for box in boxes:
        box.run([TRUE], check=True)
    heaviest = max(private_kib(box.pid) for box in boxes)
    for box in boxes:
        box.close()
    return heaviest, time.perf_counter() - before


def main() -> int:
    """Measure, print, judge."""
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
    heaviest, seconds = weigh(options.boxes)
    ratio = times["box.run"] / times["subprocess.run"]
    judged = [
        (
            ratio <= AT_MOST_OVER_SUBPROCESS,
            f"box.run takes {ratio:.2f} x subprocess.run (at most {AT_MOST_OVER_SUBPROCESS})",
        ),
        (
            heaviest <= AT_MOST_KIB,
            f"{options.boxes} boxes at once: {heaviest} KiB private at most (at most {AT_MOST_KIB})",
        ),
    ]
    print(f"{options.boxes} boxes made, used and closed in {seconds:.1f} s")
    for holds, text in judged:
        print(f"{'holds ' if holds else 'MISSED'}  {text}")
    return 1 if options.check and not all(holds for holds, _ in judged) else 0


def make_use_close() -> None:
    """Do everything once."""
    with nsbox.Box("mip", mount_proc=True) as box:
        box.run([TRUE])


if __name__ == "__main__":
    sys.exit(main())
