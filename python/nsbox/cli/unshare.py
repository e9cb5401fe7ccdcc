"""``nsbox unshare``: the options, the order and the exit status of unshare(1), and errors that say why."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from nsbox import _core, _evidence
from nsbox.command.options import UsageError, help_text
from nsbox.command.request import OPTIONS, Request, request_of
from nsbox.command.steps import CommandStep, steps_of
from nsbox.errors import spawn_error

__all__ = ["main"]

_USAGE = """\
Usage: nsbox unshare [options] [program [argument...]]

Run a program in new namespaces, as unshare(1) does: this process becomes the program, and nothing supervises it.
nsbox run is the safe variant, and nsbox explain shows what happens.
"""


def main(arguments: Sequence[str]) -> int:
    """Do it. Without `--fork` this returns only when something failed: 1, or 126 or 127 for the program."""
    try:
        request = request_of(arguments)
    except UsageError as error:
        print(f"nsbox unshare: {error}\nTry 'nsbox unshare --help' for more information.", file=sys.stderr)
        return 1
    if request.show:
        print(f"{_USAGE}\n{help_text(OPTIONS)}" if request.show == "help" else f"nsbox unshare {_core.__version__}")
        return 0
    _restore_environment()
    # Some of it cannot be found out any more from inside a new user namespace.
    before = _evidence.gather(threads=False, tasks=False)
    for step in steps_of(request):
        try:
            step.do()
        except OSError as error:
            return _failed(step, error, request, before)
    return 1


def _failed(step: CommandStep, error: OSError, request: Request, before: _evidence.Evidence) -> int:
    if step.name == "exec":
        program = request.program[0] if request.program else os.environ.get("SHELL") or "/bin/sh"
        print(f"nsbox unshare: failed to execute {program}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    evidence = _evidence.inherit(_evidence.gather(), before)
    explained = spawn_error(error.errno or 0, step.name, step.actor, step.call, "", evidence)
    print(f"nsbox unshare: {explained}", file=sys.stderr)
    return 1


def _restore_environment() -> None:
    """Take back what Python does to its environment in the C locale (PEP 538): the program must not see it."""
    try:
        with open("/proc/self/environ", "rb") as file:
            names = {entry.partition(b"=")[0] for entry in file.read().split(b"\0")}
    except OSError:
        return
    if b"LC_CTYPE" not in names:
        os.environ.pop("LC_CTYPE", None)
