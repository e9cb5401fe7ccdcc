"""A real kernel, of root or of an ordinary user, and what is shown below the cells that it executes."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, TypeVar

import nsbox
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from tests.support.forked import Who, in_child

__all__ = ["Kernel", "Shown", "apart", "environment", "kernel", "open_place", "python_for"]

T = TypeVar("T")

_LIMIT = 30


@dataclass
class Shown:
    """What is below a cell.

    Attributes:
        stdout: What was printed.
        stderr: The same for the other stream.
        data: What was displayed, and the result, as MIME bundles.
        error: The name of the error that ended it; empty for none.
        lines: What stands for its traceback.
    """

    stdout: str = ""
    stderr: str = ""
    data: list[dict[str, str]] = field(default_factory=list)
    error: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The displayed texts."""
        return "\n".join(bundle["text/plain"] for bundle in self.data)


class Kernel:
    """A running kernel."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self._client = client

    def run(self, source: str, seen: Callable[[Shown], object] | None = None) -> Shown:
        """Execute a cell, and return what is below it; `seen` is called whenever that becomes more."""
        shown = Shown()
        number = self._client.execute(source)
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=_LIMIT)
            except Empty:
                raise TimeoutError(f"nothing more came from {source!r} after {shown}") from None
            if message["parent_header"].get("msg_id") != number:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    setattr(shown, content["name"], getattr(shown, content["name"]) + content["text"])
                case "display_data" | "execute_result":
                    shown.data.append(content["data"])
                case "error":
                    shown.error, shown.lines = content["ename"], content["traceback"]
                case "status" if content["execution_state"] == "idle":
                    break
                case _:
                    continue
            if seen is not None:
                seen(shown)
        while self._client.get_shell_msg(timeout=_LIMIT)["parent_header"].get("msg_id") != number:
            pass
        return shown

    @property
    def pid(self) -> int:
        """Its PID."""
        return int(self.manager.provisioner.pid)  # type: ignore[union-attr]

    def restart(self) -> None:
        """Have it killed, and start another one."""
        self.manager.restart_kernel(now=True)
        self._client.wait_for_ready(timeout=_LIMIT)


def apart(who: Who, function: Callable[[], T]) -> T:
    """Return what `function` returns when run by this one in a child: jupyter_client leaves event loops open."""
    return in_child(function) if who.is_root else who(function)


@contextmanager
def open_place() -> Iterator[Path]:
    """Provide a directory in which everybody may do everything; its path is short enough for that of a socket."""
    path = Path(tempfile.mkdtemp(prefix="nsbox-test-"))
    path.chmod(0o777)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@functools.cache
def python_for(who: Who) -> str:
    """Return a Python that this one can execute with what is installed for this one; skip where there is none."""
    if who.is_root:
        return sys.executable
    env = {**os.environ, **environment(Path("/nonexistent"))}

    def runs(python: str) -> bool:
        command = [python, "-c", "import ipykernel, nsbox._core"]
        try:
            return subprocess.run(command, cwd="/", env=env, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    for python in (sys.executable, "/usr/bin/python3"):
        if who(functools.partial(runs, python)):
            return python
    pytest.skip(f"an ordinary user cannot run {sys.executable}, nor another Python with what is installed for it")


def environment(place: Path) -> dict[str, str]:
    """Return the variables with which everything is found, and nothing is written but below a directory."""
    modules = [sysconfig.get_path("purelib"), str(Path(nsbox.__file__).parent.parent)]
    return {
        "PYTHONPATH": os.pathsep.join(modules), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(place),
        "IPYTHONDIR": str(place / "ipython"), "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
        "JUPYTER_PREFER_ENV_PATH": "0",
    }  # fmt: skip


@contextmanager
def kernel(place: Path, python: str) -> Iterator[Kernel]:
    """Run a kernel of the calling user, with all its files below a directory."""
    variables = environment(place)
    spec = place / "kernels" / "tested"
    spec.mkdir(parents=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "", "language": "python"}))
    manager = KernelManager(
        kernel_name="tested",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(spec.parent)], ensure_native_kernel=False),
        connection_file=str(place / "connection.json"),
        transport="ipc",
        ip=str(place / "socket"),
    )
    with (place / "log").open("w") as log:
        manager.start_kernel(env={**os.environ, **variables}, stdout=log, stderr=log, cwd=str(place))
        client: Any = manager.client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=_LIMIT)
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.context.destroy(linger=0)
