"""The caller's side of a call: send the request, pass on the output, and wait for the reply or the end."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nsbox._core import Descriptor
from nsbox.errors import TransferError
from nsbox.remote.encoding import MAX_BYTES
from nsbox.remote.protocol import FAILED, HEADER, RETURNED, write_parts

if TYPE_CHECKING:
    from nsbox.remote.protocol import Frame

__all__ = [
    "Ends",
    "Exchange",
    "Sink",
    "deadline_after",
    "decoded",
    "oom_kills",
    "to_stderr",
    "to_stdout",
]

Sink: TypeAlias = "Callable[[bytes, bool], object]"
"""Gets the output as it arrives, and whether that was all."""

_SIGNAL_CHECK_SECONDS = 0.1
"""The longest poll: a signal that arrives just before a poll does not end it, and its handler has to wait."""
_MAX_READ_BYTES = 1 << 20
_MAX_READS = 16
"""Number of reads from one connection before the others, and the timeout, get their turn."""
_REPLY_SECONDS = 60.0
"""How long a reply may take from its first byte to its last, and a second more for each megabyte: its function has
returned before."""


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
    """Both ends of the connections to a Python inside: a socket for requests, and pipes for replies and its output.

    Through a pipe no descriptors are sent (unix(7), SCM_RIGHTS). To close those that the Python inside sends could keep
    the caller waiting (socket(7), SO_LINGER).

    Attributes:
        mine: The four ends of the caller.
        theirs: The four ends of the Python inside.
    """

    def __init__(self) -> None:
        """Open all eight."""
        pairs = [Descriptor.sockets(), *(Descriptor.pair(os.pipe) for _ in range(3))]
        # Of a pipe the first is the end for reading.
        self.mine, self.theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        for fd in self.mine:
            os.set_blocking(fd.fileno(), False)

    def numbers_of_theirs(self) -> list[int]:
        """Return what the Python inside gets: the socket, and the pipes for replies, standard output and error."""
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
        self.socket, self._replies, self._stdout, self._stderr = (fd.fileno() for fd in mine)
        self._end_fd = -1
        self._poll = select.poll()
        # Of the socket only the end is waited for.
        self._poll.register(self.socket, 0)
        for fd in mine[1:]:
            self._poll.register(fd.fileno(), select.POLLIN)

    def watch(self, end_fd: int) -> None:
        """Stop waiting for a reply when this descriptor becomes readable. It remains the caller's."""
        self._end_fd = end_fd
        self._poll.register(end_fd, select.POLLIN)

    def close(self) -> None:
        """Close the connections."""
        for fd in self._fds:
            fd.close()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has arrived since the last reply. A reply that no request has asked for is an attack."""
        poll = select.poll()
        poll.register(self.socket, 0)
        poll.register(self._replies, select.POLLIN)
        return not poll.poll(0)

    def ask(
        self,
        request: Iterable[memoryview],
        token: bytes,
        deadline: float | None,
        stdout: Sink | None = None,
        stderr: Sink | None = None,
        limit: int | None = MAX_BYTES,
    ) -> Frame:
        """Send a request, and return the reply.

        After an exception the connection must not be used again.

        Args:
            request: The parts of a frame.
            token: Its token, which the reply must have as well.
            deadline: When to stop waiting, on the clock of `time.monotonic`.
            stdout: Gets the output that arrives meanwhile; by default it is printed (`to_stdout`).
            stderr: The same for standard error.
            limit: The longest reply, in bytes; None for any.

        Raises:
            TransferError: when what arrives is no reply to this request, is too long, or does not end.
            TimeoutError: when the deadline has passed.
            EOFError: when the other end was closed, or the watched process has ended.
        """
        sinks = {self._stdout: stdout or decoded(to_stdout), self._stderr: stderr or decoded(to_stderr)}
        reply = _Incoming(self._replies, token, limit)
        rest = list(request)
        try:
            while not reply.is_complete:
                if rest:
                    self._send(rest)
                    self._poll.modify(self.socket, select.POLLOUT if rest else 0)
                ready = dict(self._poll.poll(_poll_milliseconds(deadline)))
                for fd in ready.keys() & sinks.keys():
                    self._pass_on(fd, sinks[fd])
                closed = self._end_fd in ready or ready.get(self.socket, 0) & (select.POLLHUP | select.POLLERR)
                if closed or self._replies in ready:
                    reply.read()
                if reply.is_complete:
                    break
                if closed:
                    raise EOFError
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError
                reply.check_time()
        finally:
            # All output from before the reply or the end is in the pipes by now.
            for fd, sink in sinks.items():
                if self._fds[0].fileno() >= 0:
                    self._pass_on(fd, sink)
                sink(b"", True)
        return reply.frame()

    def _send(self, rest: list[memoryview]) -> None:
        try:
            while rest:
                write_parts(self.socket, rest)
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            raise EOFError from None

    def _pass_on(self, fd: int, sink: Sink) -> None:
        try:
            data = os.read(fd, _MAX_READ_BYTES)
        except BlockingIOError:
            return
        if data:
            sink(data, False)
        else:
            # All writers have closed the pipe, and each poll would report that at once.
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)


class _Incoming:
    """A reply that arrives in parts, from a process that may be hostile."""

    def __init__(self, fd: int, token: bytes, limit: int | None) -> None:
        self._fd = fd
        self._token = token
        self._limit = limit
        self._data = bytearray()
        self._length = HEADER.size
        self._letter = b""
        self._deadline = 0.0

    @property
    def is_complete(self) -> bool:
        return bool(self._letter) and len(self._data) == self._length

    def read(self) -> None:
        """Read what has arrived.

        Raises:
            EOFError: when the other end was closed before the frame was complete.
            TransferError: when it is no reply to the request.
        """
        # A bounded number of times: a sender that never stops must not keep the caller from its timeout.
        for _ in range(_MAX_READS):
            if self.is_complete:
                return
            try:
                part = os.read(self._fd, min(self._length - len(self._data), _MAX_READ_BYTES))
            except BlockingIOError:
                return
            if not part:
                raise EOFError
            self._data += part
            self._deadline = self._deadline or time.monotonic() + _REPLY_SECONDS
            if not self._letter and len(self._data) == HEADER.size:
                self._begin(*HEADER.unpack(self._data))

    def _begin(self, letter: bytes, token: bytes, length: int) -> None:
        if letter not in (RETURNED, FAILED):
            raise TransferError(f"the process inside has sent an unknown record, {letter!r}, and was ended")
        if token != self._token:
            raise TransferError("the process inside has sent a reply to another call, and was ended")
        if self._limit is not None and length > self._limit:
            raise TransferError(
                f"the process inside has sent a reply of {length} bytes, and was ended: at most {self._limit} are read"
            )
        self._letter, self._length, self._data = letter, length, bytearray()
        self._deadline += length / (1 << 20)

    def check_time(self) -> None:
        """Raise TransferError if the reply began long ago."""
        if self._deadline and time.monotonic() > self._deadline:
            raise TransferError("the process inside has begun a reply and not ended it, and was ended")

    def frame(self) -> Frame:
        return self._letter, bytes(self._data)


def decoded(write: Callable[[str], object]) -> Sink:
    """Return a sink that calls a function with text, in whole characters."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def pass_on(data: bytes, final: bool) -> None:
        if text := decoder.decode(data, final):
            write(text)

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


def oom_kills() -> int:
    """Return how often the kernel has killed a process for lack of memory (proc_vmstat(5)); 0 if unknown."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
