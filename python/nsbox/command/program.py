"""The ends of a command that moves its own process: it becomes the program, or it ends as the program did."""

from __future__ import annotations

import errno
import os
import signal
import warnings  # noqa: F401 - os.execvp imports it, and in another root it might not be there
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

from nsbox._core import Call
from nsbox.command.step import CommandStep

__all__ = ["KEEP_CAPABILITIES", "Environment", "end_by", "exec_step", "words_of"]


KEEP_CAPABILITIES = (
    Call("capset", data={"inheritable": ("all",)}),
    Call("prctl", op=("PR_CAP_AMBIENT",), arg2=("all",)),
)
"""The calls by which all permitted capabilities become inheritable and ambient (capabilities(7))."""

Environment: TypeAlias = "Callable[[], Mapping[str, str]]"


def words_of(program: tuple[str, ...], environment: Mapping[str, str] | None = None) -> tuple[str, tuple[str, ...]]:
    """Return what is executed and its arguments: without a program $SHELL, as a login shell."""
    if program:
        return program[0], program
    shell = (os.environ if environment is None else environment).get("SHELL") or "/bin/sh"
    return shell, (f"-{os.path.basename(shell)}",)


def exec_step(
    program: tuple[str, ...], actor: str, environment: Environment | None = None, variables: Any = ("environ",)
) -> CommandStep:
    """Return the last step.

    Args:
        program: The program and its arguments; empty for a shell.
        actor: The command.
        environment: Return the environment of the program; by default it is that of this process.
        variables: The environment, as an argument of `Call`.
    """
    # Which shell it is can only be said when the environment is known.
    path, arguments = (("$SHELL",), (("-$SHELL",),)) if environment and not program else words_of(program)
    call = Call("execve", pathname=path, argv=list(arguments), envp=variables)
    why = "this process becomes the program"
    return CommandStep("exec", (call,), "execve(2)", why, lambda: _become(program, environment), actor)


def _become(program: tuple[str, ...], environment: Environment | None) -> NoReturn:
    variables = None if environment is None else environment()
    path, arguments = words_of(program, variables)
    # Python ignores these two for itself.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)

    def execute(path: str, arguments: tuple[str, ...]) -> None:
        if variables is None:
            os.execvp(path, arguments)
        os.execvpe(path, arguments, variables)

    try:
        execute(path, arguments)
    except OSError as error:
        # As execvp(3): a file that can be executed and is no program is a script of the shell.
        if error.errno == errno.ENOEXEC:
            execute("/bin/sh", ("/bin/sh", error.filename or path, *arguments[1:]))
        raise
    raise AssertionError("an exec does not return")


def end_by(number: int) -> None:
    """Let a signal end this process, as it ended the child; return if it does not."""
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
