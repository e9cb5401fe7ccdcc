"""asyncio's subprocesses, in namespaces: `create_subprocess_exec` and `create_subprocess_shell`.

The loop itself watches a descriptor of each process, without a thread, a child watcher or a handler of SIGCHLD. As with
`Popen`, ``wait()`` returns when all processes have ended.

A process and its descendants are killed

- when ``create_subprocess_exec`` is cancelled before it has returned;
- when ``communicate()`` is cancelled, whose output is lost;
- when the task that started the process is cancelled;
- when the loop is closed.

A cancelled ``wait()`` does not kill: ``asyncio.wait_for(process.wait(), 1)`` is the usual way to wait with a timeout.
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

from nsbox import _core
from nsbox.errors import SpecError
from nsbox.start import ending, stdlib_hooks
from nsbox.start.popen import Popen

__all__ = ["AsyncProcess", "Transport", "create_subprocess_exec", "create_subprocess_shell"]

stdlib_hooks.check(BaseSubprocessTransport, stdlib_hooks.ASYNCIO)

_READER_BYTES = 64 << 10
_TEXT_KEYWORDS = ("universal_newlines", "text", "encoding", "errors")


async def create_subprocess_exec(
    program: Any, *args: Any, stdin: Any = None, stdout: Any = None, stderr: Any = None, limit: int = _READER_BYTES,
    **keywords: Any,
) -> AsyncProcess:  # fmt: skip
    """Start a program in new namespaces: `asyncio.create_subprocess_exec` with namespaces.

    The start blocks the loop for about a millisecond, as the original does. When many processes are started at once,
    the loop starts one in each iteration, and so does not block for longer.

    Args:
        program: The program.
        *args: Its arguments.
        stdin: As for `subprocess.Popen`; a pipe becomes a `StreamWriter`.
        stdout: The same; a pipe becomes a `StreamReader`.
        stderr: The same.
        limit: The number of bytes that each reader buffers.
        **keywords: As for `nsbox.Popen`, except those about text and buffers.

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
    cmd: str | bytes, stdin: Any = None, stdout: Any = None, stderr: Any = None, limit: int = _READER_BYTES,
    **keywords: Any,
) -> AsyncProcess:  # fmt: skip
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
    if keywords.get("max_output") is not None:
        raise SpecError("max_output: the caller reads the streams of asyncio; read at most so many bytes, then kill")
    for name in _TEXT_KEYWORDS:
        if keywords.pop(name, None):
            raise SpecError(f"{name}: the streams of asyncio are binary")
    if keywords.pop("bufsize", 0) != 0:
        raise SpecError("bufsize: the streams of asyncio have `limit` instead")


async def _create(
    args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, limit: int, keywords: dict[str, Any]
) -> AsyncProcess:
    loop = asyncio.get_running_loop()
    protocol = SubprocessStreamProtocol(limit=limit, loop=loop)
    transport = await Transport.start(loop, protocol, args, shell, stdin, stdout, stderr, 0, **keywords)
    return AsyncProcess(transport, protocol, loop)


class AsyncProcess(asyncio.subprocess.Process):
    """`asyncio.subprocess.Process` for a process in namespaces.

    Attributes:
        pid: The PID of the program as the caller sees it.
        popen: The `nsbox.Popen` of the same process, with ``pid_inside``, ``namespaces`` and ``plan``.
    """

    popen: Popen
    _transport: Transport

    def __init__(
        self, transport: Transport, protocol: SubprocessStreamProtocol, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Represent a process that has been started."""
        super().__init__(transport, protocol, loop)
        self.popen = transport.get_extra_info("subprocess")

    async def communicate(self, input: bytes | bytearray | memoryview | None = None) -> tuple[bytes, bytes]:
        """Send `input`, read all output, and wait until all has ended. Cancelling it kills all processes."""
        try:
            return await super().communicate(input)
        except asyncio.CancelledError:
            await self._transport.kill_and_wait()
            self._transport.close()
            raise

    def __repr__(self) -> str:
        """Show the program, its PIDs, its namespaces and its state."""
        return repr(self.popen).replace("nsbox.Popen", "nsbox.start.aio.AsyncProcess", 1)


class Transport(BaseSubprocessTransport):
    """The transport of a process in namespaces. The loop itself sees when the process has ended."""

    _popen: Popen | None = None
    _starter: asyncio.Task[Any] | None = None
    _was_killed = False
    _helper: asyncio.TimerHandle | None = None

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
                # In its next iteration the loop informs the protocol.
                await asyncio.sleep(0)
            except BaseException as error:
                transport.close()
                # A coroutine that is being closed must not await.
                if not isinstance(error, GeneratorExit):
                    await transport.kill_and_wait()
                raise
        return transport

    async def _connect_pipes(self, waiter: asyncio.Future[Any] | None) -> None:
        """Do nothing, as `start` does it: asyncio uses a task, which could be cancelled before all are connected."""

    def _start(
        self, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **keywords: Any
    ) -> None:
        self._ended = self._loop.create_future()
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

    def process_ended(self, returncode: int) -> None:
        """Record that all processes have ended."""
        if self._starter is not None:
            self._starter.remove_done_callback(self._starter_done)
        if self._helper is not None:
            self._helper.cancel()
        self._process_exited(returncode)
        self._ended.set_result(None)

    async def kill_and_wait(self) -> None:
        """Kill all processes, and wait until they have ended."""
        self._was_killed = True
        if self._popen is not None:
            self._popen.kill()
            self._help_to_end()
            await asyncio.wait([self._ended], timeout=ending.END_SECONDS)
            if not self._ended.done():
                raise ending.not_ended(self._popen.init_pid, self._popen.pid)

    def close(self) -> None:
        """Kill all processes, and close the pipes."""
        if self._ended.get_loop().is_closed():
            return  # _Watch.__del__ has done both.
        super().close()
        self._help_to_end()
        for fd, stream in _streams(self._popen):
            if self._pipes[fd] is None:
                stream.close()

    def send_signal(self, signal: int) -> None:
        """Send a signal through the pidfd.

        Raises:
            ProcessLookupError: when the process has ended, except after a cancelled `communicate`: callers may kill the
                process then, as they would have to with asyncio.
        """
        if not self._was_killed:
            self._check_proc()
            assert self._popen is not None
            self._popen.send_signal(signal)
            if self._popen._was_killed:
                self._help_to_end()

    def _help_to_end(self) -> None:
        """Look now and then whether killed processes wait for something that has to be aborted."""
        if self._helper is None and not self._ended.done():
            self._helper = self._loop.call_later(ending.TURN_SECONDS, self._help)

    def _help(self) -> None:
        self._helper = None
        if not self._ended.done() and self._popen is not None:
            self._popen.poll()
            self._help_to_end()

    def terminate(self) -> None:
        """Send SIGTERM, as `send_signal`."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill all processes, as `send_signal`."""
        self.send_signal(signal.SIGKILL)


class _Watch:
    """A callback for the loop, called when all processes have ended.

    Only the loop refers to it. When the loop is closed before, it is deleted, and that ends the processes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Transport, process: Popen) -> None:
        self._loop, self._transport, self._process = loop, transport, process
        # A duplicate: the original is closed as soon as the status of the process has been read.
        self._fd = _core.Descriptor(os.dup, process.end_fd)
        loop.add_reader(self._fd.fileno(), self)

    def __call__(self) -> None:
        self._loop.remove_reader(self._fd.fileno())
        self._transport.process_ended(self._process._wait(None))

    def __del__(self) -> None:
        if self._process.returncode is None:
            self._process._end()
            for _, stream in _streams(self._process):
                # Buffered output has no reader any more.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


_turns = threading.local()


def _turn(loop: asyncio.AbstractEventLoop) -> asyncio.Lock:
    """Return the lock by which a loop starts one process in each iteration, and handles other events in between."""
    known = getattr(_turns, "loop", None)
    if known is None or known() is not loop:
        _turns.loop, _turns.lock = weakref.ref(loop), asyncio.Lock()
    lock: asyncio.Lock = _turns.lock
    return lock


def _streams(process: Popen | None) -> list[tuple[int, IO[bytes]]]:
    """Return the caller's ends of the pipes, each with the number of the standard stream that it is inside."""
    if process is None:
        return []
    return [(fd, pipe) for fd, pipe in enumerate((process.stdin, process.stdout, process.stderr)) if pipe is not None]
