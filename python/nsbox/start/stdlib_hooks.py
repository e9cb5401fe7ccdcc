"""The private parts of the standard library that nsbox stands on, and the check that they are what it knows.

Nothing else in nsbox uses a private name of the standard library. A future Python may change any of them; then
importing nsbox fails with a sentence, instead of something failing in the middle of a start.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from types import FunctionType

__all__ = ["ASYNCIO", "SUBPROCESS", "Hooks", "check"]


@dataclass(frozen=True)
class Hooks:
    """What must be there in a class.

    Attributes:
        methods: Methods by name, each with the parameters it is called or overridden with.
        attributes: What is set in the class or by its constructor.
    """

    methods: dict[str, tuple[str, ...]]
    attributes: tuple[str, ...]


_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")

SUBPROCESS = Hooks(
    methods={
        # Overridden: how a process is started and waited for.
        "_execute_child": (
            "self", "args", "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env", "startupinfo",
            "creationflags", "shell", *_PIPES, "restore_signals", "gid", "gids", "uid", "umask", "start_new_session",
            "process_group",
        ),
        "_internal_poll": ("self", "_deadstate"),
        "_wait": ("self", "timeout"),
        # Called: close the child's ends of the pipes, once it has them.
        "_close_pipe_fds": ("self", *_PIPES),
    },
    # Set: whether there is a process to complain about when the object is forgotten.
    attributes=("_child_created",),
)  # fmt: skip
"""Of `subprocess.Popen`."""

ASYNCIO = Hooks(
    methods={
        "__init__": ("self", "loop", "protocol", "args", "shell", "stdin", "stdout", "stderr", "bufsize"),
        # Overridden: start the process, send it a signal, and, when called by us only, connect its pipes.
        "_start": ("self", "args", "shell", "stdin", "stdout", "stderr", "bufsize"),
        "send_signal": ("self", "signal"),
        "_connect_pipes": ("self", "waiter"),
        # Called: raise if it is over; it is over.
        "_check_proc": ("self",),
        "_process_exited": ("self", "returncode"),
    },
    # Set: the process; read: its loop, and its pipes, each None until it is connected.
    attributes=("_proc", "_loop", "_pipes"),
)
"""Of `asyncio.base_subprocess.BaseSubprocessTransport`."""


def check(kind: type, hooks: Hooks) -> None:
    """Check that a class of the standard library has these methods, which ask for nothing more, and attributes.

    Raises:
        ImportError: when it does not; the message says what differs.
    """
    for name, expected in hooks.methods.items():
        method = getattr(kind, name, None)
        where = f"{kind.__module__}.{kind.__qualname__}.{name}"
        if not isinstance(method, FunctionType):
            raise ImportError(_unknown(f"{where} is missing"))
        code, optional = method.__code__, len(method.__defaults__ or ())
        parameters = code.co_varnames[: code.co_argcount]
        required = parameters[: code.co_argcount - optional]
        if parameters[: len(expected)] != expected or not set(required) <= set(expected):
            raise ImportError(_unknown(f"{where} takes ({', '.join(parameters)}) instead of ({', '.join(expected)})"))
    for name in hooks.attributes:
        if not hasattr(kind, name) and name not in kind.__init__.__code__.co_names:  # type: ignore[misc]
            raise ImportError(_unknown(f"{kind.__module__}.{kind.__qualname__} has no {name}"))


def _unknown(difference: str) -> str:
    return f"this nsbox does not know Python {platform.python_version()}, where {difference}; install a newer nsbox"
