"""The command line: ``nsbox COMMAND ...``.

Each command is a module of its own in this package, imported when it is used, with two functions:

    configure(parser)         adds the command's arguments to an `argparse.ArgumentParser`
    execute(options) -> int   does it, and returns the exit status

or, where the syntax is that of another program, with one:

    main(arguments) -> int    does both

A new command is such a module and a line in `COMMANDS`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "check": "run the terminal sessions of a handout again, and compare",
    "doctor": "say what this machine, user and container allow, why not, and what to do",
    "demo": "walk through the workshop exercise, live, on this kernel",
    "explain": "show what a command line does, step by step, and why",
    "jupyter": "install a notebook kernel that runs in namespaces of its own",
    "lsns": "list namespaces, also those without processes",
    "nsenter": "run a program in namespaces of another process, as nsenter(1) does",
    "ps": "list processes, with the PIDs they have inside their namespaces",
    "pstree": "draw the tree of processes, with changes of namespaces",
    "run": "run a program in new namespaces, safely: with an init, a timeout, and nothing left behind",
    "unshare": "run a program in new namespaces, as unshare(1) does",
}
"""The commands and what they do; each is the module `nsbox.cli.NAME`."""

_BROKEN_PIPE = 128 + 13
"""What a shell reports for a command that SIGPIPE ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 1 for errors, 2 for wrong usage.

    Args:
        argv: The arguments, by default those of this program.
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
        print(f"nsbox: {name!r} is no command\n{_overview()}", file=sys.stderr)
        return 2
    return _run(name, rest)


def _run(name: str, arguments: list[str]) -> int:
    from nsbox.errors import NsboxError  # noqa: PLC0415 - not for the overview, which is quicker without

    command = import_module(f"nsbox.cli.{name}")
    given: object = arguments
    if hasattr(command, "main"):
        do = command.main
    else:
        import argparse  # noqa: PLC0415 - takes longer than all the rest

        parser = argparse.ArgumentParser(
            prog=f"nsbox {name}",
            description=COMMANDS[name],
            allow_abbrev=False,
            conflict_handler="resolve",  # -h is an option of its own for some of the commands they are named after
        )
        command.configure(parser)
        try:
            given = parser.parse_args(arguments)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 2
        do = command.execute
    try:
        status = int(do(given))
        # Here, not at the interpreter's exit, where nobody could catch what it raises.
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return _BROKEN_PIPE
    except (OSError, NsboxError) as error:
        print(f"nsbox {name}: {error}", file=sys.stderr)
        return 1
    return status


def _drop_output() -> None:
    """Nobody reads the output any more: what is left in the buffer must not fail again when Python exits."""
    import os  # noqa: PLC0415 - only needed here

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(["usage: nsbox COMMAND ...", "", *lines, "", "nsbox COMMAND --help says more."])
