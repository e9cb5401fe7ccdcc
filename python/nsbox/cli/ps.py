"""``nsbox ps``: all processes, as ``ps aux`` shows them."""

from __future__ import annotations

import argparse
import re
import sys

from nsbox.cli import _output
from nsbox.tree import ps

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ps(1) that are in everybody's fingers."""
    parser.add_argument("style", nargs="*", metavar="aux", help="ignored: all processes are always shown")
    parser.add_argument("-e", "-A", "-f", action="store_true", dest="all", help="ignored, too")
    parser.add_argument("-p", "--pid", action="append", default=[], metavar="PID", help="only these processes")
    parser.add_argument("--of", type=int, metavar="PID", help="the processes that this process can see")


def execute(options: argparse.Namespace) -> int:
    """Print the table. As with ps(1), not to find any of the processes that were asked for is a failure."""
    words = [word for given in options.pid for word in re.split(r"[,\s]+", given) if word]
    wrong = [word for word in [*words, *options.style] if not word.isalnum() or (word in words and not word.isdecimal())]
    if wrong:
        print(f"nsbox ps: {wrong[0]!r} is no PID", file=sys.stderr)
        return 2
    # `ps 1 2` is `ps -p 1,2`.
    pids = [int(word) for word in [*words, *options.style] if word.isdecimal()]
    processes = ps(of=options.of, pids=pids or None)
    _output.write(processes.text(width=_output.width()))
    return 0 if processes else 1
