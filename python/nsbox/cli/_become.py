"""What `nsbox unshare` and `nsbox nsenter` have in common: reading arguments, and steps that end in a program."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from nsbox import _core
from nsbox.command.nsenter.request import Entry
from nsbox.command.options import Option, UsageError, help_text
from nsbox.command.program import program_of
from nsbox.command.step import CommandStep
from nsbox.command.unshare.request import Request
from nsbox.diagnosis import evidence as _evidence
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import NsboxError

__all__ = ["carry_out", "understood"]

T = TypeVar("T", Request, Entry)

_AWAY = {"chroot", "target root", "join mount"}
"""Steps after which paths mean something else."""


def understood(
    command: str, usage: str, options: Sequence[Option], read: Callable[[Sequence[str]], T], arguments: Sequence[str]
) -> T | int:
    """Return what the arguments ask for; or an exit status, when they are wrong or only ask how to use it.

    Args:
        command: Its name, for messages.
        usage: What comes before the options in its help.
        options: Its options.
        read: Reads the arguments.
        arguments: Those of the command line.
    """
    try:
        wanted = read(arguments)
    except UsageError as error:
        print(f"nsbox {command}: {error}\nTry 'nsbox {command} --help' for more information.", file=sys.stderr)
        return 1
    if wanted.show:
        print(f"{usage}\n{help_text(options)}" if wanted.show == "help" else f"nsbox {command} {_core.__version__}")
        return 0
    return wanted


def carry_out(command: str, program: tuple[str, ...], steps: Callable[[], Sequence[CommandStep]]) -> int:
    """Do the steps. This returns only when something failed: 1, or 126 or 127 for the program.

    Args:
        command: Its name, for messages.
        program: What is executed; empty for a shell.
        steps: Return the steps.
    """
    _as_started()
    # Some of it cannot be found out any more from inside a new user namespace.
    before = _evidence.gather(threads=False, tasks=False)
    todo = steps()
    if _AWAY.intersection(step.name for step in todo):
        # There, none of our files may be found any more.
        from nsbox.diagnosis import causes  # noqa: F401, PLC0415 - only for errors, but too late then

    for step in todo:
        try:
            step.do()
        except NsboxError as error:
            print(f"nsbox {command}: {error}", file=sys.stderr)
            return 1
        except OSError as error:
            return _failed(command, program, step, error, before)
    return 1


def _failed(
    command: str, program: tuple[str, ...], step: CommandStep, error: OSError, before: _evidence.Evidence
) -> int:
    if step.name == "exec":
        print(f"nsbox {command}: failed to execute {program_of(program)[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    evidence = _evidence.inherit(_evidence.gather(), before)
    number = error.errno or 0
    # What a program said that was asked to do it.
    words = "" if error.strerror in (None, os.strerror(number)) else str(error.strerror)
    explained = spawn_error(number, step.name, step.actor, step.calls, words, evidence)
    print(f"nsbox {command}: {explained}", file=sys.stderr)
    return 1


def _as_started() -> None:
    """Take back what Python does to a process: nothing of it shall be seen by the program, or in how this one ends."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # In the C locale it changes its environment (PEP 538).
    try:
        with open("/proc/self/environ", "rb") as file:
            names = {entry.partition(b"=")[0] for entry in file.read().split(b"\0")}
    except OSError:
        return
    if b"LC_CTYPE" not in names:
        os.environ.pop("LC_CTYPE", None)
