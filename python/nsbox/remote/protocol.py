"""The messages between a caller and the Python inside that runs its calls: used by both.

Both send frames over a stream socket: a letter, a length, and that many bytes. A request contains a pickled call and
the settings in which to run it. A reply contains the pickled result, or an exception with its traceback as text.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys

from nsbox.errors import RemoteError, RemoteTraceback, SpecError, TransferError

__all__ = [
    "FAILED",
    "HEADER",
    "REQUEST",
    "RETURNED",
    "Failure",
    "check_call",
    "frame",
    "pack_call",
    "pack_failure",
    "pack_request",
    "pack_value",
    "receive",
    "send",
    "title",
    "unpack_value",
]

# Every Python inside imports this module first, so it imports little: types for type checkers only, and what failures
# need when one happens.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    Call: TypeAlias = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
    Frame: TypeAlias = tuple[bytes, bytes]
    CallSettings: TypeAlias = tuple[list[str], str | None, tuple[tuple[str, tuple[int, int]], ...]]

HEADER = struct.Struct("=cQ")
REQUEST, RETURNED, FAILED = b"c", b"r", b"f"


def title(function: object) -> str:
    """Return the name of a function for messages."""
    return str(getattr(function, "__qualname__", None) or repr(function))


def check_call(function: object, timeout: object) -> None:
    """Check the arguments of a call.

    Raises:
        SpecError: for a function that cannot be called, and a timeout that is no number of seconds.
    """
    if not callable(function):
        raise SpecError(f"function: {function!r} cannot be called")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0):
        raise SpecError(f"timeout: expected seconds, got {timeout!r}")


def frame(letter: bytes, data: bytes) -> bytes:
    """Return a frame."""
    return HEADER.pack(letter, len(data)) + data


def send(fd: int, letter: bytes, data: bytes) -> None:
    """Send a frame over a blocking socket."""
    rest = memoryview(frame(letter, data))
    while rest:
        rest = rest[os.write(fd, rest) :]


def receive(fd: int) -> Frame:
    """Receive a frame over a blocking socket.

    Raises:
        EOFError: when the other end is closed.
    """
    letter, length = HEADER.unpack(_exactly(fd, HEADER.size))
    return letter, _exactly(fd, length)


def _exactly(fd: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = os.read(fd, min(length - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def pack_call(call: Call) -> bytes:
    """Pickle a call, by cloudpickle if it is installed: pickle only refers to functions by the name in their module.

    Raises:
        TransferError: when it does not pickle.
    """
    try:
        import cloudpickle  # noqa: PLC0415 - slow, and may be missing
    except ImportError:
        cloudpickle = None
    try:
        if cloudpickle is not None:
            return bytes(cloudpickle.dumps(call))
        stream = io.BytesIO()
        _ByReference(stream, pickle.HIGHEST_PROTOCOL).dump(call)
        return stream.getvalue()
    except Exception as error:
        problem = f"{title(call[0])} does not pickle with its arguments: {error}"
        if cloudpickle is None:
            problem += f"\n{_NEEDS_CLOUDPICKLE}"
        raise TransferError(problem) from error


class _ByReference(pickle.Pickler):
    """Pickles as `pickle` does, but refuses what is defined in ``__main__``, which is another module inside."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | type(title)) and obj.__module__ == "__main__":
            raise pickle.PicklingError(f"{obj.__qualname__} is defined in __main__, which is another module inside")
        return NotImplemented


_NEEDS_CLOUDPICKLE = (
    "next: for functions of a notebook or a script, lambdas and closures: pip install cloudpickle; "
    "functions of a module that can be imported do not need it"
)


def pack_request(settings: CallSettings | None, call: bytes) -> bytes:
    """Return a request as a frame.

    The settings are ``sys.path``, the working directory or None for the one in which the interpreter was started, and
    resource limits. None stands for those of the request before.
    """
    return frame(REQUEST, pickle.dumps((settings, call), pickle.HIGHEST_PROTOCOL))


def pack_value(function: object, value: object) -> Frame:
    """Return the reply with a result, or with the reason why the result does not pickle."""
    try:
        return RETURNED, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as plain:
        reason = plain
    try:
        import cloudpickle  # noqa: PLC0415 - may be missing, and is rarely needed here

        return RETURNED, bytes(cloudpickle.dumps(value))
    except ImportError:
        pass
    except Exception as error:
        reason = error
    kind = type(value).__qualname__
    return pack_failure(TransferError(f"{title(function)} returned a {kind}, which does not pickle: {reason}"))


def unpack_value(function: object, data: bytes) -> Any:
    """Return the result in a reply.

    Raises:
        TransferError: when it does not unpickle here.
    """
    try:
        return pickle.loads(data)
    except Exception as error:
        raise TransferError(f"{title(function)} returned something that does not unpickle here: {error!r}") from error


class Failure:
    """An exception in a reply.

    Attributes:
        name: The name of its class.
        message: Its text.
        trace: Its traceback, as text.
        data: The exception, pickled; None when it does not pickle.
        exhausted: Whether a process or thread could not be started because there were too many.
    """

    __slots__ = ("data", "exhausted", "message", "name", "trace")

    def __init__(self, name: str, message: str, trace: str, data: bytes | None, exhausted: bool) -> None:
        """Keep all of it."""
        self.name, self.message, self.trace, self.data, self.exhausted = name, message, trace, data, exhausted

    def error(self) -> BaseException:
        """Return the exception, or a `RemoteError` if it does not pickle, with the traceback as its cause."""
        error: object = None
        if self.data is not None:
            try:
                error = pickle.loads(self.data)
            except Exception:
                error = None
        if not isinstance(error, BaseException):
            error = RemoteError(f"{self.name}: {self.message} (it does not pickle, so this error replaces it)")
        error.__cause__ = RemoteTraceback(self.trace)
        return error


def pack_failure(error: BaseException, exhausted: bool = False) -> Frame:
    """Return the reply with an exception."""
    import traceback  # noqa: PLC0415 - only needed when something fails

    trace = "".join(traceback.format_exception(error))
    try:
        message = str(error)
    except Exception as failure:
        message = f"(str() of it raises {failure!r})"
    failed = Failure(type(error).__qualname__, message, trace, _pickled(error), exhausted)
    return FAILED, pickle.dumps(failed, pickle.HIGHEST_PROTOCOL)


def _pickled(error: BaseException) -> bytes | None:
    dumps: list[Callable[[object], bytes]] = [pickle.dumps]
    if "cloudpickle" in sys.modules:
        dumps.append(sys.modules["cloudpickle"].dumps)
    for dump in dumps:
        try:
            data = dump(error)
            # Many pickle but do not unpickle: their __init__ requires other arguments than `args` has.
            if type(pickle.loads(data)) is type(error):
                return data
        except Exception:
            continue
    return None
