"""``nsbox ps``: all processes, as ``ps aux`` shows them."""

from __future__ import annotations

import argparse
import re
import sys

from nsbox.cli import _output
from nsbox.seeing.proc import View
from nsbox.seeing.processes import ps

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ps(1) that are in everybody's fingers."""
    parser.add_argument("style", nargs="*", metavar="aux", help="ignored: all processes are always shown")
    parser.add_argument("-e", "-A", "-f", action="store_true", dest="all", help="ignored, too")
    parser.add_argument("-p", "--pid", action="append", default=[], metavar="PID", help="only these processes")
    parser.add_argument("--of", type=int, metavar="PID", help="the PID namespace that this process is in")
    parser.add_argument("--proc", action="store_true", help="with --of: what the process itself sees in its /proc")


def execute(options: argparse.Namespace) -> int:
    """Print the table. As with ps(1), not to find any of the processes that were asked for is a failure."""
    pids = [word for given in options.pid for word in re.split(r"[,\s]+", given) if word]
    # `ps 1 2` is `ps -p 1,2`.
    pids += [word for word in options.style if word.isdecimal()]
    for word in pids:
        if not word.isdecimal():
            print(f"nsbox ps: {word!r} is no PID", file=sys.stderr)
            return 2
    view: View = "proc" if options.proc else "namespace"
    processes = ps(of=options.of, view=view, pids=map(int, pids) if pids else None)
    _output.write(processes.text(width=_output.width()))
    if processes.hidden:
        print(f"note: {len(processes.hidden)} more may not be looked at (hidepid, proc(5))", file=sys.stderr)
    return 0 if processes else 1
