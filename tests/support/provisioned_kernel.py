"""A program: run notebooks in kernels that `nsbox jupyter install` has installed. Arguments: PLACE SCENARIO.

Prints the result as JSON on its last line. Not a test by itself; test_kernel_provisioner is.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

PLACE = Path(sys.argv[1]) if __name__ == "__main__" else Path()
KERNEL = "python3-nsbox"
WAIT = f"sleep {1000 + os.getpid()}"  # no other test has the same command
DAEMON = "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True).pid"
LOOK = (
    "import os, subprocess\n"
    "[os.getpid(), os.getppid(), os.getpgrp() == os.getpid(),"
    " subprocess.run(['ps', '-e', '-o', 'comm='], capture_output=True, text=True).stdout.split()]"
)


def settle() -> None:
    """Keep everything that Jupyter reads and writes in one directory."""
    for name in ("data", "config", "runtime"):
        os.environ[f"JUPYTER_{name.upper()}_DIR"] = str(PLACE / name)
    os.environ |= {"HOME": str(PLACE), "IPYTHONDIR": str(PLACE / "ipython"), "TMPDIR": str(PLACE)}
    # Otherwise a kernel of that name in the virtual environment would be used instead of ours.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "0"
    os.chdir(PLACE)
    warnings.simplefilter("ignore")


def install(*arguments: str) -> None:
    """Install the kernel."""
    from nsbox.cli import main

    assert main(["jupyter", "install", "--user", "--name", KERNEL, *arguments]) == 0


def reachable_over_tcp() -> Any:
    """Return the settings of a kernel with ports of its own, below those that the kernel gives to whoever asks.

    Jupyter chooses ports by a bind to port 0, and closes them before its kernel binds them: another process that is
    given one of them in between ends the kernel.
    """
    from traitlets.config import Config

    ports: dict[str, int] = {}
    while len(ports) < 5:
        with socket.socket() as tried:
            port = random.randrange(10_000, 32_000)  # ip_local_port_range of ip(7) begins at 32768
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            name = ("shell", "iopub", "stdin", "hb", "control")[len(ports)]
            if port not in ports.values():
                ports[f"{name}_port"] = port
    return Config(KernelManager=ports)


def shown(cell: Any) -> dict[str, str]:
    """Return the result, the name of the error, and what a cell has printed."""
    found: dict[str, str] = {}
    for output in cell.outputs:
        match output.output_type:
            case "execute_result":
                found["result"] = output.data["text/plain"]
            case "error":
                found["error"] = output.ename
            case "stream":
                found[output.name] = found.get(output.name, "") + output.text
    return found


async def notebook(
    body: Callable[[Any, Callable[[str], Awaitable[dict[str, str]]]], Awaitable[Any]], **options: Any
) -> Any:
    """Call `body` with a client of nbclient whose kernel runs, and with a function that executes a cell in it."""
    import nbformat
    from nbclient import NotebookClient

    client = NotebookClient(nbformat.v4.new_notebook(), kernel_name=KERNEL, timeout=120, allow_errors=True, **options)

    async def execute(source: str) -> dict[str, str]:
        cell = nbformat.v4.new_code_cell(source)
        client.nb.cells.append(cell)
        return shown(await client.async_execute_cell(cell, len(client.nb.cells) - 1))

    async with client.async_setup_kernel():
        return await body(client, execute)


async def interrupted(client: Any, cell: Awaitable[dict[str, str]]) -> dict[str, str]:
    """Interrupt the kernel while it executes a cell that creates a file just before it waits."""
    import nsbox
    from nbclient.util import ensure_async

    task = asyncio.ensure_future(cell)
    while not Path("waiting").exists():
        await asyncio.sleep(0.02)
    # The program that the cell waits for may not have been started yet.
    while not any(process.command == WAIT for process in nsbox.ps()):
        await asyncio.sleep(0.02)
    Path("waiting").unlink()
    await ensure_async(client.km.interrupt_kernel())
    return await task


async def lesson() -> Any:
    """Inspect the kernel, leave daemons behind, interrupt, restart."""
    from nbclient.util import ensure_async

    install()

    async def body(client: Any, execute: Callable[[str], Awaitable[dict[str, str]]]) -> dict[str, Any]:
        found: dict[str, Any] = {"first": await execute(LOOK), "transport": client.km.transport}
        found["outer"] = client.km.provisioner.pid
        wait = f"open('waiting', 'w').close(); subprocess.run({WAIT.split()})"
        found["interrupted"] = await interrupted(client, execute(wait))
        found["daemon"] = await execute(DAEMON)
        found["after"] = await execute(LOOK)
        await ensure_async(client.km.restart_kernel(now=True))
        await ensure_async(client.kc.wait_for_ready(timeout=120))
        found["restarted"] = await execute(LOOK)
        found["again"] = await execute(DAEMON)
        return found

    return await notebook(body, config=reachable_over_tcp())


async def late() -> Any:
    """Exceed nbclient's timeout in a cell, with a daemon in the background: nbclient ends such a kernel itself."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError

    install()
    cells = [nbformat.v4.new_code_cell(source) for source in (DAEMON, "import time; time.sleep(1000)")]
    client = NotebookClient(
        nbformat.v4.new_notebook(cells=cells), kernel_name=KERNEL, timeout=1, config=reachable_over_tcp()
    )
    try:
        await client.async_execute()
    except CellTimeoutError:
        return {"late": True, "alive": client.km is not None and client.km.has_kernel, "daemon": shown(cells[0])}
    return {"late": False}


async def network() -> Any:
    """Use a kernel that has no network. With TCP ports demanded, no kernel may start."""
    import nsbox
    from jupyter_client.manager import AsyncKernelManager

    install("--unshare", "mipnu", "--option", "hostname=lab")

    async def body(client: Any, execute: Callable[[str], Awaitable[dict[str, str]]]) -> dict[str, Any]:
        look = "import os, socket; [[name for _, name in socket.if_nameindex()], os.uname().nodename]"
        return {"look": await execute(look), "transport": client.km.transport}

    found: dict[str, Any] = await notebook(body)
    found["sockets"] = sorted(path.name for path in PLACE.rglob("*ipc*"))
    manager = AsyncKernelManager(kernel_name=KERNEL, shell_port=45678)
    try:
        await manager.start_kernel()
    except nsbox.SpecError as error:
        found["refused"] = str(error)
    found["started"] = manager.has_kernel
    return found


async def hardened() -> Any:
    """Use a kernel that is held, start it again, and try to write beside the notebook and to read the other keys."""
    from nbclient.util import ensure_async

    install("--option", "harden=true")
    (PLACE / "runtime").mkdir(exist_ok=True)
    (PLACE / "runtime" / "kernel-of-another.json").write_text("key")

    async def body(client: Any, execute: Callable[[str], Awaitable[dict[str, str]]]) -> dict[str, Any]:
        status = "dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)"
        look = f"found = {status}; [found[name].strip() for name in ('CapBnd', 'NoNewPrivs', 'Seccomp')]"
        found: dict[str, Any] = {"first": await execute(look)}
        found["write"] = await execute(f"open({str(PLACE / 'mine')!r}, 'w')")
        found["keys"] = await execute(f"import os; sorted(os.listdir({str(PLACE / 'runtime')!r}))")
        await ensure_async(client.km.restart_kernel(now=True))
        await ensure_async(client.kc.wait_for_ready(timeout=120))
        return found | {"again": await execute(look), "kernel": client.km.provisioner.kernel_id}

    found: dict[str, Any] = await notebook(body)
    found["written"] = (PLACE / "mine").exists()
    return found | {"left": sorted(path.name for path in (PLACE / "runtime").iterdir())}


async def served() -> Any:
    """Run a server with several kernels that restarts one that has ended by itself."""
    from jupyter_client.multikernelmanager import AsyncMultiKernelManager

    install("--unshare", "mipn")
    manager = AsyncMultiKernelManager(kernel_manager_class="jupyter_client.ioloop.AsyncIOLoopKernelManager")
    number = await manager.start_kernel(kernel_name=KERNEL)
    kernel: Any = manager.get_kernel(number)
    client = kernel.client()
    client.start_channels()
    await client.wait_for_ready(timeout=120)
    found: dict[str, Any] = {"first": kernel.provisioner.pid}

    async def works() -> str:
        reply = await client.execute_interactive("1 + 1", timeout=120, output_hook=lambda _: None)
        return str(reply["content"]["status"])

    assert await works() == "ok"
    client.execute(f"{DAEMON}; import os; os._exit(3)")
    while kernel.provisioner.pid == found["first"] or not kernel.has_kernel:
        await asyncio.sleep(0.05)
    await client.wait_for_ready(timeout=120)
    found |= {"second": kernel.provisioner.pid, "works": await works()}
    client.stop_channels()
    await manager.shutdown_all()
    return found | {"sockets": sorted(path.name for path in PLACE.rglob("*ipc*")), "transport": kernel.transport}


async def killed() -> Any:
    """Be killed while a kernel runs and has a daemon."""
    install()

    async def body(_client: Any, execute: Callable[[str], Awaitable[dict[str, str]]]) -> None:
        assert "result" in await execute(DAEMON)
        os.kill(os.getpid(), signal.SIGKILL)

    await notebook(body, config=reachable_over_tcp())


SCENARIOS: dict[str, Callable[[], Awaitable[Any]]] = {
    "lesson": lesson, "late": late, "network": network, "hardened": hardened, "served": served, "killed": killed,
}  # fmt: skip


async def play(scenario: str) -> Any:
    """Return the result of a scenario."""
    return await SCENARIOS[scenario]()


if __name__ == "__main__":
    settle()
    print("\n" + json.dumps(asyncio.run(play(sys.argv[2]))))
