"""``nsbox nsenter``: the options, the order and the exit status of nsenter(1), and errors that say why."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nsbox import _core
from nsbox.cli._become import carry_out
from nsbox.command.entering import entering_steps
from nsbox.command.entry import OPTIONS, entry_of
from nsbox.command.options import UsageError, help_text

__all__ = ["main"]

_USAGE = """\
Usage: nsbox nsenter [options] [program [argument...]]

Run a program in namespaces of another process, as nsenter(1) does: this process becomes the program, and nothing
supervises it. nsbox.enter is the safe variant in Python, and nsbox explain shows what happens.
"""


def main(arguments: Sequence[str]) -> int:
    """Do it. Without a fork this returns only when something failed: 1, or 126 or 127 for the program."""
    try:
        entry = entry_of(arguments)
    except UsageError as error:
        print(f"nsbox nsenter: {error}\nTry 'nsbox nsenter --help' for more information.", file=sys.stderr)
        return 1
    if entry.show:
        print(f"{_USAGE}\n{help_text(OPTIONS)}" if entry.show == "help" else f"nsbox nsenter {_core.__version__}")
        return 0
    return carry_out("nsenter", entry.program, lambda: entering_steps(entry))
