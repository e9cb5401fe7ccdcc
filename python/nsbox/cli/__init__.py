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
    "completion": "print what bash, zsh or fish needs to complete commands",
    "doctor": "show what this machine, user and container allow, and what to do",
    "demo": "run the workshop exercise step by step, on this kernel",
    "explain": "show what a command line does: each step, and why",
    "grade": "run the tests of a lab for each submission, and write the points",
    "jupyter": "install a Jupyter kernel that runs in new namespaces",
    "lsns": "list namespaces, also those without processes",
    "nsenter": "run a program in the namespaces of a process, as nsenter(1) does",
    "ps": "list processes, with the PIDs they have inside their namespaces",
    "pstree": "draw the tree of processes, with changes of namespaces",
    "run": "run a program in new namespaces, with an init and a timeout",
    "unshare": "run a program in new namespaces, as unshare(1) does",
}
"""The name of each command, whose module is `nsbox.cli.NAME`, and what the command does."""

_PAGED = ("doctor", "explain", "lsns", "ps", "pstree")
"""The commands that show long output by a pager, and have an option against it."""

_BROKEN_PIPE = 128 + 13
"""The exit status that a shell reports for a command that was killed by SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 1 for errors, 2 for wrong usage.

    Args:
        argv: The arguments; by default those of this process.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    options = ["--no-pager"] if given[:1] == ["--no-pager"] else []
    name, *arguments = given[len(options) :] or [""]
    if name in _PAGED:
        arguments = [*options, *arguments]
    if name == "help" and arguments and not arguments[0].startswith("-"):
        name, arguments = arguments[0], ["--help"]
    title = f"nsbox {name}" if name in COMMANDS else "nsbox"
    try:
        status = _execute(name, arguments)
        if sys.stdout is not None:
            # An error of a flush at the interpreter's exit could not be caught.
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return _BROKEN_PIPE
    except OSError as error:
        try:
            sys.stdout.flush()
        except (AttributeError, OSError):  # AttributeError: the output is closed
            _drop_output()
        reason = error.strerror or str(error)
        print(f"{title}: {f'{error.filename}: ' if error.filename else ''}{reason}", file=sys.stderr)
        return 1
    return status


def _execute(name: str, arguments: list[str]) -> int:
    if name in COMMANDS:
        return _run(name, arguments)
    from nsbox.cli import _output  # noqa: PLC0415 - a command imports what it needs

    if name in ("-h", "--help", "help"):
        _output.write(_overview())
        return 0
    if name in ("-V", "--version"):
        from nsbox import _core  # noqa: PLC0415 - only this option needs it

        _output.write(f"nsbox {_core.__version__}")
        return 0
    if not name:
        _output.write(_overview())
        return 2
    from nsbox.spec.nearest import did_you_mean  # noqa: PLC0415 - only for errors

    if name.startswith("-"):
        problem = f"unknown option {name!r}{did_you_mean(name, ['--help', '--version'])}"
    else:
        problem = f"unknown command {name!r}{did_you_mean(name, COMMANDS)}"
    print(f"nsbox: {problem}\n{_overview()}", file=sys.stderr)
    return 2


def _run(name: str, arguments: list[str]) -> int:
    from nsbox.errors import NsboxError  # noqa: PLC0415 - the overview is faster without it

    command = import_module(f"nsbox.cli.{name}")
    try:
        if hasattr(command, "main"):
            return int(command.main(arguments))
        from nsbox.cli import _arguments  # noqa: PLC0415 - takes longer to import than all the rest

        parser = _arguments.parser_of(name, COMMANDS[name], command)
        try:
            options = parser.parse_args(arguments)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 2
        return int(command.execute(options))
    except NsboxError as error:
        print(f"nsbox {name}: {error}", file=sys.stderr)
        return 1


def _drop_output() -> None:
    """Send what is left in the output buffer to /dev/null: its flush at Python's exit must not fail again."""
    import os  # noqa: PLC0415 - only needed here

    if sys.stdout is None:
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {meaning}" for name, meaning in COMMANDS.items()]
    usage, more = "usage: nsbox [--no-pager] COMMAND ...", "For the options of a command: nsbox COMMAND --help"
    return "\n".join([usage, "", *lines, "", more])
