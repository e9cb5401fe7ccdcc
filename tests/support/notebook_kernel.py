"""A real kernel, of root or of an ordinary user, and the outputs of the cells that it executes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

__all__ = ["Kernel", "Shown", "kernel"]

_LIMIT_SECONDS = 120


@dataclass
class Shown:
    """The output of a cell.

    Attributes:
        stdout: Text printed to standard output.
        stderr: Text printed to standard error.
        data: Displayed objects and the result, as MIME bundles.
        error: The name of the error that ended the cell; empty for none.
        lines: The lines of its traceback as shown.
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
        """Execute a cell and return its output; `seen` is called each time that the output grows."""
        shown = Shown()
        number = self._client.execute(source)
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=_LIMIT_SECONDS)
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
        while self._client.get_shell_msg(timeout=_LIMIT_SECONDS)["parent_header"].get("msg_id") != number:
            pass
        return shown

    @property
    def pid(self) -> int:
        """The kernel's PID."""
        return int(self.manager.provisioner.pid)  # type: ignore[union-attr]

    def restart(self) -> None:
        """Kill the kernel, and start another one."""
        self.manager.restart_kernel(now=True)
        self._client.wait_for_ready(timeout=_LIMIT_SECONDS)


@contextmanager
def kernel(place: Path) -> Iterator[Kernel]:
    """Run a kernel of the calling user, with all its files in a directory."""
    variables = {
        "HOME": str(place), "IPYTHONDIR": str(place / "ipython"), "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    spec = place / "kernels" / "tested"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
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
            client.wait_for_ready(timeout=_LIMIT_SECONDS)
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.context.destroy(linger=0)
