"""The ways of using nsbox in which system calls are made to fail."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable

import nsbox

__all__ = ["ONLY_ROOT", "SCENARIOS"]


def run() -> object:
    """A program, without pipes."""
    return nsbox.run(["true"], unshare="mipu", mount_proc=True, hostname="box").returncode


def mapped() -> object:
    """A program in a user namespace, with a working directory and a umask."""
    return nsbox.run(["true"], unshare="mipU", mount_proc=True, cwd="/", umask=0o22).returncode


def popen() -> object:
    """A program with three pipes."""
    with nsbox.Popen(
        ["cat"], unshare="mip", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        return process.communicate(b"text", timeout=5)


def no_pid_namespace() -> object:
    """A program whose init is a subreaper."""
    return nsbox.run(["sh", "-c", "sleep 100 & exit 3"], unshare="mi").returncode


def no_fork() -> object:
    """A program without an init inside."""
    return nsbox.run(["true"], unshare="mip", fork=False).returncode


def box() -> object:
    """A box, and what can be asked of it."""
    with nsbox.Box("mipu", mount_proc=True) as one:
        one.hostname = "box"
        one.mount("tmpfs", "/mnt", "tmpfs")
        first = one.run(["true"], timeout=5).returncode
        return first, one.hostname, len(one.ps()), one.run(["echo", "x"], capture_output=True, timeout=5).stdout


def shell() -> object:
    """An interactive shell with its own terminal."""
    with nsbox.Shell("mip", mount_proc=True) as one:
        return one.run("echo x", timeout=5)


def call() -> object:
    """A function in a box."""
    with nsbox.Box("mip", mount_proc=True) as one:
        return one.call(os.getpid, timeout=5)


def executor() -> object:
    """A function in fresh namespaces."""
    with nsbox.Executor(1, unshare="mip") as one:
        return one.submit(os.getpid).result(timeout=5)


def enter() -> object:
    """A program that enters a box."""
    with nsbox.Box("mip", mount_proc=True) as one:
        return nsbox.enter(one, "mip", ["true"], timeout=5).returncode


def scopes() -> object:
    """A thread that moves, and comes back."""
    with nsbox.unshare("ipc"):
        first = os.readlink("/proc/thread-self/ns/ipc")
    return first != os.readlink("/proc/thread-self/ns/ipc")


def aio() -> object:
    """A program of asyncio."""

    async def main() -> object:
        process = await nsbox.create_subprocess_exec("true", unshare="mip")
        return await asyncio.wait_for(process.wait(), 5)

    # A signal handler that raises in the loop's own set-up makes asyncio lose descriptors.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    loop = asyncio.new_event_loop()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        return loop.run_until_complete(main())
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        loop.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})


SCENARIOS: dict[str, Callable[[], object]] = {
    function.__name__: function
    for function in (
        run, mapped, popen, no_pid_namespace, no_fork, box, shell, call, executor, enter, scopes, aio,
    )
}  # fmt: skip

ONLY_ROOT = {"scopes"}
"""An ordinary user may not leave the IPC namespace."""
