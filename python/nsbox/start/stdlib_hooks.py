"""The private parts of the standard library that nsbox relies on, and a check that they are as expected.

A future Python may change any of them. Importing nsbox then fails with a clear message, and not a start half-way.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import FunctionType

__all__ = ["ASYNCIO", "SUBPROCESS", "Hooks", "check", "forget_fork_server", "multiprocessing_helpers"]


@dataclass(frozen=True)
class Hooks:
    """What a class must have.

    Attributes:
        methods: Methods by name, each with the parameters with which nsbox calls or overrides it.
        attributes: Names that are set in the class or by its constructor.
    """

    methods: dict[str, tuple[str, ...]]
    attributes: tuple[str, ...]


_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")

SUBPROCESS = Hooks(
    methods={
        # Overridden: start a process, and wait for it.
        "_execute_child": (
            "self", "args", "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env", "startupinfo",
            "creationflags", "shell", *_PIPES, "restore_signals", "gid", "gids", "uid", "umask", "start_new_session",
            "process_group",
        ),
        "_internal_poll": ("self", "_deadstate"),
        "_wait": ("self", "timeout"),
        # Called: close the child's ends of the pipes after the start.
        "_close_pipe_fds": ("self", *_PIPES),
    },
    # Set: whether a process was started, for the ResourceWarning of a deleted object.
    attributes=("_child_created",),
)  # fmt: skip
"""Of `subprocess.Popen`."""

ASYNCIO = Hooks(
    methods={
        "__init__": ("self", "loop", "protocol", "args", "shell", "stdin", "stdout", "stderr", "bufsize"),
        # Overridden: start the process, and send it a signal. The base's _connect_pipes is called by nsbox alone.
        "_start": ("self", "args", "shell", "stdin", "stdout", "stderr", "bufsize"),
        "send_signal": ("self", "signal"),
        "_connect_pipes": ("self", "waiter"),
        # Called: raise if the process has ended; record that it has ended.
        "_check_proc": ("self",),
        "_process_exited": ("self", "returncode"),
    },
    # Set: the process. Read: its loop, and its pipes, each None until it is connected.
    attributes=("_proc", "_loop", "_pipes"),
)
"""Of `asyncio.base_subprocess.BaseSubprocessTransport`."""


def check(kind: type, hooks: Hooks) -> None:
    """Check that a class of the standard library has these methods, with no further required parameter, and attributes.

    Raises:
        ImportError: when it does not; the message names the difference.
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


def multiprocessing_helpers() -> set[int]:
    """Return the PIDs of the processes that multiprocessing keeps for this process: they end with it.

    Another version of Python may have other names for them. Then none are found, and they count like any process.
    """
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    forkserver = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    found = getattr(tracker, "_pid", None), getattr(forkserver, "_forkserver_pid", None)
    return {pid for pid in found if pid is not None}


def forget_fork_server() -> None:
    """Have multiprocessing start another fork server in this child of os.fork.

    That of the parent is in the parent's namespaces, and its children would be there, too. It is no child of this
    process, so that CPython cannot wait for it, and fails (ForkServer.ensure_running).
    """
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    if server is not None:
        preload = getattr(server, "_preload_modules", [])
        vars(server).update(vars(type(server)()) | {"_preload_modules": preload})


def _unknown(difference: str) -> str:
    return f"this nsbox does not support Python {sys.version.split()[0]}: {difference}; install a newer nsbox"
