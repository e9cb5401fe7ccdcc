"""Functions in a box, called from the cells of a real notebook kernel with its dozen of threads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.util import ensure_async
from traitlets.config import Config

from tests.support.callers import survivors
from tests.support.census import Census, adopt_orphans, reap_adopted
from tests.support.forked import Who
from tests.support.needs import needs

CELLS = [
    "import os, subprocess, sys, time, nsbox\n"
    "box = nsbox.Box('mipn', mount_proc=True)\n"
    "executor = nsbox.Executor(2, 'mipn', capture_output=True)\n"
    "len(os.listdir('/proc/self/task')) > 8",
    "def greet(name):\n"
    "    print('hello', name)\n"
    "    print('oops', file=sys.stderr)\n"
    "    subprocess.run(['echo', 'from a program'])\n"
    "    return os.getppid(), sum(map(str.isdigit, os.listdir('/proc')))\n"
    "box.call(greet, 'cell')",
    "box.call(lambda: 1 / 0)",
    "def wait():\n    open(place, 'w').close()\n    time.sleep(1000)\n"
    "place = os.path.abspath('waiting')\n"
    "box.call(wait)",
    "box.call(greet, 'again')",
    "[(str(outcome.verdict), outcome.stdout) for outcome in executor.outcomes(greet, ['one', 'two'])]",
    "executor.shutdown()\nbox.close()",
]


def outputs_of(cell: Any) -> dict[str, str]:
    """Return the output of a cell: streams by their name, the result, the name of an error."""
    shown: dict[str, str] = {}
    for output in cell.outputs:
        match output.output_type:
            case "stream":
                shown[output.name] = shown.get(output.name, "") + output.text
            case "execute_result":
                shown["result"] = output.data["text/plain"]
            case "error":
                shown["error"] = output.ename
    return shown


@pytest.mark.limit(600)
@pytest.mark.filterwarnings("default")
def test_cells(tmp_path: Path) -> None:
    """Printed output is shown below its cell, also without a network; errors and interrupts arrive."""
    needs(Who("root"), "mip net")
    adopt_orphans()
    before = Census.take()
    shown = asyncio.run(_shown(tmp_path))
    assert survivors() == []
    reap_adopted()
    assert not Census.take().processes - before.processes
    hello = {"stdout": "hello {}\nfrom a program\n", "stderr": "oops\n"}
    assert shown[0] == {"result": "True"}
    for cell, name in ((1, "cell"), (4, "again")):
        assert shown[cell]["stdout"] == hello["stdout"].format(name)
        assert shown[cell]["stderr"] == hello["stderr"]
    assert shown[1]["result"] == "(1, 2)"
    assert shown[2] == {"error": "ZeroDivisionError"}
    assert shown[3] == {"error": "KeyboardInterrupt"}
    assert eval(shown[5]["result"]) == [("OK", hello["stdout"].format(name)) for name in ("one", "two")]
    assert shown[6] == {}


async def _shown(place: Path) -> list[dict[str, str]]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    # Unix sockets: TCP ports may be taken by another process before the kernel has bound them.
    config = Config(KernelManager={"transport": "ipc", "ip": str(place / "socket")})
    resources = {"metadata": {"path": str(place)}}
    client = NotebookClient(notebook, timeout=200, allow_errors=True, config=config, resources=resources)
    async with client.async_setup_kernel():
        for number, cell in enumerate(notebook.cells):
            execution = asyncio.ensure_future(client.async_execute_cell(cell, number))
            if "1000" in cell.source:
                while not (place / "waiting").exists():
                    await asyncio.sleep(0.01)
                assert client.km is not None
                await ensure_async(client.km.interrupt_kernel())
            await execution
    return [outputs_of(cell) for cell in notebook.cells]
