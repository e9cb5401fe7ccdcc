"""A notebook kernel in namespaces of its own: a kernel provisioner for jupyter_client.

A kernel whose kernel.json names the provisioner ``nsbox`` is started as a child of nsbox-init by all programs that use
jupyter_client: JupyterLab, nbclient, papermill, nbgrader. ``nsbox jupyter install`` writes such a file:

    "metadata": {"kernel_provisioner": {"provisioner_name": "nsbox",
                                        "config": {"unshare": "mip", "options": {"mount_proc": true}}}}

All processes that a notebook has started, including daemons, end with its kernel. The kernel ends with its client, in
whatever way that ends. This module needs jupyter_client (extra ``jupyter``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_core.paths import jupyter_runtime_dir
from traitlets import Dict, Unicode

from nsbox.errors import SpecError
from nsbox.spec.from_text import options_from
from nsbox.spec.spec import Spec
from nsbox.spec.world import has_world
from nsbox.start.popen import Popen

__all__ = ["NsboxProvisioner", "spec_from"]

_FIXED_OPTIONS = {
    "fork": "a kernel is a child of nsbox-init, which ends all of its processes",
    "init": "a kernel is a child of nsbox-init, which reaps the processes that a notebook leaves behind",
    "join": "an object to join exists in one process only, and cannot be named in a file",
}
_PIDFD_SIGNAL_PROCESS_GROUP = 4
_MAX_SOCKET_PATH_BYTES = 107
"""The longest path of a socket (unix(7))."""
_PARENT_IS_INIT = "1"
"""The value of JPY_PARENT_PID. Without it a kernel whose parent is PID 1 takes itself for an orphan, and exits."""


def spec_from(unshare: str, options: Mapping[str, Any]) -> Spec:
    """Return the namespaces for a kernel from the values in a kernel.json.

    Args:
        unshare: The new namespaces; see `nsbox.Spec`.
        options: Further options of `nsbox.Spec`. ``mounts`` are objects, with ``type`` (``"bind"``, ``"overlay"``,
            ``"proc"`` or ``"tmpfs"``) and the arguments of that class.

    Raises:
        SpecError: for options that make no sense.
    """
    for name in options:
        if name in _FIXED_OPTIONS:
            raise SpecError(f"{name}: cannot be chosen here: {_FIXED_OPTIONS[name]}")
    return Spec(unshare=unshare, **options_from(options))


class NsboxProvisioner(LocalProvisioner):
    """Starts a kernel in new namespaces, as a child of nsbox-init.

    When the kernel exits or is killed, all processes in its PID namespace end. An interrupt is sent to its process
    group, as with a kernel without namespaces. Without a new PID namespace see the arrangements in
    docs/architecture.md.

    Attributes:
        unshare: The new namespaces; see `nsbox.Spec`.
        options: Further options of `nsbox.Spec`; see `spec_from`.
    """

    unshare = Unicode("mip", config=True, help="The new namespaces, in the form of nsbox.Spec.")
    options = Dict(config=True, help="Further options of nsbox.Spec, as JSON values.")

    process: Popen | None
    _directory: Path | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Check the options before anything is started, and choose a transport that works across network namespaces.

        Raises:
            SpecError: for namespaces that make no sense, and for a kernel that its client could not reach.
        """
        spec = spec_from(self.unshare, self.options)
        if kwargs.get("independent"):
            raise SpecError("independent: a kernel in namespaces always ends with its client")
        self._directory = None
        if "net" in spec.kinds:
            self._use_unix_sockets(alone=has_world(spec))
        return await super().pre_launch(**kwargs)

    def _use_unix_sockets(self, *, alone: bool) -> None:
        """Have the client use Unix sockets: their paths are valid in all network namespaces, TCP ports are not.

        A kernel that can write only where it is allowed gets a directory for them `alone`: in that of Jupyter are the
        keys of all kernels of this user.
        """
        client: Any = self.parent
        prefix = Path(jupyter_runtime_dir()) / f"nsbox-{self.kernel_id}"
        if alone:
            self._directory, prefix = prefix, prefix / "ipc"
        if client is None or (client.transport == "ipc" and client.ip == str(prefix)):
            # It is started again.
            return
        if client.transport == "ipc" and not alone:
            return
        if any(client.ports) or client.transport not in ("tcp", "ipc"):
            raise SpecError(
                f"unshare: a kernel in a new network namespace cannot be reached over {client.transport}, for which "
                "ports were chosen; choose no ports, or the transport ipc"
            )
        prefix.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if len(os.fsencode(prefix)) + len("-9999") > _MAX_SOCKET_PATH_BYTES:
            raise SpecError(f"unshare: {prefix} is too long for the sockets of a kernel; set JUPYTER_RUNTIME_DIR")
        client.transport = "ipc"
        client.ip = str(prefix)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel.

        Raises:
            SpawnError: when a step failed.
            UnsupportedError: when this kernel of Linux lacks a feature.
            OSError: for a program that cannot be executed.
        """
        keywords: dict[str, Any] = {"stdin": subprocess.DEVNULL, **self._scrub_kwargs(kwargs)}
        keywords.pop("independent", None)
        environment = os.environ if keywords.get("env") is None else keywords["env"]
        keywords["env"] = {**environment, "JPY_PARENT_PID": _PARENT_IS_INIT}
        program = [os.path.expanduser(word) for word in cmd]
        self.process = Popen(program, spec=self._spec(), start_new_session=True, **keywords)
        self.pid = self.pgid = self.process.pid
        self.cwd = kwargs.get("cwd") or Path.cwd()
        return self.connection_info

    def _spec(self) -> Spec:
        """Return the namespaces, with what the kernel needs of this machine: its connection file and its sockets."""
        spec = spec_from(self.unshare, self.options)
        if not has_world(spec):
            return spec
        file: str = getattr(self.parent, "connection_file", "")
        readable = (os.path.abspath(file),) if file else ()
        writable = (str(self._directory),) if self._directory else ()
        # The paths of a spec that was checked are a tuple.
        given = [cast("tuple[str, ...]", paths or ()) for paths in (spec.readable, spec.writable)]
        return replace(spec, readable=given[0] + readable, writable=given[1] + writable)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the directory of its sockets, unless it is started again."""
        await super().cleanup(restart)
        if self._directory is not None and not restart:
            with contextlib.suppress(OSError):
                self._directory.rmdir()

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel's process group. SIGKILL ends all processes in its PID namespace."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        if signum == signal.SIGKILL:
            process.kill()
            return
        try:
            # As killpg, but never to another process with the same PID (pidfd_send_signal(2)).
            signal.pidfd_send_signal(process.pidfd, signum, None, _PIDFD_SIGNAL_PROCESS_GROUP)
        except OSError:
            # Before Linux 6.9, or the kernel has left that group.
            process.send_signal(signum)
