"""The Pythons in a box that carry out its calls: started when they are needed, and used again."""

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
from nsbox.remote.exchange import Ends, Exchange, deadline_after, oom_kills
from nsbox.remote.protocol import pack_call, pack_request, title
from nsbox.remote.worker import PROGRAM

if TYPE_CHECKING:
    from nsbox.box.box import Box
    from nsbox.remote.protocol import Frame, Surroundings

__all__ = ["Workers", "search_path", "start_python"]

_LAST_WAIT = 5.0


def search_path() -> list[str]:
    """Return ``sys.path`` in a form that means the same in any directory."""
    return [entry if entry.startswith("/") else os.path.abspath(entry) for entry in sys.path]


def start_python(
    box: Box, module: str, function: str, word: str, control: int, stdout: int, stderr: int
) -> _core.Child:
    """Start a Python like this one in a box, with nothing on its standard input; it calls `function(control, word)`.

    It has a session of its own, so that Ctrl-C reaches only us, who then decide what becomes of it.
    """
    if not sys.executable:
        raise SpecError("sys.executable: is empty, so there is no Python that could be started")
    program = PROGRAM.format(module=module, function=function)
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    command = [sys.executable, *flags, "-c", program, str(control), word, *search_path()]
    with open(os.devnull, "rb") as nothing:
        return box.fork_exec(
            command,
            stdin=nothing.fileno(),
            stdout=stdout,
            stderr=stderr,
            pass_fds=[control],
            start_new_session=True,
        )


class Worker:
    """A Python in a box that carries out one call at a time."""

    def __init__(self, box: Box) -> None:
        """Start it."""
        ends = Ends()
        self._exchange = Exchange(ends.mine)
        try:
            control, stdout, stderr = ends.theirs
            self._child = start_python(box, "nsbox.remote.worker", "work", "", control, stdout, stderr)
        except BaseException:
            self._exchange.close()
            raise
        finally:
            ends.close_theirs()
        self._exchange.watch(self._child.end_fd)
        self._told: Surroundings | None = None
        self._oom_kills = oom_kills()

    @property
    def is_there(self) -> bool:
        """Whether it still waits for calls."""
        return self._child.wait(0) is None

    def call(self, name: str, call: bytes, timeout: float | None) -> Frame:
        """Return the answer. After an exception it is of no use any more."""
        surroundings: Surroundings = (search_path(), None, ())
        request = pack_request(None if surroundings == self._told else surroundings, call)
        try:
            answer = self._exchange.ask(request, deadline_after(timeout))
        except TimeoutError:
            raise CallTimeoutError(f"{name} has not returned within {timeout} seconds") from None
        except EOFError:
            # It may have hung up and go on; if it is ending, this does not change how.
            self._child.kill()
            end = self._child.wait(_LAST_WAIT)
            killed = end is None or end.returncode == -9
            raise WorkerDiedError(
                name,
                -9 if end is None else end.returncode,
                out_of_memory=killed and oom_kills() > self._oom_kills,
            ) from None
        self._told = surroundings
        return answer

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(ChildProcessError):
            self._child.kill()
            self._child.wait(_LAST_WAIT)
        self._exchange.close()


class Workers:
    """Those of one box. Each call has one to itself; who is not busy serves the next."""

    def __init__(self) -> None:
        """Begin without any."""
        self._idle: deque[Worker] = deque()

    def call(
        self,
        box: Box,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        fresh: bool,
        timeout: float | None,
    ) -> Frame:
        """Carry out a call, and return the answer; see `nsbox.Box.call`."""
        call = pack_call((function, args, kwargs))
        name = title(function)
        worker = Worker(box) if fresh else self._take(box)
        try:
            answer = worker.call(name, call, timeout)
        except BaseException:
            # Whatever it still does, nobody waits for it.
            worker.close()
            raise
        if fresh:
            worker.close()
        else:
            self._idle.append(worker)
        return answer

    def _take(self, box: Box) -> Worker:
        while True:
            try:
                # The last one that was used: its memory is the warmest, and what too many threads needed stays idle.
                worker = self._idle.pop()
            except IndexError:
                return Worker(box)
            if worker.is_there:
                return worker
            worker.close()

    def close(self) -> None:
        """End those that are idle."""
        while self._idle:
            self._idle.pop().close()
