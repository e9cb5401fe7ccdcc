"""``nsbox lsns``: list namespaces, with the options of lsns(8)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from nsbox.cli import _output, _pager, _pictures
from nsbox.errors import SpecError
from nsbox.seeing.namespaces import NamespaceTable, lsns
from nsbox.seeing.proc import View, open_proc, read_from
from nsbox.spec.kinds import KINDS
from nsbox.spec.nearest import did_you_mean
from nsbox.views import namespace_table

__all__ = ["configure", "execute"]

_KINDS = {kind.link: name for name, kind in KINDS.items()}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of lsns(8)."""
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("-J", "--json", action="store_true", help="print JSON")
    forms.add_argument("-r", "--raw", action="store_true", help="print columns without alignment, with blanks escaped")
    _pictures.configure(parser)
    _pager.add_option(parser)
    trees = parser.add_mutually_exclusive_group()
    trees.add_argument("-l", "--list", action="store_true", help="print a list instead of a tree")
    trees.add_argument("-T", "--tree", nargs="?", const="owner", metavar="RELATION",
                       help="print a tree of this relation: process, parent or owner; default: owner")  # fmt: skip
    parser.add_argument("-n", "--noheadings", action="store_true", help="print no headings")
    parser.add_argument(
        "-o", "--output", metavar="LIST", help="print these columns; with +LIST, these and the usual ones"
    )
    parser.add_argument("--output-all", action="store_true", help="print all columns")
    parser.add_argument("-H", "--list-columns", action="store_true", help="list all columns")
    parser.add_argument("-Q", "--filter", metavar="EXPRESSION",
                        help="print only rows that match, for example NPROCS > 1 && TYPE == 'pid'")  # fmt: skip
    parser.add_argument("-u", "--notruncate", action="store_true", help="do not cut long commands")
    parser.add_argument("-W", "--nowrap", action="store_true", help="print all mount points on one line")
    parser.add_argument("-t", "--type", action="append", default=[], metavar="TYPE",
                        help=f"only namespaces of this type ({', '.join(_KINDS)})")  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument("-P", "--persistent", action="store_true", help="only namespaces without processes")
    which.add_argument("-p", "--task", type=int, metavar="PID", help="only the namespaces of this process")
    parser.add_argument("--of", type=int, metavar="PID", help="look from the PID namespace of this process")
    parser.add_argument("--proc", action="store_true", help="with --of: read the /proc that the process itself sees")
    parser.add_argument(
        "namespace", nargs="?", type=int, metavar="NAMESPACE", help="list the processes in this namespace"
    )
    columns = "\n".join(f"  {name:8} {meaning}" for name, meaning in namespace_table.COLUMNS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"columns:\n{columns}"


def execute(options: argparse.Namespace) -> int:
    """Print the table; return the exit status."""
    form: Any = "json" if options.json else "raw" if options.raw else "human"
    if options.list_columns:
        _output.write(namespace_table.columns_listed(form))
        return 0
    chosen_by = None if options.filter is None else namespace_table.filter_of(options.filter)
    tree = (options.tree or "").removeprefix("=") or None
    problem = None
    if tree not in (None, "process", "parent", "owner"):
        problem = f"unknown tree type: {tree}. The types are process, parent and owner"
        problem += did_you_mean(tree, ["process", "parent", "owner"])
    elif unknown := [name for name in options.type if name not in _KINDS]:
        problem = f"unknown namespace type: {unknown[0]}. The types are {', '.join(_KINDS)}"
        problem += did_you_mean(unknown[0], [*_KINDS, *KINDS])
    elif options.task is not None and options.namespace is not None:
        problem = "--task is mutually exclusive with <namespace>"
    if problem:
        print(f"nsbox lsns: {problem}", file=sys.stderr)
        return 1
    view: View = "proc" if options.proc else "namespace"
    found = lsns(of=options.of, view=view)
    if options.type:
        found = found.of_kind([_KINDS[name] for name in options.type])
    columns = _columns(options)
    if tree is None and not options.list and (options.namespace is not None or not options.output_all):
        tree = "process"
    relation: Any = tree
    drawing: dict[str, Any] = {
        "columns": columns,
        "form": form,
        "chosen_by": chosen_by,
        "headings": not options.noheadings,
        "ascii": not _output.is_utf8(),
        "one_line": options.nowrap,
        "width": None if options.notruncate else _output.terminal_width(),
    }
    if options.namespace is not None:
        return _print_members(found, options, view, drawing, tree is not None)
    related = {namespace.id: namespace for namespace in found}
    if options.task is not None:
        found = found.of_process(options.task)
    shown = [namespace for namespace in found if not options.persistent or not namespace.process_count]
    _show(options, partial(namespace_table.table, shown, tree=relation, related=related), drawing)
    return 0


def _show(options: argparse.Namespace, draw: Callable[..., str], drawing: dict[str, Any]) -> None:
    """Print a table, or write it into the files that the options name."""

    def svg() -> str:
        from nsbox.views.pages import listing  # noqa: PLC0415 - only for files

        return listing("Namespaces", draw(**drawing | {"form": "human", "ascii": False, "width": None}))

    if _pictures.write(options, "nsbox lsns", svg, lambda: draw(**drawing | {"form": "html"})):
        return
    if text := draw(**drawing):
        _pager.show(text, pager=not options.no_pager)


def _columns(options: argparse.Namespace) -> list[str]:
    if options.output_all:
        return list(namespace_table.COLUMNS)
    if options.namespace is not None:
        columns = list(namespace_table.PROCESS_COLUMNS)
    else:
        columns = list(namespace_table.DEFAULT_COLUMNS)
        if "net" in options.type:
            columns[-1:-1] = ["NETNSID", "NSFS"]
    if options.output:
        wanted = options.output.removeprefix("+").upper().split(",")
        columns = columns + wanted if options.output.startswith("+") else wanted
    for column in columns:
        if column not in namespace_table.COLUMNS:
            similar = did_you_mean(column, namespace_table.COLUMNS).removesuffix("?")
            raise SpecError(f"unknown column: {column}{similar}. To list all: nsbox lsns --list-columns")
    return columns


def _print_members(
    found: NamespaceTable, options: argparse.Namespace, view: View, drawing: dict[str, Any], tree: bool
) -> int:
    namespace = found.find(options.namespace)
    if namespace is None:
        print(f"nsbox lsns: no namespace {options.namespace}. To list all: nsbox lsns", file=sys.stderr)
        return 1
    pids = [process.pid for process in found.processes_in(namespace.id)]
    members, _ = read_from(open_proc(options.of, view, None), ["cmdline"], pids)
    _show(options, partial(namespace_table.members, members, namespace, tree=tree), drawing)
    return 0
