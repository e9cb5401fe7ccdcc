"""``nsbox nsenter``: the options, the order and the exit status of nsenter(1), and errors that say why."""

from __future__ import annotations

from collections.abc import Sequence

from nsbox.cli._become import carry_out, understood
from nsbox.command.nsenter.request import OPTIONS, entry_of
from nsbox.command.nsenter.steps import entering_steps

__all__ = ["main"]

_USAGE = """\
Usage: nsbox nsenter [options] [program [argument...]]

Run a program in namespaces of another process, as nsenter(1) does: this process becomes the program, and nothing
supervises it. nsbox.enter is the safe variant in Python, and nsbox explain shows what happens.
"""


def main(arguments: Sequence[str]) -> int:
    """Do it. Without a fork this returns only when something failed: 1, or 126 or 127 for the program."""
    entry = understood("nsenter", _USAGE, OPTIONS, entry_of, arguments)
    if isinstance(entry, int):
        return entry
    return carry_out("nsenter", entry.program, lambda: entering_steps(entry))
