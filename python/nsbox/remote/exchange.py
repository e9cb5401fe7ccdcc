"""The caller's side of a call: send the request, pass on what is printed, and wait for the answer or the end."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pickle
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nsbox.errors import CallError
from nsbox.remote.protocol import HEADER, RETURNED, Failure, unpack_value

if TYPE_CHECKING:
    from nsbox.remote.protocol import Frame

__all__ = [
    "Ends",
    "Exchange",
    "Sink",
    "deadline_after",
    "failure_in",
    "oom_kills",
    "result_of",
    "to_stderr",
    "to_stdout",
]

Sink: TypeAlias = "Callable[[str], object]"

_SLICE = 0.1
"""Seconds after which handlers of signals get a chance: a signal that arrives just before the poll does not end it."""
_MOST = 1 << 20


def to_stdout(text: str) -> None:
    """Print what a function printed where the caller's own output goes now: in a notebook, the cell."""
    _write(sys.stdout, text)


def to_stderr(text: str) -> None:
    """Do the same for its errors."""
    _write(sys.stderr, text)


def _write(stream: Any, text: str) -> None:
    if stream is not None:
        stream.write(text)
        stream.flush()


class Ends:
    """The two ends of the three connections to a Python inside: those that stay here, and those that go there."""

    def __init__(self) -> None:
        """Open all six."""
        self.mine: list[int] = []
        self.theirs: list[int] = []
        try:
            for _ in range(2):
                reader, writer = os.pipe()
                self.mine.append(_above_stdio(reader))
                self.theirs.append(_above_stdio(writer))
            ours, others = (end.detach() for end in socket.socketpair())
            self.mine.insert(0, _above_stdio(ours))
            self.theirs.insert(0, _above_stdio(others))
            for fd in self.mine:
                os.set_blocking(fd, False)
        except BaseException:
            self.close_theirs()
            _close(self.mine)
            raise

    def close_theirs(self) -> None:
        """Close the ends that have been given away."""
        _close(self.theirs)


def _above_stdio(fd: int) -> int:
    """Return a descriptor that is none of the standard streams, which the program may have closed, and open again."""
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


class Exchange:
    """The connections to a Python inside, as the caller holds them: for requests, its output, and its errors."""

    def __init__(self, mine: list[int]) -> None:
        """Take over a socket, and the pipes from its standard output and error."""
        self._fds = mine
        self.socket, self._stdout, self._stderr = mine
        self._over = -1
        self._poll = select.poll()
        for fd in mine:
            self._poll.register(fd, select.POLLIN)

    def watch(self, over: int) -> None:
        """Expect no more answers once this descriptor is readable. It remains the caller's."""
        self._over = over
        self._poll.register(over, select.POLLIN)

    def close(self) -> None:
        """Hang up."""
        _close(self._fds)

    def __del__(self) -> None:
        """Hang up, if nobody did."""
        self.close()

    def ask(self, request: bytes, deadline: float | None, stdout: Sink = to_stdout, stderr: Sink = to_stderr) -> Frame:
        """Send a request, and return the answer.

        Args:
            request: A frame.
            deadline: When to give up, on the clock of `time.monotonic`.
            stdout: What is given what is printed meanwhile.
            stderr: The same for standard error.

        Raises:
            TimeoutError: when the time is over.
            EOFError: when the other end is gone.
        """
        sinks = {self._stdout: _decoded(stdout), self._stderr: _decoded(stderr)}
        answer = _Incoming(self.socket)
        rest = memoryview(request)
        try:
            while not answer.is_complete:
                if rest:
                    rest = self._send(rest)
                    self._poll.modify(self.socket, select.POLLIN | (select.POLLOUT if rest else 0))
                ready = dict(self._poll.poll(_patience(deadline)))
                for fd in ready.keys() & sinks.keys():
                    self._pass_on(fd, sinks[fd])
                if self.socket in ready or self._over in ready:
                    answer.read()
                if answer.is_complete:
                    break
                if self._over in ready:
                    raise EOFError
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError
        finally:
            # What was printed before the answer or the end is in the pipes by now.
            for fd, sink in sinks.items():
                if fd in self._fds:
                    self._pass_on(fd, sink)
                sink(b"", True)
        return answer.frame()

    def _send(self, rest: memoryview) -> memoryview:
        try:
            while rest:
                rest = rest[os.write(self.socket, rest) :]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            raise EOFError from None
        return rest

    def _pass_on(self, fd: int, sink: Callable[..., None]) -> None:
        try:
            data = os.read(fd, _MOST)
        except BlockingIOError:
            return
        if data:
            sink(data)
        else:
            # Nobody can write any more; polling would say so for ever.
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)


class _Incoming:
    """A frame of which only a part may be here yet."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._data = bytearray()
        self._length = HEADER.size
        self._letter = b""

    @property
    def is_complete(self) -> bool:
        return bool(self._letter) and len(self._data) == self._length

    def read(self) -> None:
        """Take in what is there.

        Raises:
            EOFError: when the other end has hung up before.
        """
        while not self.is_complete:
            try:
                part = os.read(self._fd, min(self._length - len(self._data), _MOST))
            except BlockingIOError:
                return
            except ConnectionResetError:
                part = b""
            if not part:
                raise EOFError
            self._data += part
            if not self._letter and len(self._data) == HEADER.size:
                self._letter, self._length = HEADER.unpack(self._data)
                self._data = bytearray()

    def frame(self) -> Frame:
        return self._letter, bytes(self._data)


def _decoded(sink: Sink) -> Callable[..., None]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def pass_on(data: bytes, final: bool = False) -> None:
        if text := decoder.decode(data, final):
            sink(text)

    return pass_on


def deadline_after(timeout: float | None) -> float | None:
    """Return when so many seconds will have passed, on the clock of `time.monotonic`."""
    return None if timeout is None else time.monotonic() + timeout


def _patience(deadline: float | None) -> float:
    """Return for how many milliseconds to poll; rounded up, lest the last one be spent in a loop."""
    rest = _SLICE if deadline is None else min(max(deadline - time.monotonic(), 0), _SLICE)
    return int(rest * 1000) + 1


def result_of(function: object, answer: Frame) -> Any:
    """Return what a function returned, or raise what it raised."""
    letter, data = answer
    if letter == RETURNED:
        return unpack_value(function, data)
    raise failure_in(answer).error()


def failure_in(answer: Frame) -> Failure:
    """Return the failure that an answer holds."""
    failure = pickle.loads(answer[1])
    if not isinstance(failure, Failure):
        raise CallError(f"the process inside has answered {failure!r}")
    return failure


def oom_kills() -> int:
    """Return how often the kernel has killed for want of memory since it was started (proc_vmstat(5)); 0 if unknown."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
