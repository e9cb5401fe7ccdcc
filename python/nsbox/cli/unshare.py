"""``nsbox unshare``: the options, the order and the exit status of unshare(1), and errors that say why."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from nsbox.cli._exec_steps import exec_steps
from nsbox.command.unshare.request import OPTIONS, request_of
from nsbox.command.unshare.steps import steps_of

__all__ = ["main"]

_USAGE = """\
Usage: nsbox unshare [options] [program [argument...]]

Run a program in new namespaces, as unshare(1) does. This process becomes the
program; no nsbox-init supervises it. Without a program it becomes a shell.

For a program that is ended together with nsbox:   nsbox run
To see each step without carrying it out:          nsbox explain unshare ...
"""


def main(arguments: Sequence[str]) -> int:
    """Run the program; see `exec_steps`."""
    # As unshare(1): the children of a process that ignores SIGCHLD cannot be waited for (wait(2)).
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return exec_steps("unshare", _USAGE, OPTIONS, request_of, steps_of, arguments)
