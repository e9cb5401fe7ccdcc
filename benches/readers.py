"""Measure the time to read processes and namespaces, compared with a floor in C and with other programs.

    python benches/readers.py [--processes N] [--rounds N] [--tasks] [--json FILE] [--check]

The candidates read a crowd of idle processes (`crowd.c`), in a new PID namespace without other processes. Every round
runs each candidate once, all in this process, in a new random order. Compare only ratios. The floor is C in one thread
(`table_floor.c`). With --tasks, larger crowds of up to 30,000 processes and threads show how the time grows.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import nsbox

HERE = Path(__file__).parent
FLOOR, FLOOR_ALL = "floor: stat, namespaces", "floor: all of ps()"
IDS, PS, PSTREE_TEXT, LSNS = "ps(fields='namespaces')", "ps()", "str(pstree())", "lsns()"
PSUTIL, PSTREE, LSNS_J, PS_AUX = "psutil", "pstree -S", "lsns -J", "ps aux"
PSUTIL_FIELDS = [
    "pid", "ppid", "name", "username", "status", "cmdline", "num_threads", "create_time", "cpu_times", "memory_info",
    "uids", "gids", "nice", "terminal",
]  # fmt: skip

INSIDE_VARIABLE = "NSBOX_BENCH_INSIDE"

Candidate = Callable[[], object]

GOALS: list[tuple[str, str, float, bool]] = [
    (IDS, FLOOR, 1.1, True), (PS, FLOOR_ALL, 1.1, True), (PS, PSUTIL, 2.5, False),
    (PSTREE_TEXT, PSTREE, 3.0, False), (LSNS, LSNS_J, 5.0, False),
]  # fmt: skip
"""The goals: a candidate, another one, and a factor. With True, the ratio of their times is at most this factor; with
False, the candidate is at least this factor faster."""


@contextlib.contextmanager
def built() -> Iterator[Path]:
    """Compile the two C files in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="nsbox-floor-") as directory:
        for source, target, options in (
            ("table_floor.c", "table_floor.so", ["-shared", "-fPIC"]),
            ("crowd.c", "crowd", ["-pthread"]),
        ):
            command = [os.environ.get("CC", "cc"), "-O2", "-Wall", *options, "-o", f"{directory}/{target}"]
            subprocess.run([*command, str(HERE / source)], check=True)
        yield Path(directory)


@contextlib.contextmanager
def crowd(programs: Path, processes: int, threads: int = 0) -> Iterator[None]:
    """Start a number of processes, each with a number of further threads."""
    command = [str(programs / "crowd"), str(processes), str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        if running.stdout.readline() != b"ready\n":
            raise RuntimeError("the crowd of processes could not be started")
        yield


def command(*arguments: str) -> Candidate:
    """Return the candidate that runs a program and discards its output."""
    return lambda: subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)


def candidates(programs: Path) -> dict[str, Candidate]:
    """Return everything that can be measured on this machine."""
    floor = ctypes.CDLL(str(programs / "table_floor.so")).floor_table
    floor.restype = ctypes.c_longlong
    found: dict[str, Candidate] = {
        FLOOR: lambda: floor(0),
        FLOOR_ALL: lambda: floor(1),
        IDS: lambda: nsbox.ps(fields="namespaces"),
        PS: nsbox.ps,
        PSTREE_TEXT: lambda: str(nsbox.pstree()),
        LSNS: nsbox.lsns,
    }
    try:
        # An optional dependency of this benchmark.
        psutil: Any = import_module("psutil")
    except ImportError:
        print("no psutil: pip install psutil", file=sys.stderr)
    else:

        def by_psutil() -> object:
            # As in a new process: clear the cache of processes from earlier rounds.
            psutil.process_iter.cache_clear()
            return [process.info for process in psutil.process_iter(PSUTIL_FIELDS)]

        found[PSUTIL] = by_psutil
    for name in (PSTREE, LSNS_J, PS_AUX):
        program, *arguments = name.split()
        if path := shutil.which(program):
            found[name] = command(path, *arguments)
    return found


def measure(measured: dict[str, Candidate], rounds: int) -> dict[str, list[float]]:
    """Time every candidate once per round, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in measured}
    order = list(measured.items())
    for number in range(1 + rounds):
        random.shuffle(order)
        for name, act in order:
            gc.collect()
            before = time.perf_counter()
            kept = act()
            taken = time.perf_counter() - before
            del kept
            if number:
                times[name].append(taken * 1e3)
    return times


def memory_per_process() -> float:
    """Return the bytes of Python objects for one process in a table."""
    nsbox.ps()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    table = nsbox.ps()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken / len(table)


def report(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Print a line for each candidate, the fastest first; return the times."""
    base = median(times[FLOOR_ALL])
    found = {}
    print(f"{'':26}{'median':>12}{'least':>12}{'/ floor':>10}")
    for name, taken in sorted(times.items(), key=lambda item: median(item[1])):
        found[name] = {"median_ms": median(taken), "least_ms": min(taken)}
        print(f"{name:26}{median(taken):>9.1f} ms{min(taken):>9.1f} ms{median(taken) / base:>10.2f}")
    return found


def goals(times: dict[str, list[float]]) -> bool:
    """Print whether each goal is reached, by the median of the ratios of all rounds; return whether all are."""
    reached = True
    for name, other, factor, at_most in GOALS:
        if other not in times:
            continue
        ratio = median(mine / theirs for mine, theirs in zip(times[name], times[other], strict=True))
        holds = ratio <= factor if at_most else 1 / ratio >= factor
        reached &= holds
        text = (
            f"{ratio:.2f} times {other}, at most {factor}"
            if at_most
            else f"{1 / ratio:.1f} times as fast as {other}, at least {factor}"
        )
        print(f"{'ok' if holds else 'MISSED':7}{name}: {text}")
    return reached


def growth(programs: Path, rounds: int) -> None:
    """Print the time per task in small and large crowds."""
    print(f"\n{'processes':>10}{'tasks':>8}{'str(pstree())':>18}{'pstree -S':>18}")
    for processes, threads in ((3000, 0), (10_000, 0), (100, 99), (100, 279)):
        with crowd(programs, processes, threads):
            tasks = processes * (1 + threads)
            mine, theirs = [], []
            for _ in range(rounds):
                before = time.perf_counter()
                str(nsbox.pstree())
                mine.append(time.perf_counter() - before)
            if tasks <= 10_000 and shutil.which("pstree"):
                before = time.perf_counter()
                subprocess.run(["pstree", "-S"], stdout=subprocess.DEVNULL, check=True)
                theirs.append(time.perf_counter() - before)
            peer = f"{min(theirs) / tasks * 1e6:>10.1f} us/task" if theirs else f"{'-':>18}"
            print(f"{processes:>10}{tasks:>8}{min(mine) / tasks * 1e6:>10.1f} us/task{peer}")


def main() -> int:
    """Measure and print; return 1 if a goal is missed and --check is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tasks", action="store_true", help="also up to 30,000 tasks")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if os.environ.get(INSIDE_VARIABLE) is None:
        environment = os.environ | {INSIDE_VARIABLE: "yes"}
        inside = [sys.executable, __file__, *sys.argv[1:]]
        return int(nsbox.run(inside, unshare="mp", mount_proc=True, env=environment).returncode)
    with built() as programs:
        with crowd(programs, options.processes):
            times = measure(candidates(programs), options.rounds)
            print(f"{len(nsbox.ps())} processes, {len(os.sched_getaffinity(0))} CPUs, {options.rounds} rounds")
            numbers = report(times)
            reached = goals(times)
            print(f"a process in a table takes {memory_per_process():.0f} bytes")
        if options.tasks:
            growth(programs, 3)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2))
    return int(options.check and not reached)


if __name__ == "__main__":
    sys.exit(main())
