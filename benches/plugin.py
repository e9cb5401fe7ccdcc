"""Measure the time of a test that runs in new namespaces, compared with one that pytest-forked runs in a forked child.

    python benches/plugin.py [--tests N] [--check]

All tests are in one run of pytest, in random order: unmarked, with the marker ``forked`` of pytest-forked, and marked
with ``unshare``. The time is that of setup, call and teardown with all hooks. Compare only ratios.

pytest-forked does not work with pytest 9.2, so the run is in the environment with pytest 8 (make .venv/tested).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

UNMARKED, FORKED, PID, FOUR = "unmarked", "pytest-forked", '"pid"', '"pid mount ipc net", a new proc'
MAX_RATIO = 1.0
WARM_UP_TESTS = 5

TESTS = """
import pytest

MARKS = {
    "unmarked": [],
    "pytest-forked": [pytest.mark.forked],
    '"pid"': [pytest.mark.unshare("pid")],
    '"pid mount ipc net", a new proc': [pytest.mark.unshare("pid mount ipc net", mount_proc=True)],
}

@pytest.mark.parametrize("kind", [pytest.param(kind, marks=marks) for kind, marks in MARKS.items()])
@pytest.mark.parametrize("number", range(TESTS))
def test_it(kind, number): pass
"""

CONFTEST = """
import json, os, random, time
import pytest

times = {}

def pytest_collection_modifyitems(items):
    random.shuffle(items)

@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    before = time.perf_counter_ns()
    yield
    times.setdefault(item.callspec.params["kind"], []).append(time.perf_counter_ns() - before)

def pytest_sessionfinish():
    with open("times.json", "w") as file:
        json.dump(times, file)
"""


def measure(tests: int) -> dict[str, list[int]]:
    """Run the tests of all kinds; return their times in nanoseconds."""
    python = Path(sys.prefix) / "integration/plain8/bin/python"
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "test_it.py").write_text(TESTS.replace("TESTS", str(tests + WARM_UP_TESTS)))
        (place / "conftest.py").write_text(CONFTEST)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "python")}
        command = [str(python), "-m", "pytest", "-q", "-p", "nsbox.pytest_plugin", "-p", "no:cacheprovider"]
        subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
        times: dict[str, list[int]] = json.loads((place / "times.json").read_text())
    return {kind: taken[WARM_UP_TESTS:] for kind, taken in times.items()}


def main() -> int:
    """Measure, print, and compare with the target; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tests", type=int, default=200, help="tests of each kind (default %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a target is missed")
    options = parser.parse_args()
    times = measure(options.tests)
    base = median(times[FORKED])
    print(f"{options.tests} tests on {os.cpu_count()} CPUs with load {os.getloadavg()[0]:.1f}")
    print(f"{'':42}{'median':>11}{'p90':>11}{'/ pytest-forked':>17}")
    for kind in (UNMARKED, FORKED, PID, FOUR):
        taken = times[kind]
        middle, p90 = median(taken), quantiles(taken, n=10)[-1]
        print(f"{kind:42}{middle / 1e6:>8.3f} ms{p90 / 1e6:>8.3f} ms{middle / base:>17.2f}")
    missed = False
    for kind in (PID, FOUR):
        ratio = median(times[kind]) / base
        missed |= ratio > MAX_RATIO
        verdict = "MISSED" if ratio > MAX_RATIO else "holds "
        print(f"{verdict}  {kind}: {ratio:.2f} x pytest-forked (at most {MAX_RATIO:g})")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
