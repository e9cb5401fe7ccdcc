"""``nsbox ps``: list all processes, in the form of ``ps aux``."""

from __future__ import annotations

import argparse
import re
import sys

from nsbox.cli import _output, _pager, _pictures
from nsbox.seeing.proc import View
from nsbox.seeing.processes import ps
from nsbox.spec.nearest import did_you_mean
from nsbox.views.process_table import COLUMNS

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the usual arguments of ps(1)."""
    parser.add_argument("style", nargs="*", metavar="aux", help="ignored: all processes are listed")
    parser.add_argument("-e", "-A", "-f", action="store_true", dest="all", help="ignored, for the same reason")
    parser.add_argument("-p", "--pid", action="append", default=[], metavar="PID", help="list only these processes")
    parser.add_argument(
        "-o", "--format", action="append", type=columns_of, metavar="COLUMNS",
        help="print these columns, such as pid,outside,command; outside is the PID for you, pidns the PID namespace",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the columns as JSON")
    _pictures.configure(parser)
    _pager.add_option(parser)
    parser.add_argument("--of", type=int, metavar="PID", help="look from the PID namespace of this process")
    parser.add_argument("--proc", action="store_true", help="with --of: read the /proc that the process itself sees")


def _listing(text: str) -> str:
    from nsbox.views.pages import listing  # noqa: PLC0415 - only for files

    return listing("Processes", text)


def columns_of(given: str) -> list[str]:
    """Return the columns of the option -o, as ``pid,command``.

    Raises:
        argparse.ArgumentTypeError: for an unknown column.
    """
    names = [name.upper() for name in re.split(r"[,\s]+", given) if name]
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not names:
        known = [name.lower() for name in COLUMNS]
        similar = did_you_mean(unknown[0], known) if unknown else ""
        raise argparse.ArgumentTypeError(f"no column {given!r}; there are {', '.join(known)}{similar}")
    return names


def execute(options: argparse.Namespace) -> int:
    """Print the table; return 1, as ps(1), when none of the given processes is found."""
    pids = [pid for given in options.pid for pid in re.split(r"[,\s]+", given) if pid]
    # `ps 1 2` is `ps -p 1,2`.
    pids += [pid for pid in options.style if pid.isdecimal()]
    for pid in pids:
        if not pid.isdecimal():
            print(f"nsbox ps: not a PID: {pid!r}. A PID is a number, as in nsbox ps -p 1", file=sys.stderr)
            return 2
    view: View = "proc" if options.proc else "namespace"
    processes = ps(of=options.of, view=view, pids=map(int, pids) if pids else None)
    columns = [name for names in options.format or () for name in names] or None
    if options.json:
        _output.write(processes.json(columns=columns))
    elif not _pictures.write(
        options, "nsbox ps", lambda: _listing(processes.text(columns=columns)), lambda: processes.html(columns=columns)
    ):
        _pager.show(processes.text(columns=columns, width=_output.width()), pager=not options.no_pager)
    if processes.hidden:
        print(f"note: {len(processes.hidden)} more processes are hidden (hidepid, proc(5))", file=sys.stderr)
    return 0 if processes else 1
