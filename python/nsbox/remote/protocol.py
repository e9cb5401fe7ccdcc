"""The messages between a caller and the Python inside that runs its calls: used by both.

Requests are sent over a stream socket, replies through a pipe. Both are frames: a letter, a token, a length, and that
many bytes. A request contains a pickled call and the settings in which to run it. Its token is random, and its reply
has the same. A reply contains the encoded result, or an exception with its traceback as text
(`nsbox.remote.encoding`). Any program in a box may have written it.

A caller that runs only its own functions in a box can ask for pickled replies: ``trust=True``.
"""

from __future__ import annotations

import functools
import io
import os
import pickle
import struct
import sys

from nsbox.errors import RemoteError, RemoteTraceback, SpecError, TransferError
from nsbox.remote.encoding import RefusedError, decode, encode

__all__ = [
    "FAILED",
    "FIRST_TOKEN",
    "HEADER",
    "REQUEST",
    "RETURNED",
    "TOKEN_BYTES",
    "Failure",
    "Returned",
    "check_call",
    "frame",
    "pack_call",
    "pack_failure",
    "pack_request",
    "pack_value",
    "receive",
    "send",
    "title",
    "unpack_reply",
    "unpack_request",
    "write_parts",
]

# Every Python inside imports this module first, so it imports little: types for type checkers only, and what failures
# need when one happens.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    Call: TypeAlias = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
    Frame: TypeAlias = tuple[bytes, bytes]
    Reply: TypeAlias = "Returned | Failure"
    CallSettings: TypeAlias = tuple[list[str], str | None, tuple[tuple[str, tuple[int, int]], ...]]

TOKEN_BYTES = 16
FIRST_TOKEN = bytes(TOKEN_BYTES)
"""The token of a message that replies to no request."""
HEADER = struct.Struct(f"=c{TOKEN_BYTES}sQ")
REQUEST, RETURNED, FAILED = b"c", b"r", b"f"
_LARGE_BYTES = 1 << 16
_MAX_TEXT_CHARS = 1 << 20
"""The longest message or traceback in a reply."""
_MAX_REASON_CHARS = 1000


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
    if flags := _code_flags(function) & _ANY_IN_VAIN:
        raise SpecError(f"function: {title(function)} {_CALLED_IN_VAIN[flags]}")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0):
        raise SpecError(f"timeout: expected seconds, got {timeout!r}")


def _code_flags(function: object) -> int:
    """Return the flags of the code of a function, of a method, or of what a partial or another object calls."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(vars(type(function)).get("__call__"), "__code__", None)
    return 0 if code is None else int(code.co_flags)


_AWAIT = "next: call a function that runs it inside: def function(): return asyncio.run(...)"
_LIST = "next: return list(...) from a function that goes through it inside"
# The flags of code objects (inspect, "Code Objects Bit Flags").
_CALLED_IN_VAIN = {
    0x80: f"is asynchronous, so its call only returns a coroutine\n{_AWAIT}",
    0x20: f"is a generator function, whose generator would be left inside\n{_LIST}",
    0x200: f"is an asynchronous generator function, whose generator would be left inside\n{_AWAIT}",
}
_ANY_IN_VAIN = sum(_CALLED_IN_VAIN)
_LEFT_INSIDE = {"coroutine": _AWAIT, "generator": _LIST, "async_generator": _AWAIT}


def frame(letter: bytes, token: bytes, data: bytes) -> bytes:
    """Return a frame."""
    return HEADER.pack(letter, token, len(data)) + data


def send(fd: int, token: bytes, letter: bytes, data: bytes) -> None:
    """Send a frame over a blocking socket or pipe."""
    head = HEADER.pack(letter, token, len(data))
    # Large data are not copied.
    rest = [memoryview(head + data)] if len(data) < _LARGE_BYTES else [memoryview(head), memoryview(data)]
    while rest:
        write_parts(fd, rest)


def write_parts(fd: int, rest: list[memoryview]) -> None:
    """Write as much of the parts of a message as the socket or pipe takes, and remove it from them.

    Raises:
        OSError: from write(2).
    """
    written = os.writev(fd, rest)
    while rest and written >= len(rest[0]):
        written -= len(rest.pop(0))
    if written:
        rest[0] = rest[0][written:]


def receive(fd: int) -> tuple[bytes, bytes | memoryview]:
    """Receive a request over a blocking socket, and return its token and its content.

    Raises:
        EOFError: when the other end is closed.
        ValueError: when it is no request.
    """
    letter, token, length = HEADER.unpack(_exactly(fd, HEADER.size))
    if letter != REQUEST:
        raise ValueError(f"a request begins with {REQUEST!r}, not with {letter!r}")
    return token, _exactly(fd, length)


def _exactly(fd: int, length: int) -> bytes | memoryview:
    first = os.read(fd, min(length, _LARGE_BYTES))
    if len(first) == length:
        return first
    data = memoryview(bytearray(length))
    data[: len(first)] = first
    at, size = len(first), len(first)
    while size and at < length:
        size = os.readv(fd, [data[at:]])
        at += size
    if at < length:
        raise EOFError
    return data


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


def pack_request(settings: CallSettings | None, calls: list[bytes], token: bytes, trust: bool) -> list[memoryview]:
    """Return a request as the parts of a frame.

    The settings are ``sys.path``, the working directory or None for the one in which the interpreter was started, and
    resource limits. None stands for those of the request before. The reply is that of the last call; those before it
    prepare the process.
    """
    size = sum(map(len, calls))
    if size < _LARGE_BYTES:
        data = pickle.dumps((settings, trust, calls), pickle.HIGHEST_PROTOCOL)
        return [memoryview(frame(REQUEST, token, data))]
    # Large calls follow, without another copy.
    head = pickle.dumps((settings, trust, list(map(len, calls))), pickle.HIGHEST_PROTOCOL)
    return [memoryview(part) for part in (HEADER.pack(REQUEST, token, len(head) + size) + head, *calls)]


def unpack_request(content: bytes | memoryview) -> tuple[CallSettings | None, bool, list[bytes | memoryview]]:
    """Return the settings of a request, whether results are pickled, and the pickled calls."""
    settings, trust, calls = pickle.loads(content)
    if type(calls[0]) is bytes:
        return settings, trust, calls
    view, at = memoryview(content), len(content) - sum(calls)
    parts: list[bytes | memoryview] = []
    for length in calls:
        parts.append(view[at : at + length])
        at += length
    return settings, trust, parts


def pack_value(function: object, value: object, trust: bool = False) -> Frame:
    """Return the reply with a result, or with the reason why the result cannot be sent."""
    kind = type(value).__qualname__
    if kind in _LEFT_INSIDE:
        if close := getattr(value, "close", None):
            close()  # otherwise Python warns that nothing has awaited it
        problem = f"{title(function)} returned a {kind}, which cannot leave its process"
        return pack_failure(TransferError(f"{problem}\n{_LEFT_INSIDE[kind]}"))
    if not trust:
        try:
            return RETURNED, encode(value)
        except RefusedError as error:
            problem = f"{title(function)} returned a {kind}: {error} cannot be sent out of a box as data"
            return pack_failure(TransferError(f"{problem}\n{_NEEDS_TRUST}"))
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
    return pack_failure(TransferError(f"{title(function)} returned a {kind}, which does not pickle: {reason}"), trust)


_NEEDS_TRUST = (
    "next: return plain data (docs/functions.md lists the types), or, if only your own functions run in that box: "
    "trust=True"
)


class Returned:
    """A result in a reply.

    Attributes:
        value: What the function returned.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        """Keep it."""
        self.value = value

    def result(self) -> Any:
        """Return it."""
        return self.value


class Failure:
    """An exception in a reply.

    Attributes:
        error: The exception, or a `RemoteError` that replaces it, with the traceback as its cause.
        exhausted: Whether a process or thread could not be started because there were too many.
    """

    __slots__ = ("error", "exhausted")

    def __init__(self, error: BaseException, exhausted: bool) -> None:
        """Keep both."""
        self.error, self.exhausted = error, exhausted

    def result(self) -> Any:
        """Raise the exception."""
        __tracebackhide__ = True
        raise self.error


def unpack_reply(function: object, reply: Frame, trust: bool = False) -> Reply:
    """Return what is in a reply.

    Raises:
        TransferError: when it is none, and when a pickled result does not unpickle here.
    """
    letter, data = reply
    if letter == FAILED:
        return _unpack_failure(data, trust)
    if not trust:
        return Returned(decode(data))
    try:
        return Returned(pickle.loads(data))
    except Exception as error:
        raise TransferError(f"{title(function)} returned something that does not unpickle here: {error!r}") from error


def pack_failure(error: BaseException, trust: bool = False, exhausted: bool = False) -> Frame:
    """Return the reply with an exception."""
    import traceback  # noqa: PLC0415 - only needed when something fails

    trace = "".join(traceback.format_exception(error))
    try:
        message = str(error)
    except Exception as failure:
        message = f"(str() of it raises {failure!r})"
    is_pickled, data = _packed(error, trust)
    kind = type(error)
    # Of a long traceback, the end has the reason.
    texts = kind.__module__, kind.__qualname__, message[:_MAX_TEXT_CHARS], trace[-_MAX_TEXT_CHARS:]
    return FAILED, encode((*map(str, texts), exhausted, is_pickled, data))


def _unpack_failure(data: bytes, trust: bool) -> Failure:
    parts = decode(data)
    if type(parts) is not tuple or [type(part) for part in parts[:-1]] != [str, str, str, str, bool, bool]:
        raise TransferError("what arrived is no failure of a function")
    module, name, message, trace, exhausted, is_pickled, content = parts
    error: object = None
    why = content if type(content) is str else "it cannot be sent as data"
    if type(content) is bytes and (trust or not is_pickled):
        try:
            error = pickle.loads(content) if is_pickled else decode(content)
        except Exception as failure:
            why = str(failure)
    if not isinstance(error, BaseException):
        error = _replacement(module, name[:_MAX_TEXT_CHARS], message[:_MAX_TEXT_CHARS], why[:_MAX_REASON_CHARS], trust)
    error.__cause__ = RemoteTraceback(trace[-_MAX_TEXT_CHARS:])
    return Failure(error, exhausted)


def _replacement(module: str, name: str, message: str, why: str, trust: bool) -> RemoteError:
    cure = "" if trust else "; trust=True keeps it, if only your own functions run in that box"
    text = f"{name}: {message} (this error replaces it, as {why}{cure})"
    return RemoteError(text, name if module == "builtins" else f"{module[:_MAX_REASON_CHARS]}.{name}", message)


def _packed(error: BaseException, trust: bool) -> tuple[bool, bytes | str]:
    """Return whether an exception is pickled, and its data; or the reason why it cannot be sent."""
    from nsbox.remote.exceptions import obstacle  # noqa: PLC0415 - only needed when something fails

    why = obstacle(type(error))
    # Pickle would send the class of an outcome of pytest by value, since that names another module as its own.
    if not trust or why:
        try:
            return False, encode(error)
        except Exception as refused:
            why = why or f"{refused} cannot be sent as data"
    if not trust:
        return False, why
    data = _pickled(error)
    return (False, "it does not pickle") if data is None else (True, data)


def _pickled(error: BaseException) -> bytes | None:
    """Pickle an exception in the first way in which it arrives with its type and its text."""
    found = None
    by_value = _dumps_by_value()
    # Many pickle, but do not unpickle: their __init__ requires other arguments than `args` has.
    for dump, value in (pickle.dumps, error), (by_value, error), (by_value, _Remade(error)):
        try:
            data: bytes = dump(value)
            copy = pickle.loads(data)
            if type(copy) is type(error):
                found = found or data
                if str(copy) == str(error):
                    return data
        except Exception:
            continue
    return found


class _Remade:
    """Pickles an exception by the arguments of its built-in base class, and by those attributes that pickle."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        from nsbox.remote.exceptions import parts_to_make, remade  # noqa: PLC0415 - only if needed

        args, state = parts_to_make(self.error)
        if isinstance(self.error, BaseExceptionGroup):
            args = self.error.message, list(map(_Remade, self.error.exceptions))
        left_out = [name for name, value in state.items() if not _pickles(value)]
        if left_out:
            note = f"attributes that do not pickle were left out: {', '.join(left_out)}"
            state["__notes__"] = [*state.get("__notes__", ()), note]
        return remade, (type(self.error), args, {name: state[name] for name in state if name not in left_out})


def _pickles(value: object) -> bool:
    try:
        pickle.loads(_dumps_by_value()(value))
    except Exception:
        return False
    return True


def _dumps_by_value() -> Callable[[object], bytes]:
    """Return a function that pickles classes of a script, too, if there is one."""
    dumps: Callable[[object], bytes] = getattr(sys.modules.get("cloudpickle"), "dumps", pickle.dumps)
    return dumps
