"""Boxed functions under Dask distributed, with several worker processes, one of which is killed."""

from __future__ import annotations

import importlib
import json
import operator
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.callers import survivors
from tests.support.census import Census, adopt_orphans, reap_adopted
from tests.support.forked import Who, in_child
from tests.support.needs import needs

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
@pytest.mark.parametrize("trust", [False, True])
def test_an_executor_as_pool(scheduler: str, trust: bool) -> None:
    """Dask runs each task of a graph in the executor, as many at once as it has workers; errors arrive."""

    def use() -> list[Any]:
        dask: Any = importlib.import_module("dask")
        array: Any = importlib.import_module("dask.array")
        bag: Any = importlib.import_module("dask.bag")
        # Otherwise each task imports it anew.
        preload = ["dask.array", "dask.bag"]
        with (
            nsbox.Executor(2, preload=preload, trust=trust) as executor,
            dask.config.set(scheduler=scheduler, pool=executor),
        ):
            pids = dask.compute(*(dask.delayed(os.getpid, pure=False)() for _ in range(4)))
            total = array.ones((8, 8), chunks=(4, 4)).sum().compute()
            squares = bag.from_sequence(range(10), npartitions=3).map(lambda number: number**2).sum().compute()
            with pytest.raises(ZeroDivisionError):
                dask.delayed(operator.truediv)(1, 0).compute()
            return [pids, float(total), squares]

    assert in_child(use) == [(2, 2, 2, 2), 64.0, 285]


@pytest.mark.limit(600)
def test_boxed_functions_on_a_cluster(tmp_path: Path) -> None:
    """Every call has its own namespaces. If a worker is killed, no process of its call survives, and Dask retries."""
    needs(Who("root"), "mip")
    adopt_orphans()
    before = Census.take()
    program = [sys.executable, "-m", "tests.tasks.dask_cluster", str(tmp_path)]
    result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    # Each is PID 2 in its namespace: nsbox-init is PID 1.
    assert [(number, pid, parent) for number, _, pid, parent in found["spread"]] == [(at, 2, 1) for at in range(8)]
    assert os.readlink("/proc/self/ns/pid") not in {namespace for _, namespace, _, _ in found["spread"]}
    killed = found["killed"]
    # nsbox-init, the Python inside, and the two processes that the function has started.
    assert killed["family"] >= 4
    assert (killed["gone"], killed["result"], killed["same"]) == (True, "the second time", False)
    # Some of Dask's own processes outlive it, and this process adopts them.
    assert survivors() == []
    reap_adopted()
    assert before.left_behind() == []
