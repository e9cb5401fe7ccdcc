"""The workers of a box, which are Python processes that run its calls: started when needed, and used again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nsbox import _core
from nsbox.errors import CallTimeoutError, SpecError, WorkerDiedError
from nsbox.remote.encoding import MAX_BYTES
from nsbox.remote.exchange import Ends, Exchange, deadline_after, oom_kills
from nsbox.remote.idle import pools
from nsbox.remote.protocol import TOKEN_BYTES, pack_call, pack_request, title, unpack_reply
from nsbox.remote.worker import PROGRAM

if TYPE_CHECKING:
    from nsbox.box.box import Box
    from nsbox.remote.protocol import CallSettings, Reply

__all__ = ["Workers", "search_path", "start_python"]

_ASK_SECONDS = 10.0
"""The longest wait for what nsbox itself asks a worker for."""
_KILLED_SECONDS = 5.0
"""The longest wait for a killed process: one that hangs in the kernel may never end."""


def search_path() -> list[str]:
    """Return ``sys.path`` with absolute paths only."""
    return [entry if entry.startswith("/") else os.path.abspath(entry) for entry in sys.path]


def start_python(
    box: Box, module: str, function: str, argument: str, control: int, replies: int, stdout: int, stderr: int
) -> _core.Child:
    """Start the same Python interpreter in a box, with empty standard input.

    It calls `function(control, replies, argument)`.

    It leads a session of its own, so that Ctrl-C reaches only the caller, which then ends it or not.
    """
    if not sys.executable:
        raise SpecError("sys.executable: is empty, so no Python can be started in a box")
    program = PROGRAM.format(module=module, function=function)
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    command = [sys.executable, *flags, "-c", program, str(control), str(replies), argument, *search_path()]
    with open(os.devnull, "rb") as nothing:
        return box._fork_exec(
            command,
            stdin=nothing.fileno(),
            stdout=stdout,
            stderr=stderr,
            pass_fds=[control, replies],
            start_new_session=True,
        )


class Worker:
    """A Python process in a box that runs one call at a time."""

    def __init__(self, box: Box) -> None:
        """Start it."""
        ends = Ends()
        self._exchange = Exchange(ends.mine)
        try:
            control, replies, stdout, stderr = ends.numbers_of_theirs()
            self._child = start_python(box, "nsbox.remote.worker", "work", "", control, replies, stdout, stderr)
        except BaseException:
            self._exchange.close()
            raise
        finally:
            ends.close_theirs()
        self._exchange.watch(self._child.end_fd)
        self._sent_settings: CallSettings | None = None
        self._oom_kills = oom_kills()

    @property
    def pid(self) -> int:
        """Its PID, as the caller sees it."""
        return self._child.pid

    @property
    def is_usable(self) -> bool:
        """Whether it has not ended, and has sent nothing that it was not asked for."""
        return self._exchange.is_quiet and self._child.wait(0) is None

    def call(self, name: str, call: bytes, timeout: float | None, trust: bool) -> Reply:
        """Run a call, and return the reply. After an exception the worker cannot be used again."""
        settings: CallSettings = (search_path(), None, ())
        token = os.urandom(TOKEN_BYTES)
        request = pack_request(None if settings == self._sent_settings else settings, [call], token, trust)
        limit = None if trust else MAX_BYTES
        try:
            reply = self._exchange.ask(request, token, deadline_after(timeout), limit=limit)
        except TimeoutError:
            raise CallTimeoutError(f"{name} has not returned within {timeout} seconds") from None
        except EOFError:
            # It may have closed the socket and still run. If it is ending, SIGKILL does not change its status.
            self._child.kill()
            end = self._child.wait(_KILLED_SECONDS)
            returncode = -9 if end is None else end.returncode
            raise WorkerDiedError(name, returncode, returncode == -9 and oom_kills() > self._oom_kills) from None
        self._sent_settings = settings
        return unpack_reply(name, reply, trust)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(ChildProcessError):
            self._child.kill()
            self._child.wait(_KILLED_SECONDS)
        self._exchange.close()


class Workers:
    """The workers of one box. Each call has a worker to itself, an idle one if there is one."""

    def __init__(self) -> None:
        """Begin without any."""
        self._idle: deque[Worker] = deque()
        pools.add(self)

    def call(
        self,
        box: Box,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        fresh: bool,
        timeout: float | None,
        trust: bool,
    ) -> Reply:
        """Run a call, and return the reply; see `nsbox.Box.call`."""
        call = pack_call((function, args, kwargs))
        name = title(function)
        worker = Worker(box) if fresh else self._take(box)
        try:
            reply = worker.call(name, call, timeout, trust)
        except BaseException:
            # It may still run the call, whose reply is not wanted any more, or has sent what is no reply.
            worker.close()
            raise
        if fresh:
            worker.close()
        else:
            self._idle.append(worker)
        return reply

    def _take(self, box: Box) -> Worker:
        while True:
            try:
                # The one used last: its memory is in the caches, and workers beyond the usual number stay idle.
                worker = self._idle.pop()
            except IndexError:
                return Worker(box)
            if worker.is_usable:
                return worker
            worker.close()

    def close(self) -> None:
        """End the idle workers."""
        while self._idle:
            self._idle.pop().close()

    def pids(self) -> set[int]:
        """Return the PIDs of the idle workers, as the caller sees them."""
        return {worker.pid for worker in list(self._idle) if worker.is_usable}

    def ask(self, pid: int, function: Callable[[], Any]) -> Any:
        """Return what a function returns in the idle worker with this PID; None if there is none, or if it fails."""
        for worker in list(self._idle):
            if worker.pid != pid:
                continue
            try:
                self._idle.remove(worker)
            except ValueError:  # another thread has taken it
                return None
            try:
                result = worker.call(title(function), pack_call((function, (), {})), _ASK_SECONDS, False).result()
            except Exception:
                worker.close()
                return None
            self._idle.append(worker)
            return result
        return None
