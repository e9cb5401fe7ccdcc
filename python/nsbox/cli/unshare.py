"""``nsbox unshare``: the options, the order and the exit status of unshare(1), and errors that say why."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from nsbox.cli._become import carry_out, understood
from nsbox.command.unshare.request import OPTIONS, request_of
from nsbox.command.unshare.steps import steps_of

__all__ = ["main"]

_USAGE = """\
Usage: nsbox unshare [options] [program [argument...]]

Run a program in new namespaces, as unshare(1) does: this process becomes the program, and nothing supervises it.
nsbox run is the safe variant, and nsbox explain shows what happens.
"""


def main(arguments: Sequence[str]) -> int:
    """Do it. Without `--fork` this returns only when something failed: 1, or 126 or 127 for the program."""
    request = understood("unshare", _USAGE, OPTIONS, request_of, arguments)
    if isinstance(request, int):
        return request
    # As unshare(1): the children of a process that ignores it are nobody's to wait for (wait(2)).
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return carry_out("unshare", request.program, lambda: steps_of(request))
