"""asyncio's subprocesses, in namespaces: `create_subprocess_exec` and `create_subprocess_shell`.

No thread, no child watcher and no handler of SIGCHLD: the loop itself watches a descriptor of each process. As with
`Popen`, ``wait()`` returns when nothing of it is alive.

A process ends, and all of it, when what waits for it gives up:

- when ``create_subprocess_exec`` is cancelled before it has returned;
- when ``communicate()`` is cancelled, whose output is lost;
- when the task that started it ends by being cancelled;
- when the loop is closed.

A cancelled ``wait()`` is no reason, as ``asyncio.wait_for(process.wait(), 1)`` is how one looks whether it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import weakref
from asyncio.base_subprocess import BaseSubprocessTransport
from asyncio.subprocess import SubprocessStreamProtocol
from typing import IO, Any, Self

from nsbox.errors import SpecError
from nsbox.start import stdlib_hooks
from nsbox.start.popen import Popen

__all__ = ["Process", "Transport", "create_subprocess_exec", "create_subprocess_shell"]

stdlib_hooks.check(BaseSubprocessTransport, stdlib_hooks.ASYNCIO)

_LIMIT = 64 << 10
_NEEDS_TEXT = ("universal_newlines", "text", "encoding", "errors")


async def create_subprocess_exec(
    program: Any, *args: Any, stdin: Any = None, stdout: Any = None, stderr: Any = None, limit: int = _LIMIT,
    **keywords: Any,
) -> Process:  # fmt: skip
    """Start a program in new namespaces: `asyncio.create_subprocess_exec` with namespaces.

    The loop is busy meanwhile, for about a millisecond, as it is when asyncio starts a process. When many start at once
    they take turns, one in each round of the loop, so that it never is for longer.

    Args:
        program: The program.
        *args: Its arguments.
        stdin: As for `subprocess.Popen`; a pipe becomes a `StreamWriter`.
        stdout: The same; a pipe becomes a `StreamReader`.
        stderr: The same.
        limit: How many bytes the readers buffer.
        **keywords: As for `nsbox.Popen`, but for those about text and buffers.

    Raises:
        SpecError: for arguments that make no sense.
        OSError: as `subprocess.Popen`.
        SpawnError: when setting up the namespaces failed.
    """
    _check_binary(keywords)
    if keywords.pop("shell", False):
        raise SpecError("shell: use create_subprocess_shell")
    return await _create((program, *args), False, stdin, stdout, stderr, limit, keywords)


async def create_subprocess_shell(
    cmd: str | bytes, stdin: Any = None, stdout: Any = None, stderr: Any = None, limit: int = _LIMIT, **keywords: Any
) -> Process:
    """Start a command of the shell in new namespaces: `asyncio.create_subprocess_shell` with namespaces.

    Args:
        cmd: The command.
        stdin: As for `create_subprocess_exec`.
        stdout: The same.
        stderr: The same.
        limit: The same.
        **keywords: The same.

    Raises:
        As `create_subprocess_exec`.
    """
    _check_binary(keywords)
    if not isinstance(cmd, str | bytes):
        raise SpecError(f"cmd: expected a command of the shell, got {cmd!r}")
    if not keywords.pop("shell", True):
        raise SpecError("shell: use create_subprocess_exec")
    return await _create(cmd, True, stdin, stdout, stderr, limit, keywords)


def _check_binary(keywords: dict[str, Any]) -> None:
    for name in _NEEDS_TEXT:
        if keywords.pop(name, None):
            raise SpecError(f"{name}: the streams of asyncio are binary")
    if keywords.pop("bufsize", 0) != 0:
        raise SpecError("bufsize: the streams of asyncio have a limit instead")


async def _create(
    args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, limit: int, keywords: dict[str, Any]
) -> Process:
    loop = asyncio.get_running_loop()
    protocol = SubprocessStreamProtocol(limit=limit, loop=loop)
    transport = await Transport.start(loop, protocol, args, shell, stdin, stdout, stderr, 0, **keywords)
    return Process(transport, protocol, loop)


class Process(asyncio.subprocess.Process):
    """`asyncio.subprocess.Process`, of a process in namespaces.

    Attributes:
        pid: The PID of the program as the caller sees it.
        popen: The `nsbox.Popen` it stands for, which knows the rest: ``pid_inside``, ``namespaces``, ``plan``.
    """

    popen: Popen
    _transport: Transport

    def __init__(
        self, transport: Transport, protocol: SubprocessStreamProtocol, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Take over what has been started."""
        super().__init__(transport, protocol, loop)
        self.popen = transport.get_extra_info("subprocess")

    async def communicate(self, input: bytes | bytearray | memoryview | None = None) -> tuple[bytes, bytes]:
        """Send `input`, read all output, and wait for the end. When this is cancelled, everything is killed."""
        try:
            return await super().communicate(input)
        except asyncio.CancelledError:
            await self._transport.end()
            self._transport.close()
            raise

    def __repr__(self) -> str:
        """Say what runs, under which numbers, and where."""
        return repr(self.popen).replace("nsbox.Popen", "nsbox.start.aio.Process", 1)


class Transport(BaseSubprocessTransport):
    """The transport of a process in namespaces, whose end the loop sees by itself."""

    _popen: Popen | None = None
    _starter: asyncio.Task[Any] | None = None
    _given_up = False

    @classmethod
    async def start(
        cls, loop: asyncio.AbstractEventLoop, protocol: asyncio.SubprocessProtocol, *args: Any, **keywords: Any
    ) -> Self:
        """Start a process and connect its pipes."""
        async with _turn(loop):
            transport = cls(loop, protocol, *args, **keywords)
            try:
                connected = loop.create_future()
                await BaseSubprocessTransport._connect_pipes(transport, connected)
                connected.result()
                # The protocol is told of it in the next round of the loop.
                await asyncio.sleep(0)
            except BaseException as error:
                transport.close()
                # A coroutine that is thrown away may not wait any more.
                if not isinstance(error, GeneratorExit):
                    await transport.end()
                raise
        return transport

    async def _connect_pipes(self, waiter: asyncio.Future[Any] | None) -> None:
        """Leave it to `start`: asyncio does it in a task, which a loop that cancels all its tasks stops half-way."""

    def _start(
        self, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **keywords: Any
    ) -> None:
        self._over = self._loop.create_future()
        self._popen = self._proc = Popen(
            args, shell=shell, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=bufsize, **keywords
        )
        _Watch(self._loop, self, self._popen)
        self._starter = asyncio.current_task(self._loop)
        if self._starter is not None:
            self._starter.add_done_callback(self._starter_done)

    def _starter_done(self, starter: asyncio.Task[Any]) -> None:
        if starter.cancelled():
            self.close()

    def ended(self, returncode: int) -> None:
        """Take note that everything is over."""
        if self._starter is not None:
            self._starter.remove_done_callback(self._starter_done)
        self._process_exited(returncode)
        self._over.set_result(None)

    async def end(self) -> None:
        """Kill everything, and wait until nothing of it is alive."""
        self._given_up = True
        if self._popen is not None:
            self._popen.kill()
            await asyncio.shield(self._over)

    def close(self) -> None:
        """Kill everything, and close the pipes."""
        if self._over.get_loop().is_closed():
            return  # The end of the watch has done both.
        super().close()
        for fd, stream in _streams(self._popen):
            if self._pipes[fd] is None:
                stream.close()

    def send_signal(self, signal: int) -> None:
        """Send a signal through the pidfd.

        Raises:
            ProcessLookupError: when it is over; but not to one whose `communicate` was cancelled, who kills it as he
                would any other.
        """
        if not self._given_up:
            self._check_proc()
            assert self._popen is not None
            self._popen.send_signal(signal)

    def terminate(self) -> None:
        """Send SIGTERM, as `send_signal`."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill everything, as `send_signal`."""
        self.send_signal(signal.SIGKILL)


class _Watch:
    """What the loop calls when everything is over.

    Nobody else holds it. A loop that is closed before lets go of it, and that ends the process.
    """

    _fd = -1

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Transport, process: Popen) -> None:
        self._loop, self._transport, self._process = loop, transport, process
        # A descriptor of its own: that of the process is closed as soon as anybody learns how it ended.
        self._fd = os.dup(process.end_fd)
        loop.add_reader(self._fd, self)

    def __call__(self) -> None:
        self._loop.remove_reader(self._fd)
        self._transport.ended(self._process.wait())

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        if self._process.returncode is None:
            self._process._end()
            for _, stream in _streams(self._process):
                # What is still to be written has no reader any more.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


_turns = threading.local()


def _turn(loop: asyncio.AbstractEventLoop) -> asyncio.Lock:
    """Return the lock that lets a loop start one process in each of its rounds, and do other things in between."""
    known = getattr(_turns, "loop", None)
    if known is None or known() is not loop:
        _turns.loop, _turns.lock = weakref.ref(loop), asyncio.Lock()
    lock: asyncio.Lock = _turns.lock
    return lock


def _streams(process: Popen | None) -> list[tuple[int, IO[bytes]]]:
    """Return the ends of the pipes of a process, with the descriptors they have there."""
    if process is None:
        return []
    return [(fd, pipe) for fd, pipe in enumerate((process.stdin, process.stdout, process.stderr)) if pipe is not None]
