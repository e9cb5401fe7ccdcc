"""pstree, lsns and ps as a cell shows them: the options of the commands, and pictures and tables for the output.

A word that is the name of a shell, a box or a process in the notebook stands for its PID.
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
from nsbox.notebook.options import words_of
from nsbox.notebook.sessions import Sessions
from nsbox.seeing.namespaces import NamespaceTable, lsns
from nsbox.seeing.proc import View
from nsbox.seeing.processes import ProcessTable, ps
from nsbox.views import mime

__all__ = ["Drawing", "namespaces", "processes", "tree"]

_PROC: dict[bool, View] = {False: "namespace", True: "proc"}


@dataclass(frozen=True, slots=True)
class Drawing(mime.Picture):
    """A picture with the text that the command prints."""

    words: str
    picture: str

    def __str__(self) -> str:
        """Return the text."""
        return self.words

    def svg(self) -> str:
        """Return the picture."""
        return self.picture


def tree(line: str, sessions: Sessions) -> Drawing | None:
    """Draw what ``pstree`` with these options draws; None if only its help was wanted.

    For what has a name it is the tree from this process down to that, as its namespaces show in the difference.

    Raises:
        UsageError: for options that cannot be understood, and a process or user that there is not.
    """
    options = _parsed("pstree", pstree_command.configure, _numbered(line, sessions))
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
            raise UsageError(f"there is no process {what}") from None
    elif what:
        raise UsageError(f"{what!r} is neither a PID nor the name of a shell, a box or a process")
    return Drawing(pstree_command.drawn(found, options), found.svg())


def namespaces(line: str, sessions: Sessions) -> NamespaceTable | None:
    """Return the table that ``lsns`` with these options prints; None if it was printed as text.

    Raises:
        UsageError: for options that cannot be understood.
    """
    words = words_of(line)
    if len(words) == 1 and sessions.knows(words[0]):
        target = sessions.target(words[0])
        # Nobody but the box itself may look at its init.
        of_it: NamespaceTable = target.lsns() if hasattr(target, "lsns") else lsns().of_process(target.pid)
        return of_it
    options = _parsed("lsns", lsns_command.configure, _numbered(line, sessions))
    if options is None:
        return None
    shown = ("type", "task", "of", "proc", "notruncate", "nowrap")
    if any(value for name, value in vars(options).items() if name not in shown):
        lsns_command.execute(options)
        return None
    found = lsns(of=options.of, view=_PROC[options.proc])
    if options.type:
        found = found.of_kind(options.type)
    return found if options.task is None else found.of_process(options.task)


def processes(line: str, sessions: Sessions) -> ProcessTable | None:
    """Return the table that ``ps`` prints; None if only its help was wanted.

    Raises:
        UsageError: for options that cannot be understood.
    """
    words = words_of(line)
    if len(words) == 1 and sessions.knows(words[0]):
        return ps(of=sessions.target(words[0]))
    options = _parsed("ps", ps_command.configure, _numbered(line, sessions))
    if options is None:
        return None
    pids = [word for given in [*options.pid, *options.style] for word in given.split(",") if word.isdecimal()]
    return ps(of=options.of, view=_PROC[options.proc], pids=map(int, pids) if pids else None)


class _Parser(argparse.ArgumentParser):
    """Raises where a command would exit."""

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


def _numbered(line: str, sessions: Sessions) -> list[str]:
    """Return the words of a line, with PIDs in the place of names."""
    return [str(sessions.target(word).pid) if sessions.knows(word) else word for word in words_of(line)]
