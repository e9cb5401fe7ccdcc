"""The caller's side of a call: send the request, pass on the output, and wait for the reply or the end."""

from __future__ import annotations

import codecs
import contextlib
import os
import pickle
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nsbox._core import Descriptor
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

_SIGNAL_CHECK_SECONDS = 0.1
"""The longest poll: a signal that arrives just before a poll does not end it, and its handler has to wait."""
_MAX_READ_BYTES = 1 << 20
_MAX_READS = 16
"""Number of reads from one connection before the others, and the timeout, get their turn."""


def to_stdout(text: str) -> None:
    """Print the output of a function where the caller's own output goes now: in a notebook, to the cell."""
    _write(sys.stdout, text)


def to_stderr(text: str) -> None:
    """Do the same for standard error."""
    _write(sys.stderr, text)


def _write(stream: Any, text: str) -> None:
    if stream is not None:
        stream.write(text)
        stream.flush()


class Ends:
    """Both ends of the three connections to a Python inside: a socket, and pipes for its standard output and error.

    Attributes:
        mine: The three ends of the caller.
        theirs: The three ends of the Python inside.
    """

    def __init__(self) -> None:
        """Open all six."""
        pairs = [Descriptor.sockets(), Descriptor.pair(os.pipe), Descriptor.pair(os.pipe)]
        # Of a pipe the first is the end for reading.
        self.mine, self.theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        for fd in self.mine:
            os.set_blocking(fd.fileno(), False)

    def numbers_of_theirs(self) -> list[int]:
        """Return the descriptors that the Python inside gets: the socket, standard output and error."""
        return [fd.fileno() for fd in self.theirs]

    def close_theirs(self) -> None:
        """Close the caller's copies of the ends of the Python inside."""
        for fd in self.theirs:
            fd.close()


class Exchange:
    """The caller's ends of the connections to a Python inside, and requests over them."""

    def __init__(self, mine: list[Descriptor]) -> None:
        """Take over the descriptors `Ends.mine`."""
        self._fds = mine
        self.socket, self._stdout, self._stderr = (fd.fileno() for fd in mine)
        self._end_fd = -1
        self._poll = select.poll()
        for fd in mine:
            self._poll.register(fd.fileno(), select.POLLIN)

    def watch(self, end_fd: int) -> None:
        """Stop waiting for a reply when this descriptor becomes readable. It remains the caller's."""
        self._end_fd = end_fd
        self._poll.register(end_fd, select.POLLIN)

    def close(self) -> None:
        """Close the connections."""
        for fd in self._fds:
            fd.close()

    def ask(self, request: bytes, deadline: float | None, stdout: Sink = to_stdout, stderr: Sink = to_stderr) -> Frame:
        """Send a request, and return the reply.

        Args:
            request: A frame.
            deadline: When to stop waiting, on the clock of `time.monotonic`.
            stdout: A function that is called with the output that arrives meanwhile.
            stderr: The same for standard error.

        Raises:
            TimeoutError: when the deadline has passed.
            EOFError: when the other end was closed, or the watched process has ended.
        """
        sinks = {self._stdout: _decoded(stdout), self._stderr: _decoded(stderr)}
        reply = _Incoming(self.socket)
        rest = memoryview(request)
        try:
            while not reply.is_complete:
                if rest:
                    rest = self._send(rest)
                    self._poll.modify(self.socket, select.POLLIN | (select.POLLOUT if rest else 0))
                ready = dict(self._poll.poll(_poll_milliseconds(deadline)))
                for fd in ready.keys() & sinks.keys():
                    self._pass_on(fd, sinks[fd])
                if self.socket in ready or self._end_fd in ready:
                    reply.read()
                if reply.is_complete:
                    break
                if self._end_fd in ready:
                    raise EOFError
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError
        finally:
            # All output from before the reply or the end is in the pipes by now.
            for fd, sink in sinks.items():
                if self._fds[0].fileno() >= 0:
                    self._pass_on(fd, sink)
                sink(b"", True)
        return reply.frame()

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
            data = os.read(fd, _MAX_READ_BYTES)
        except BlockingIOError:
            return
        if data:
            sink(data)
        else:
            # All writers have closed the pipe, and each poll would report that at once.
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)


class _Incoming:
    """A frame that arrives in parts."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._data = bytearray()
        self._length = HEADER.size
        self._letter = b""

    @property
    def is_complete(self) -> bool:
        return bool(self._letter) and len(self._data) == self._length

    def read(self) -> None:
        """Read what has arrived.

        Raises:
            EOFError: when the other end was closed before the frame was complete.
        """
        # A bounded number of times: a sender that never stops must not keep the caller from its timeout.
        for _ in range(_MAX_READS):
            if self.is_complete:
                return
            try:
                part = os.read(self._fd, min(self._length - len(self._data), _MAX_READ_BYTES))
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
    """Return the time at which `timeout` seconds will have passed, on the clock of `time.monotonic`."""
    return None if timeout is None else time.monotonic() + timeout


def _poll_milliseconds(deadline: float | None) -> int:
    """Return the timeout of the next poll, rounded up: with 0 the last millisecond would be a busy loop."""
    rest = _SIGNAL_CHECK_SECONDS
    if deadline is not None:
        rest = min(max(deadline - time.monotonic(), 0), rest)
    return int(rest * 1000) + 1


def result_of(function: object, reply: Frame) -> Any:
    """Return what a function returned, or raise what it raised."""
    letter, data = reply
    if letter == RETURNED:
        return unpack_value(function, data)
    raise failure_in(reply).error()


def failure_in(reply: Frame) -> Failure:
    """Return the failure in a reply."""
    failure = pickle.loads(reply[1])
    if not isinstance(failure, Failure):
        raise CallError(f"the process inside has sent {failure!r}, which is no reply")
    return failure


def oom_kills() -> int:
    """Return how often the kernel has killed a process for lack of memory (proc_vmstat(5)); 0 if unknown."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
