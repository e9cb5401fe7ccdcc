"""The last step of a command that changes its own process: it executes the program, or exits as the program did."""

from __future__ import annotations

import errno
import os
import signal
import warnings  # noqa: F401 - os.execvp imports it, and in another root it might not be there
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

from nsbox._core import Call
from nsbox.command.step import CommandStep

__all__ = ["KEEP_CAPABILITIES", "end_by", "exec_step", "program_of"]


KEEP_CAPABILITIES = (
    Call("capset", data={"inheritable": ("all",)}),
    Call("prctl", op=("PR_CAP_AMBIENT",), arg2=("all",)),
)
"""The calls by which all permitted capabilities become inheritable and ambient (capabilities(7))."""

_ReadEnvironment: TypeAlias = "Callable[[], Mapping[str, str]]"
"""Returns the environment of the program, when it is about to be executed."""


def program_of(program: tuple[str, ...], environment: Mapping[str, str] | None = None) -> tuple[str, tuple[str, ...]]:
    """Return the path of the program and its arguments; without a program, those of $SHELL as a login shell."""
    if program:
        return program[0], program
    shell = (os.environ if environment is None else environment).get("SHELL") or "/bin/sh"
    return shell, (f"-{os.path.basename(shell)}",)


def exec_step(
    program: tuple[str, ...],
    actor: str,
    read_environment: _ReadEnvironment | None = None,
    variables: Any = ("environ",),
) -> CommandStep:
    """Return the last step.

    Args:
        program: The program and its arguments; empty for a shell.
        actor: The command.
        read_environment: Return the environment of the program; by default it is that of this process.
        variables: The environment, as an argument of `Call`.
    """
    # The shell is known only when the environment has been read.
    unknown = read_environment is not None and not program
    path, arguments = (("$SHELL",), (("-$SHELL",),)) if unknown else program_of(program)
    call = Call("execve", pathname=path, argv=list(arguments), envp=variables)
    why = "this process becomes the program"
    return CommandStep("exec", (call,), "execve(2)", why, lambda: _execute(program, read_environment), actor)


def _execute(program: tuple[str, ...], read_environment: _ReadEnvironment | None) -> NoReturn:
    variables = None if read_environment is None else read_environment()
    path, arguments = program_of(program, variables)
    # Python has set these two to be ignored, and the program would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)

    def execvp(path: str, arguments: tuple[str, ...]) -> None:
        if variables is None:
            os.execvp(path, arguments)
        os.execvpe(path, arguments, variables)

    try:
        execvp(path, arguments)
    except OSError as error:
        # As in execvp(3): an executable file of an unknown format is a script for the shell.
        if error.errno == errno.ENOEXEC:
            execvp("/bin/sh", ("/bin/sh", error.filename or path, *arguments[1:]))
        raise
    raise AssertionError("an exec does not return")


def end_by(number: int) -> None:
    """Kill this process by the signal that killed the child; return if the signal does not kill it."""
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
