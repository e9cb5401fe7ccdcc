"""Boxed functions under Dask distributed, on a cluster of this machine. Prints the results as JSON.

python -m tests.tasks.dask_cluster DIRECTORY
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster

from tests.support import boxed_callees
from tests.support.callers import alive
from tests.support.census import descendants, wait_until

__all__: list[str] = []


def spread(client: Client) -> list[Any]:
    """Run several calls at once, on all workers."""
    results: list[Any] = client.gather(client.map(boxed_callees.where, range(8)))
    return results


def kill_a_worker(client: Client, place: Path) -> dict[str, Any]:
    """Kill the worker process that is running a call."""
    pids = client.run(os.getpid)
    future = client.submit(boxed_callees.linger, str(place))
    if not wait_until((place / "begun").exists, 60):
        raise RuntimeError(f"it has not begun: {future}")
    (address,) = (address for address, tasks in client.processing().items() if future.key in tasks)
    family = descendants(pids[address])
    os.kill(pids[address], signal.SIGKILL)
    gone = wait_until(lambda: not any(map(alive, family)), 20)
    result = future.result(timeout=200)
    return {"family": len(family), "gone": gone, "result": result, "same": client.run(os.getpid) == pids}


def main() -> None:
    """Run both."""
    place = Path(sys.argv[1])
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        found = {"spread": spread(client), "killed": kill_a_worker(client, place)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
