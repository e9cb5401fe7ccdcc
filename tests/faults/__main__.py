"""`make faults`: every system call of every way to start something fails once; then processes are killed.

Prints a table, and what is wrong.

Arguments: the names of scenarios, by default all.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

from tests.faults.cases import faults
from tests.faults.scenarios import ONLY_ROOT, SCENARIOS
from tests.support.census import adopt_orphans
from tests.support.far import open_place
from tests.support.faults import Victim, attempt, disturb

MOMENTS = 50


def main(place: Path) -> int:
    """Return 1 if something is wrong."""
    adopt_orphans()
    wrong = 0
    print(f"{'':18}{'cases':>8}{'worked':>8}{'error':>8}{'missed':>8}{'wrong':>8}")
    for name in sys.argv[1:] or SCENARIOS:
        for user in (None, place) if name not in ONLY_ROOT else (None,):
            title, counts = f"{name} {'user' if user else 'root'}", Counter[str]()
            without = attempt(SCENARIOS[name], None, user)
            if without.problems or "Error" in str(without.result):
                print(f"{title}: without a fault: {without.result} {without.problems}")
                wrong += 1
                continue
            for fault in faults(name, without):
                report = attempt(SCENARIOS[name], fault, user)
                counts["cases"] += 1
                kind = "missed" if not report.reached else "worked" if report.result == without.result else "error"
                counts["wrong" if report.problems else kind] += 1
                for problem in report.problems:
                    print(f"{title}: {fault}: {report.result}: {problem}", flush=True)
            wrong += counts["wrong"]
            columns = ("cases", "worked", "error", "missed", "wrong")
            print(f"{title:18}" + "".join(f"{counts[column]:8}" for column in columns), flush=True)
    return kills() + wrong > 0


def kills() -> int:
    """Kill processes at random moments, and send signals whose handlers raise; return how often something was wrong."""
    wrong = 0
    for name in sys.argv[1:] or SCENARIOS:
        for victim in get_args(Victim):
            problems = 0
            for _ in range(MOMENTS):
                seconds = random.uniform(0, 0.3)
                report = disturb(SCENARIOS[name], victim, seconds)
                problems += bool(report.problems)
                for problem in report.problems:
                    print(f"{name}: {victim} after {seconds:.6f} s: {report.result}: {problem}", flush=True)
            print(f"{name + ' ' + victim:26}{MOMENTS:8} moments{problems:8} wrong", flush=True)
            wrong += problems
    return wrong


if __name__ == "__main__":
    import nsbox

    for public in (*nsbox.__all__, *nsbox._MODULES):
        getattr(nsbox, public)
    with open_place() as place:
        sys.exit(main(place))
