"""Carry out steps in this process, the last of which executes the program: `nsbox unshare` and `nsbox nsenter`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from nsbox import _core
from nsbox.cli import _output
from nsbox.command.nsenter.request import Entry
from nsbox.command.options import Option, UsageError, help_text
from nsbox.command.program import program_of
from nsbox.command.step import CommandStep
from nsbox.command.unshare.request import Request
from nsbox.diagnosis import evidence as _evidence
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import NsboxError

__all__ = ["exec_steps"]

T = TypeVar("T", Request, Entry)

_PATHS_CHANGE = {"chroot", "target root", "join mount"}
"""Steps after which a path can name another file."""


def exec_steps(
    command: str,
    usage: str,
    options: Sequence[Option],
    read: Callable[[Sequence[str]], T],
    steps_of: Callable[[T], Sequence[CommandStep]],
    arguments: Sequence[str],
) -> int:
    """Read a command line and carry out its steps. This returns only for help, and when something failed.

    Where the program is a child, the parent raises SystemExit with its exit status.

    Args:
        command: The name of the command, for messages.
        usage: The text above the options in its help.
        options: Its options.
        read: Returns what the arguments ask for.
        steps_of: Returns the steps for that.
        arguments: The arguments of the command line.

    Returns:
        The exit status: 1 for errors, 126 or 127 when the program cannot be executed.
    """
    try:
        wanted = read(arguments)
    except UsageError as error:
        return _output.usage_error(command, error)
    if wanted.show:
        is_help = wanted.show == "help"
        _output.write(f"{usage}\n{help_text(options)}" if is_help else f"nsbox {command} {_core.__version__}")
        return 0
    _undo_python_startup()
    # From inside a new user namespace, a part of the evidence can no longer be read.
    before = _evidence.gather(tasks=False)
    steps = steps_of(wanted)
    if _PATHS_CHANGE.intersection(step.name for step in steps):
        # After such a step, Python may no longer find the files of nsbox.
        from nsbox.diagnosis import causes  # noqa: F401, PLC0415 - only for errors, but too late then

    for step in steps:
        try:
            step.do()
        except NsboxError as error:
            print(f"nsbox {command}: {error}", file=sys.stderr)
            return 1
        except OSError as error:
            return _report_failure(command, wanted.program, step, error, before)
    return 1


def _report_failure(
    command: str, program: tuple[str, ...], step: CommandStep, error: OSError, before: _evidence.Evidence
) -> int:
    """Print which step failed, why, and what to do; return the exit status."""
    if step.name == "exec":
        print(f"nsbox {command}: failed to execute {program_of(program)[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    evidence = _evidence.inherit(_evidence.gather(), before)
    number = error.errno or 0
    # For a step that runs a program, such as newuidmap(1): what the program printed, not the text of the error number.
    text = str(error.strerror or "")
    printed = "" if text == os.strerror(number) or text.endswith(f"(os error {number})") else text
    explained = spawn_error(number, step.name, step.actor, step.calls, printed, evidence)
    print(f"nsbox {command}: {explained}", file=sys.stderr)
    return 1


def _undo_python_startup() -> None:
    """Undo what Python changes when it starts, as the program inherits it: the SIGINT handler and $LC_CTYPE."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # In the C locale Python sets LC_CTYPE (PEP 538).
    try:
        with open("/proc/self/environ", "rb") as file:
            names = {entry.partition(b"=")[0] for entry in file.read().split(b"\0")}
    except OSError:
        return
    if b"LC_CTYPE" not in names:
        os.environ.pop("LC_CTYPE", None)
