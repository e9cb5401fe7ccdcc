"""``nsbox nsenter``: the options, the order and the exit status of nsenter(1), and errors that say why."""

from __future__ import annotations

from collections.abc import Sequence

from nsbox.cli._exec_steps import exec_steps
from nsbox.command.nsenter.request import OPTIONS, entry_of
from nsbox.command.nsenter.steps import entering_steps

__all__ = ["main"]

_USAGE = """\
Usage: nsbox nsenter [options] [program [argument...]]

Run a program in the namespaces of a process, as nsenter(1) does. This process
becomes the program; no nsbox-init supervises it. Without a program it becomes
a shell.

As with nsenter(1), the program keeps the caller's rights unless --user is given.
With --mount or --root it comes from files that others may have replaced:
nsbox.enter in Python gives it only the rights of the processes there.

For a program that is ended together with its caller:  nsbox.enter in Python
To see each step without carrying it out:              nsbox explain nsenter ...
"""


def main(arguments: Sequence[str]) -> int:
    """Run the program; see `exec_steps`."""
    return exec_steps("nsenter", _USAGE, OPTIONS, entry_of, entering_steps, arguments)
