"""The command line: ``nsbox COMMAND ...``.

Each command is a module in this package, imported when it is used. A module has two functions:

    configure(parser)         adds the command's arguments to an `argparse.ArgumentParser`
    execute(options) -> int   runs the command and returns the exit status

or, where the syntax is that of another program, one:

    main(arguments) -> int    parses the arguments, runs the command and returns the exit status

To add a command, add a module and a line in `COMMANDS`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "check": "run the commands of a handout again and compare their output",
    "doctor": "show what this machine, user and container allow, and what to do",
    "demo": "run the workshop exercise step by step, on this kernel",
    "explain": "show what a command line does: each step, and why",
    "grade": "run the tests of a lab for each submission of a class, held, and write the points",
    "jupyter": "install a Jupyter kernel that runs in new namespaces",
    "lsns": "list namespaces, also those without processes",
    "nsenter": "run a program in the namespaces of a process, as nsenter(1) does",
    "ps": "list processes, with the PIDs they have inside their namespaces",
    "pstree": "draw the tree of processes, with changes of namespaces",
    "run": "run a program in new namespaces, with an init and a timeout",
    "unshare": "run a program in new namespaces, as unshare(1) does",
}
"""The name of each command, whose module is `nsbox.cli.NAME`, and what the command does."""

_BROKEN_PIPE = 128 + 13
"""The exit status that a shell reports for a command that was killed by SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 1 for errors, 2 for wrong usage.

    Args:
        argv: The arguments; by default those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] in ([], ["-h"], ["--help"], ["help"]):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from nsbox import _core  # noqa: PLC0415 - only this option needs it

        print(f"nsbox {_core.__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"nsbox: unknown command {name!r}\n{_overview()}", file=sys.stderr)
        return 2
    return _run(name, rest)


def _run(name: str, arguments: list[str]) -> int:
    from nsbox.errors import NsboxError  # noqa: PLC0415 - the overview is faster without it

    command = import_module(f"nsbox.cli.{name}")
    given: object = arguments
    if hasattr(command, "main"):
        run = command.main
    else:
        import argparse  # noqa: PLC0415 - takes longer to import than all the rest

        parser = argparse.ArgumentParser(
            prog=f"nsbox {name}",
            description=COMMANDS[name],
            allow_abbrev=False,
            conflict_handler="resolve",  # in pstree(1) -h is another option
        )
        command.configure(parser)
        try:
            given = parser.parse_args(arguments)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 2
        run = command.execute
    try:
        status = int(run(given))
        # An error of a flush at the interpreter's exit could not be caught.
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return _BROKEN_PIPE
    except NsboxError as error:
        print(f"nsbox {name}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        reason = error.strerror or str(error)
        print(f"nsbox {name}: {f'{error.filename}: ' if error.filename else ''}{reason}", file=sys.stderr)
        return 1
    return status


def _drop_output() -> None:
    """Send what is left in the output buffer to /dev/null: its flush at Python's exit must not fail again."""
    import os  # noqa: PLC0415 - only needed here

    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {meaning}" for name, meaning in COMMANDS.items()]
    return "\n".join(["usage: nsbox COMMAND ...", "", *lines, "", "For the options of a command: nsbox COMMAND --help"])
