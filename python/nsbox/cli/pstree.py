"""``nsbox pstree``: draw the tree of processes, with the options of pstree(1)."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys

from nsbox.cli import _output, _pager, _pictures
from nsbox.errors import SpecError
from nsbox.seeing.proc import View
from nsbox.seeing.tree import ProcessTree, pstree
from nsbox.spec.kinds import KINDS

__all__ = ["configure", "drawn", "execute", "read"]

_LINKS = [kind.link for kind in KINDS.values()]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of pstree(1)."""
    flags = {
        ("-S", "--ns-changes"): "mark where a process is not in the namespaces of its parent",
        ("-p", "--show-pids"): "show PIDs; implies -c",
        ("-g", "--show-pgids"): "show process groups",
        ("-u", "--uid-changes"): "show the user where it is not the user of the parent",
        ("-a", "--arguments"): "show arguments",
        ("-Z", "--security-context"): "show the label of the Linux security module",
        ("-c", "--compact-not"): "draw each of several equal children",
        ("-n", "--numeric-sort"): "order by PID instead of name",
        ("-s", "--show-parents"): "show the ancestors of the process as well",
        ("-T", "--hide-threads"): "hide threads",
        ("-t", "--thread-names"): "show the names of threads",
        ("-l", "--long"): "do not cut long lines",
        ("--mark-unknown",): "put a ? where namespaces could not be read",
    }
    for names, meaning in flags.items():
        parser.add_argument(*names, action="store_true", help=meaning)
    parser.add_argument("-N", "--ns-sort", choices=sorted(_LINKS), metavar="TYPE",
                        help="draw a forest for each namespace of this type")  # fmt: skip
    parser.add_argument(
        "-C",
        "--color",
        choices=["age"],
        type=str.lower,
        metavar="TYPE",
        help="colour the processes; the only TYPE is age",
    )
    bold = parser.add_mutually_exclusive_group()
    bold.add_argument("-h", "--highlight-all", action="store_true", help="show nsbox itself and its ancestors in bold")
    bold.add_argument(
        "-H", "--highlight-pid", type=int, metavar="PID", help="show the process PID and its ancestors in bold"
    )
    for names, characters in {
        ("-A", "--ascii"): "ascii",
        ("-U", "--unicode"): "utf8",
        ("-G", "--vt100"): "vt100",
    }.items():
        parser.add_argument(*names, action="store_const", const=characters, dest="characters",
                            help=f"draw with {characters} characters; the last of -A, -U and -G applies")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print a list of all processes and threads as JSON")
    _pictures.configure(parser)
    _pager.add_option(parser)
    parser.add_argument("--of", type=int, metavar="PID", help="look from the PID namespace of this process")
    parser.add_argument("--proc", action="store_true", help="with --of: read the /proc that the process itself sees")
    parser.add_argument("what", nargs="?", metavar="PID | USER",
                        help="the process at the top (default: 1), or a user, for all trees of that user")  # fmt: skip


def read(options: argparse.Namespace) -> ProcessTree:
    """Read the tree of all processes."""
    view: View = "proc" if options.proc else "namespace"
    return pstree(of=options.of, view=view, threads=not options.hide_threads, labels=options.security_context)


def execute(options: argparse.Namespace) -> int:
    """Print the tree, and notes about what could not be read; return the exit status."""
    highlight, bold = options.highlight_pid, ("", "")
    if options.highlight_all or highlight is not None:
        bold_or_reason = _bold()
        if isinstance(bold_or_reason, str) and highlight is not None:
            print(f"nsbox pstree: {bold_or_reason}", file=sys.stderr)
            return 1
        if not isinstance(bold_or_reason, str):
            bold = bold_or_reason
            highlight = os.getpid() if options.highlight_all else highlight
    pid, uid = None, None
    if options.what and options.what[0].isdigit():
        if not options.what.isdecimal():
            print(f"nsbox pstree: {options.what!r} is neither a PID nor the name of a user", file=sys.stderr)
            return 2
        pid = int(options.what)
    elif options.what:
        import pwd  # noqa: PLC0415 - only needed here

        try:
            uid = pwd.getpwnam(options.what).pw_uid
        except KeyError:
            print(f"nsbox pstree: No such user name: {options.what}", file=sys.stderr)
            return 1
    tree = read(options)
    trees = _trees(tree, pid, uid, options)
    # As pstree(1): a process that is not found is an error only with --show-parents.
    status = 0 if trees or (pid is not None and not options.show_parents) else 1
    if _written(options, trees):
        return status
    texts = [drawn(tree, options, highlight, bold, uid) for tree in trees]
    # A forest is empty where the caller may read no namespace.
    if any(texts):
        _pager.show("\n\n".join(texts), pager=not options.no_pager)
    if options.ns_changes:
        # On standard error, so that standard output is exactly that of pstree(1).
        for note in tree.notes:
            print(f"note: {note}", file=sys.stderr)
    return status


def _written(options: argparse.Namespace, trees: list[ProcessTree]) -> bool:
    """Print trees as JSON, or write pictures into files, if the options ask for it; return whether they do."""
    if options.json:
        _output.write(json.dumps({"processes": [entry for tree in trees for entry in tree.data()]}, indent=2))
        return True
    if options.svg is not None and (len(trees) != 1 or options.ns_sort):
        raise SpecError("--svg: a picture shows one tree: name a PID, without --ns-sort; --html takes several")
    pictures = [tree.svg for tree in trees]
    svg = pictures[0] if pictures else str
    return _pictures.write(options, "nsbox pstree", svg, lambda: "\n".join(picture() for picture in pictures))


def _trees(tree: ProcessTree, pid: int | None, uid: int | None, options: argparse.Namespace) -> list[ProcessTree]:
    """Return the trees to draw; none when the process or user is not found."""
    if options.ns_sort:
        return [tree]
    if uid is not None:
        found = list(tree.of_user(uid))
        if not found:
            print("nsbox pstree: No processes found.", file=sys.stderr)
        return found
    if pid is None:
        return [tree]
    try:
        return [tree.lineage(pid) if options.show_parents else tree.top(pid)]
    except ProcessLookupError:
        print(f"nsbox pstree: Process {pid} not found.", file=sys.stderr)
        return []


def drawn(
    tree: ProcessTree,
    options: argparse.Namespace,
    highlight: int | None = None,
    bold: tuple[str, str] = ("", ""),
    uid: int | None = None,
) -> str:
    """Return the tree as text, drawn as the options ask."""
    characters = options.characters or ("utf8" if _output.takes_box_drawing() else "ascii")
    return tree.text(
        ns_changes=options.ns_changes,
        show_pids=options.show_pids,
        show_pgids=options.show_pgids,
        uid_changes=options.uid_changes,
        arguments=options.arguments,
        security_context=options.security_context,
        compact=not options.compact_not,
        threads=not options.hide_threads,
        thread_names=options.thread_names,
        numeric_sort=options.numeric_sort,
        by=options.ns_sort,
        highlight=highlight,
        bold=bold,
        color=options.color,
        ascii=characters == "ascii",
        vt100=characters == "vt100",
        width=None if options.long else _output.width(),
        mark_unknown=options.mark_unknown,
        parent_owner=uid or 0,
    )


def _bold() -> tuple[str, str] | str:
    """Return the sequences that begin and end bold text on this terminal; or, as one text, why they are not known."""
    import curses  # noqa: PLC0415 - only for bold text

    if not os.environ.get("TERM"):
        return "TERM is not set"
    try:
        # The descriptor is only used for writing, and nothing is written.
        curses.setupterm(fd=sys.__stderr__.fileno() if sys.__stderr__ else 2)
    except curses.error:
        return "Can't get terminal capabilities"
    begin, end = _capability("bold"), _capability("sgr0")
    # sgr0 may end line drawing, too; the end of bold text must not (tgetstr "me" in ncurses).
    plain = re.sub(rb"\$<[^>]*>", b"", curses.tparm(curses.tigetstr("sgr") or b"", *[0] * 9))
    if plain.replace(b"[0m", b"[m") == end.replace(b"[0m", b"[m"):
        end = plain.replace(_capability("rmacs"), b"")
    return begin.decode("latin-1"), end.decode("latin-1")


def _capability(name: str) -> bytes:
    """Return a sequence for this terminal, without the delays for old terminals."""
    import curses  # noqa: PLC0415 - only for bold text

    return re.sub(rb"\$<[^>]*>", b"", curses.tigetstr(name) or b"")
