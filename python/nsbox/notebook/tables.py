"""The output of %pstree, %lsns and %ps: the options of the commands, and pictures and tables instead of text.

Instead of a PID, the name of a variable of the notebook can be given: a shell, a box or a process.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from nsbox.cli import lsns as lsns_command
from nsbox.cli import ps as ps_command
from nsbox.cli import pstree as pstree_command
from nsbox.command.options import UsageError
from nsbox.errors import SpecError
from nsbox.notebook.options import words_of
from nsbox.notebook.sessions import Sessions
from nsbox.seeing.namespaces import NamespaceTable, lsns
from nsbox.seeing.proc import View
from nsbox.seeing.processes import ProcessTable, ps
from nsbox.seeing.target import pid_of
from nsbox.seeing.tree import ProcessTree
from nsbox.views import mime
from nsbox.views.svg import Document

__all__ = ["Drawing", "namespaces", "processes", "tree"]

_VIEW_BY_PROC: dict[bool, View] = {False: "namespace", True: "proc"}


@dataclass(frozen=True, slots=True)
class Drawing(mime.Picture):
    """A picture, and the text that the command prints."""

    text: str
    found: ProcessTree

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def drawn(self, *, legend: bool = True, width: int = mime.MAX_WIDTH) -> Document:
        """Draw the tree."""
        return self.found.drawn(legend=legend, width=width)


def tree(line: str, sessions: Sessions) -> Drawing | None:
    """Draw the tree that ``pstree`` with these options draws; None for ``--help``.

    For a name, the tree begins at this process, so that the marks of namespaces show how the named process differs.

    Raises:
        UsageError: for invalid options, and a process that does not exist.
    """
    options = _parsed("pstree", pstree_command.configure, _with_pids(line, sessions))
    if options is None:
        return None
    options.long, options.characters = True, options.characters or "utf8"
    found = pstree_command.read(options)
    what = options.what
    if what and what.isdecimal():
        pid, named = int(what), what not in words_of(line)
        try:
            if named and not options.show_parents and found.find(os.getpid()) in found.ancestors(pid):
                found = found.top(os.getpid()).lineage(pid)
            else:
                found = found.lineage(pid) if options.show_parents else found.top(pid)
        except ProcessLookupError:
            raise UsageError(f"there is no process {what}. To list all: %ps") from None
    elif what:
        raise UsageError(f"{what!r} is neither a PID nor the name of a shell, a box or a process")
    return Drawing(pstree_command.drawn(found, options), found)


def namespaces(line: str, sessions: Sessions) -> NamespaceTable | None:
    """Return the table that ``lsns`` with these options prints; None after printing text.

    Raises:
        UsageError: for invalid options.
    """
    words = words_of(line)
    if len(words) == 1 and sessions.is_target(words[0]):
        target = sessions.target(words[0])
        # Only the box itself can read the namespaces of its init.
        of_process = lsns().of_process
        table: NamespaceTable = target.lsns() if hasattr(target, "lsns") else of_process(pid_of(target, words[0]))
        return table
    options = _parsed("lsns", lsns_command.configure, _with_pids(line, sessions))
    if options is None:
        return None
    in_table = ("type", "task", "of", "proc", "notruncate", "nowrap")
    if any(value for name, value in vars(options).items() if name not in in_table):
        lsns_command.execute(options)
        return None
    found = lsns(of=options.of, view=_VIEW_BY_PROC[options.proc])
    if options.type:
        found = found.of_kind(options.type)
    return found if options.task is None else found.of_process(options.task)


def processes(line: str, sessions: Sessions) -> ProcessTable | None:
    """Return the table that ``ps`` prints; None for ``--help``.

    Raises:
        UsageError: for invalid options.
    """
    words = words_of(line)
    if len(words) == 1 and sessions.is_target(words[0]):
        return ps(of=sessions.target(words[0]))
    options = _parsed("ps", ps_command.configure, _with_pids(line, sessions))
    if options is None:
        return None
    pids = [word for given in [*options.pid, *options.style] for word in given.split(",") if word.isdecimal()]
    return ps(of=options.of, view=_VIEW_BY_PROC[options.proc], pids=map(int, pids) if pids else None)


class _Parser(argparse.ArgumentParser):
    """Raises an error where a command would exit."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parsed(
    name: str, configure: Callable[[argparse.ArgumentParser], None], words: Sequence[str]
) -> argparse.Namespace | None:
    parser = _Parser(prog=f"%{name}", allow_abbrev=False, conflict_handler="resolve")
    configure(parser)
    try:
        return parser.parse_args(words)
    except SystemExit:
        sys.stdout.flush()
        return None


def _with_pids(line: str, sessions: Sessions) -> list[str]:
    """Return the words of a line; names of variables are replaced by PIDs, as /proc has them.

    Raises:
        UsageError: for a process that has ended, or that cannot be found.
    """
    try:
        return [
            str(pid_of(sessions.target(word), word)) if sessions.is_target(word) else word for word in words_of(line)
        ]
    except SpecError as error:
        raise UsageError(str(error)) from None
