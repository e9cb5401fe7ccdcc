"""``nsbox pstree``: the tree of processes, with the flags of pstree(1)."""

from __future__ import annotations

import argparse
import sys

from nsbox.cli import _output
from nsbox.tree import pstree

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of pstree(1)."""
    flags = {
        ("-S", "--ns-changes"): "show in which namespaces a process differs from its parent",
        ("-p", "--show-pids"): "show PIDs; implies -c",
        ("-g", "--show-pgids"): "show process groups",
        ("-u", "--uid-changes"): "show the user where it differs from the parent's",
        ("-a", "--arguments"): "show arguments",
        ("-c", "--compact-not"): "do not draw equal siblings as one",
        ("-n", "--numeric-sort"): "order by PID instead of name",
        ("-T", "--hide-threads"): "hide threads",
        ("-t", "--thread-names"): "show the threads' own names",
        ("-l", "--long"): "do not cut long lines",
        ("--mark-unknown",): "put a ? where namespaces could not be read",
    }
    for names, meaning in flags.items():
        parser.add_argument(*names, action="store_true", help=meaning)
    characters = parser.add_mutually_exclusive_group()
    characters.add_argument("-A", "--ascii", action="store_true", help="draw with ASCII characters")
    characters.add_argument("-U", "--unicode", action="store_true", help="draw with box drawing characters")
    parser.add_argument("--of", type=int, metavar="PID", help="the processes that this process can see")
    parser.add_argument("pid", nargs="?", type=int, metavar="PID", help="the process at the top, by default 1")


def execute(options: argparse.Namespace) -> int:
    """Print the tree, and what could not be found out."""
    found = pstree(options.pid, of=options.of, threads=not options.hide_threads)
    text = found.text(
        ns_changes=options.ns_changes,
        show_pids=options.show_pids,
        show_pgids=options.show_pgids,
        uid_changes=options.uid_changes,
        arguments=options.arguments,
        compact=not options.compact_not,
        threads=not options.hide_threads,
        thread_names=options.thread_names,
        numeric_sort=options.numeric_sort,
        ascii=options.ascii or not (options.unicode or _output.takes_box_drawing()),
        width=None if options.long else _output.width(),
        mark_unknown=options.mark_unknown,
    )
    _output.write(text)
    if options.ns_changes:
        # Only on standard error: what pstree prints is what pstree prints.
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)
    return 0
