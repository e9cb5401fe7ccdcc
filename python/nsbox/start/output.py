"""A limit for what a program writes into the pipes of its caller, and the exchange over these pipes."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from nsbox.errors import NsboxError, SpecError
from nsbox.start.ending import TURN_SECONDS

if TYPE_CHECKING:
    from nsbox.start.popen import Popen

__all__ = ["Communication", "MaxOutput", "OutputLimit", "OutputLimitError", "output_limit"]

_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class OutputLimit:
    """A limit for each captured stream.

    Attributes:
        bytes: How many bytes are kept of each stream.
        on_exceed: ``"kill"``: all is killed, and `OutputLimitError` is raised. ``"truncate"``: the rest is read and
            dropped, and the result says so (`truncated`).
    """

    bytes: int
    on_exceed: Literal["kill", "truncate"] = "kill"


MaxOutput: TypeAlias = "int | OutputLimit | None"


class OutputLimitError(NsboxError, subprocess.SubprocessError):
    """A program has written more than `max_output`, and was killed. Its form is that of `subprocess.TimeoutExpired`.

    Attributes:
        cmd: The arguments of the program.
        limit: The number of bytes that it may write into each stream.
        output: What was captured of its standard output; None if that was not captured.
        stderr: The same for standard error.
    """

    def __init__(self, cmd: Any, limit: int, output: Any = None, stderr: Any = None) -> None:
        """Keep the facts; `str()` makes the words."""
        super().__init__(cmd, limit, output, stderr)
        self.cmd, self.limit, self.output, self.stderr = cmd, limit, output, stderr

    def __str__(self) -> str:
        """Return the command and the limit."""
        return f"{self.cmd!r} has written more than {self.limit} bytes, and was killed"

    @property
    def stdout(self) -> Any:
        """The same as `output`."""
        return self.output


def output_limit(wanted: MaxOutput) -> OutputLimit | None:
    """Return a limit as the caller gave it in a form of its own.

    Raises:
        SpecError: for what is no limit.
    """
    limit = OutputLimit(wanted) if isinstance(wanted, int) and not isinstance(wanted, bool) else wanted
    if limit is None:
        return None
    if not isinstance(limit, OutputLimit) or limit.on_exceed not in ("kill", "truncate"):
        raise SpecError(f"max_output: expected a number of bytes or an OutputLimit, got {wanted!r}")
    if isinstance(limit.bytes, bool) or not isinstance(limit.bytes, int) or limit.bytes < 0:
        raise SpecError(f"max_output: expected a number of bytes, got {limit.bytes!r}")
    return limit


class Communication:
    """What `Popen.communicate` does, with a limit for the output. It can be continued after a timeout.

    Attributes:
        truncated: Whether output was dropped.
    """

    def __init__(self, process: Popen, limit: OutputLimit, input: Any) -> None:
        """Begin. Nothing is sent or read yet."""
        self._process, self._limit = process, limit
        self.truncated = False
        self._rest = _encoded(process.stdin, input)
        self._kept: dict[int, bytearray] = {}
        self._poll = select.poll()
        self._open: dict[int, IO[Any]] = {}
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.flush()
            self._watch(process.stdin, select.POLLOUT)
            if not self._rest:
                self._close(process.stdin.fileno())
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                self._kept[stream.fileno()] = bytearray()
                self._watch(stream, select.POLLIN)
        self._streams = [None if one is None else (one, one.fileno()) for one in (process.stdout, process.stderr)]

    def finish(self, timeout: float | None) -> tuple[Any, Any]:
        """Send the input, read all output, wait for the end, and return the output.

        Raises:
            subprocess.TimeoutExpired: with the output so far.
            OutputLimitError: when there is too much output. All is killed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        process = self._process
        while self._open:
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is not None and rest <= 0:
                raise subprocess.TimeoutExpired(process.args, timeout or 0, *self._outputs(_undecoded))
            turn = TURN_SECONDS if rest is None else min(rest, TURN_SECONDS)
            if not (ready := self._poll.poll(turn * 1000 + 1)):
                # A process that cannot end after its kill keeps the pipes open: this helps it.
                process.poll()
            for fd, _ in ready:
                if fd in self._kept:
                    self._read(fd)
                else:
                    self._write(fd)
        try:
            process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise subprocess.TimeoutExpired(process.args, timeout or 0, *self._outputs(_undecoded)) from None
        return self._outputs(self._decoded)

    def _watch(self, stream: IO[Any], event: int) -> None:
        self._open[stream.fileno()] = stream
        self._poll.register(stream.fileno(), event)

    def _close(self, fd: int) -> None:
        self._poll.unregister(fd)
        stream = self._open.pop(fd)
        # As in subprocess: the program has ended without reading all of its input.
        with contextlib.suppress(BrokenPipeError):
            stream.close()

    def _write(self, fd: int) -> None:
        try:
            self._rest = self._rest[os.write(fd, self._rest[: select.PIPE_BUF]) :]
        except BrokenPipeError:
            self._rest = memoryview(b"")
        if not self._rest:
            self._close(fd)

    def _read(self, fd: int) -> None:
        data = os.read(fd, _READ_BYTES)
        if not data:
            self._close(fd)
            return
        kept = self._kept[fd]
        room = self._limit.bytes - len(kept)
        kept += data[:room]
        if len(data) <= room:
            return
        self.truncated = True
        if self._limit.on_exceed == "kill":
            self._process.kill()
            raise OutputLimitError(self._process.args, self._limit.bytes, *self._outputs(self._decoded))

    def _decoded(self, stream: IO[Any], data: bytes) -> Any:
        """Return what a stream of `subprocess` in this mode gives: bytes, or text with universal newlines."""
        encoding = getattr(stream, "encoding", None)
        if encoding is None:
            return data
        decoder = codecs.getincrementaldecoder(encoding)(getattr(stream, "errors", None) or "strict")
        # A character may have been cut in two.
        return decoder.decode(data, not self.truncated).replace("\r\n", "\n").replace("\r", "\n")

    def _outputs(self, form: Callable[[IO[Any], bytes], Any]) -> tuple[Any, Any]:
        stdout, stderr = (None if one is None else form(one[0], bytes(self._kept[one[1]])) for one in self._streams)
        return stdout, stderr


def _undecoded(_: IO[Any], data: bytes) -> bytes:
    """Return the bytes, as `subprocess.TimeoutExpired` has them also for text."""
    return data


def _encoded(stdin: IO[Any] | None, input: Any) -> memoryview:
    if stdin is None or not input:
        return memoryview(b"")
    encoding = getattr(stdin, "encoding", None)
    return memoryview(input if encoding is None else input.encode(encoding, getattr(stdin, "errors", "strict")))
