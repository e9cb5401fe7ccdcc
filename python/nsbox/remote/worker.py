"""The program of a worker, which runs calls of `nsbox.Box.call` in a box."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import pickle
import sys

from nsbox import _core
from nsbox.errors import TransferError
from nsbox.remote.protocol import pack_failure, pack_value, receive, send, title, unpack_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from nsbox.remote.protocol import Frame

__all__ = ["PROGRAM", "Streams", "run_calls", "work"]

PROGRAM = (
    "import sys; sys.path[:] = sys.argv[4:]; import {module}; "
    "{module}.{function}(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])"
)
"""For ``python -c``. The arguments are two descriptors, a text for the function, and the caller's ``sys.path``."""

_FIRST_KEPT_FD = 10


class Streams:
    """Keeps standard input, output and error, and restores them after a function has replaced them."""

    def __init__(self) -> None:
        """Duplicate them to higher numbers, closed at an exec."""
        self._kept = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_KEPT_FD) for number in range(3)]
        self._texts: list[io.TextIOWrapper | None] = [None] * 3
        self.restore()

    def restore(self) -> None:
        """Restore the descriptors and the objects in `sys`, and flush their buffers."""
        # Text that was printed while a descriptor was replaced belongs to its replacement.
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
            # It may be closed, lack its descriptor, or be an object of the function's own.
            with contextlib.suppress(Exception):
                text.flush()  # type: ignore[union-attr]


def _text(number: int) -> io.TextIOWrapper:
    mode = "wb" if number else "rb"
    errors = "backslashreplace" if number == 2 else "surrogateescape"
    return io.TextIOWrapper(
        open(number, mode, closefd=False), encoding="utf-8", errors=errors, line_buffering=bool(number)
    )


def run_calls(request: bytes | memoryview) -> Frame:
    """Run the calls in a request, and return the reply: the result of the last one, or the exception of any."""
    trust = False
    try:
        settings, trust, calls = unpack_request(request)
        if settings is not None:
            _apply(*settings)
    except Exception as error:
        return pack_failure(error, trust)
    function, value = None, None
    for number, call in enumerate(calls, 1):
        try:
            function, args, kwargs = pickle.loads(call)
        except BaseException as error:
            problem = TransferError(f"the function or its arguments do not unpickle inside: {error!r}")
            problem.__cause__ = error
            return pack_failure(problem, trust)
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            # The line above in this file does not belong into the traceback.
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            if number < len(calls):
                error.add_note(f"the initializer {title(function)} has raised this, so its task was not called")
            return pack_failure(error, trust, exhausted=_is_exhausted(error))
    return pack_value(function, value, trust)


def _apply(path: list[str], directory: str | None, rlimits: tuple[tuple[str, tuple[int, int]], ...]) -> None:
    """Set ``sys.path``, the working directory and the resource limits of this process."""
    if sys.path != path:
        sys.path[:] = path
    if directory is not None:
        os.chdir(directory)
    if rlimits:
        import resource  # noqa: PLC0415 - rarely needed

        for name, limits in rlimits:
            kind = getattr(resource, f"RLIMIT_{name.upper()}")
            # The filter of `harden` refuses to set that for core files, which was set before it.
            if resource.getrlimit(kind) != limits:
                resource.setrlimit(kind, limits)


def _is_exhausted(error: BaseException) -> bool:
    """Return whether there are too many processes: the error may mean that, and one more cannot be made (fork(2))."""
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


class _StartDirectory:
    """The working directory of a worker, looked up anew for each call: something may have been mounted on it since."""

    def __init__(self) -> None:
        try:
            self._path = os.getcwd()
        except FileNotFoundError:
            # It has been removed, and has no path.
            self._path = ""
            self._open = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def enter(self) -> None:
        """Change to it; to the root if it is hidden."""
        if not self._path:
            os.fchdir(self._open)
            return
        try:
            os.chdir(self._path)
        except OSError:
            os.chdir("/")


def work(requests: int, replies: int, _argument: str) -> NoReturn:
    """Run one call after the other, until the caller closes the socket."""
    sys.argv[:] = [""]
    for fd in (requests, replies):
        os.set_inheritable(fd, False)
    start_directory = _StartDirectory()
    streams = Streams()
    own = _core.this_process()
    while True:
        try:
            token, data = receive(requests)
        except EOFError:
            sys.exit(0)
        start_directory.enter()
        reply = run_calls(data)
        if _core.this_process() != own:
            # The function has forked, and has returned in the child as well. Only the parent replies.
            streams.restore()
            os._exit(0)
        streams.restore()
        send(replies, token, *reply)
