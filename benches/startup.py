"""Measure the time to import nsbox and to run its commands, compared with a bare interpreter.

    python benches/startup.py [--runs N] [--importtime STATEMENT] [--check]

Every round starts each candidate once, in a new interpreter, in a new random order. Compare only differences within one
run. ``--importtime "import nsbox; nsbox.run"`` lists the modules that a statement imports, the slowest last.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from statistics import median

BARE = "python -c pass"
CANDIDATES = {
    BARE: ["-c", "pass"],
    "import subprocess": ["-c", "import subprocess"],
    "import nsbox": ["-c", "import nsbox"],
    "import nsbox; nsbox.run": ["-c", "import nsbox; nsbox.run"],
    "import nsbox; nsbox.ps": ["-c", "import nsbox; nsbox.ps"],
    "all of nsbox": ["-c", "from nsbox import *"],
    "nsbox --version": ["-m", "nsbox", "--version"],
    "nsbox ps -p 1": ["-m", "nsbox", "ps", "-p", "1"],
}
MAX_IMPORT_MS = 15.0
"""The target for `import nsbox`."""
WARM_UP_ROUNDS = 2


def measure(runs: int) -> dict[str, list[float]]:
    """Return the milliseconds of every start."""
    times: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    order = list(CANDIDATES.items())
    for number in range(WARM_UP_ROUNDS + runs):
        random.shuffle(order)
        for name, arguments in order:
            before = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if number >= WARM_UP_ROUNDS:
                times[name].append((time.perf_counter() - before) * 1e3)
    return times


def import_times(statement: str) -> str:
    """Return the lines of ``-X importtime`` that a statement adds to those of a bare interpreter, the slowest last."""

    def lines(program: str) -> list[str]:
        command = [sys.executable, "-X", "importtime", "-c", program]
        return subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()

    known = {line.rpartition("|")[2].strip() for line in lines("pass")}
    heading, *rest = lines(statement)
    added = [line for line in rest if line.rpartition("|")[2].strip() not in known]
    return "\n".join([heading, *sorted(added, key=lambda line: int(line.split("|")[1]))])


def main() -> int:
    """Measure, print, and compare with the target; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=30, help="rounds (default %(default)s)")
    parser.add_argument("--importtime", metavar="STATEMENT", help="only list the modules that this statement imports")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when the target is missed")
    options = parser.parse_args()
    if options.importtime:
        print(import_times(options.importtime))
        return 0
    times = measure(options.runs)
    bare = median(times[BARE])
    print(f"{options.runs} rounds on {os.cpu_count()} CPUs with load {os.getloadavg()[0]:.1f}\n")
    print(f"{'':26}{'median':>10}{'over bare':>12}")
    for name, taken in times.items():
        print(f"{name:26}{median(taken):>7.1f} ms{median(taken) - bare:>+9.1f} ms")
    over = median(times["import nsbox"]) - bare
    holds = over <= MAX_IMPORT_MS
    print(f"\n{'holds ' if holds else 'MISSED'}  import nsbox costs {over:.1f} ms (at most {MAX_IMPORT_MS:g})")
    return 1 if options.check and not holds else 0


if __name__ == "__main__":
    sys.exit(main())
