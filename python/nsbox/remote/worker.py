"""The program of a Python inside that carries out calls for `nsbox.Box.call`, and what it does for each of them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import pickle
import sys

from nsbox.errors import TransferError
from nsbox.remote.protocol import REQUEST, pack_failure, pack_value, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from nsbox.remote.protocol import Frame

__all__ = ["PROGRAM", "Streams", "carry_out", "work"]

PROGRAM = "import sys; sys.path[:] = sys.argv[3:]; import {module}; {module}.{function}(int(sys.argv[1]), sys.argv[2])"
"""What the interpreter is started with; its arguments are a descriptor, a word, and the caller's ``sys.path``."""

_FIRST_KEPT = 10


class Streams:
    """Standard input, output and error as they were at the beginning, whatever a function has done to them since."""

    def __init__(self) -> None:
        """Keep them, out of the way and away from programs that are started."""
        self._kept = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_KEPT) for number in range(3)]
        self._texts: list[io.TextIOWrapper | None] = [None] * 3
        self.restore()

    def restore(self) -> None:
        """Put them back, in the kernel and in `sys`, with nothing left in their buffers."""
        # What was printed while a descriptor led elsewhere belongs there.
        self._flush()
        for number, kept in enumerate(self._kept):
            os.dup2(kept, number)
        self._flush()
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            text = self._texts[number]
            if text is None or text.closed:
                text = self._texts[number] = _text(number)
            setattr(sys, name, text)
            setattr(sys, f"__{name}__", text)

    def _flush(self) -> None:
        for text in (*self._texts[1:], sys.stdout, sys.stderr):
            # Closed, or a descriptor that is not there any more, or an object of somebody else's.
            with contextlib.suppress(Exception):
                text.flush()  # type: ignore[union-attr]


def _text(number: int) -> io.TextIOWrapper:
    mode = "wb" if number else "rb"
    errors = "backslashreplace" if number == 2 else "surrogateescape"
    return io.TextIOWrapper(
        open(number, mode, closefd=False), encoding="utf-8", errors=errors, line_buffering=bool(number)
    )


def carry_out(request: bytes) -> Frame:
    """Carry out a request, and return the answer."""
    try:
        surroundings, call = pickle.loads(request)
        if surroundings is not None:
            _settle(*surroundings)
    except Exception as error:
        return pack_failure(error)
    try:
        function, args, kwargs = pickle.loads(call)
    except BaseException as error:
        problem = TransferError(f"the function or its arguments do not unpickle inside: {error!r}")
        problem.__cause__ = error
        return pack_failure(problem)
    try:
        value = function(*args, **kwargs)
    except BaseException as error:
        # Our own line in it says nothing to anybody.
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next
        return pack_failure(error, exhausted=_is_exhausted(error))
    return pack_value(function, value)


def _settle(path: list[str], directory: str | None, rlimits: tuple[tuple[str, tuple[int, int]], ...]) -> None:
    """Look for modules where the caller does, go where it wants the function to be, and take its limits upon us."""
    if sys.path != path:
        sys.path[:] = path
    if directory is not None:
        os.chdir(directory)
    if rlimits:
        import resource  # noqa: PLC0415 - rarely needed

        for name, limits in rlimits:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), limits)


def _is_exhausted(error: BaseException) -> bool:
    """Whether it was raised because there are too many processes: when another one cannot be made either (fork(2))."""
    full = isinstance(error, OSError) and error.errno == errno.EAGAIN
    if not full and not (isinstance(error, RuntimeError) and "start new thread" in str(error)):
        return False
    try:
        pid = os.fork()
    except OSError:
        return True
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return False


def work(fd: int, _word: str) -> NoReturn:
    """Carry out one call after the other, until the caller hangs up."""
    sys.argv[:] = [""]
    os.set_inheritable(fd, False)
    home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    streams = Streams()
    own = os.getpid()
    while True:
        try:
            letter, data = receive(fd)
        except EOFError:
            sys.exit(0)
        if letter != REQUEST:
            sys.exit(f"a request begins with {REQUEST!r}, not with {letter!r}")
        answer = carry_out(data)
        if os.getpid() != own:
            # The function has forked, and comes back twice. Only the first one is awaited.
            streams.restore()
            os._exit(0)
        os.fchdir(home)
        streams.restore()
        send(fd, *answer)
