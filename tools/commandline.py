"""Generate the completions of shells and the man pages from the options of the commands.

    python tools/commandline.py [--check]

Needs shtab and argparse-manpage. All commands are put into one parser of argparse, which both of them read.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import shtab
from argparse_manpage.manpage import Manpage
from nsbox import _core
from nsbox.cli import COMMANDS, _arguments
from nsbox.cli.completion import SHELLS
from nsbox.cli.explain import OPTIONS as EXPLAIN
from nsbox.command.nsenter.request import OPTIONS as NSENTER
from nsbox.command.options import Option
from nsbox.command.unshare.request import OPTIONS as UNSHARE
from nsbox.command.unshare.request import RUN_OPTIONS as RUN
from nsbox.spec.kinds import KINDS
from nsbox.views.namespace_table import COLUMNS as NAMESPACE_COLUMNS
from nsbox.views.process_table import COLUMNS as PROCESS_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
COMPLETIONS = ROOT / "python/nsbox/cli/completions"
PAGES = ROOT / "wheel/data/share/man/man1"
TABLES: dict[str, Sequence[Option]] = {"unshare": UNSHARE, "nsenter": NSENTER, "run": RUN, "explain": EXPLAIN}
"""The commands whose options are not read by argparse."""

_KINDS = [kind.link for kind in KINDS.values()]
CHOICES: dict[str, dict[str, Iterable[str]]] = {
    "lsns": {"type": _KINDS, "tree": ("process", "parent", "owner"), "output": NAMESPACE_COLUMNS},
    "ps": {"format": [name.lower() for name in PROCESS_COLUMNS]},
    "doctor": {"require": KINDS},
}
"""Words that options take which check their values themselves, by the names of commands and options."""

_NO_PAGER = "do not show long output on a terminal by $PAGER"
_DIRECTORIES = {"DIR", "LAB"}
_FILES = {"FILE", "PATH", "SUBMISSION"}
_PROGRAM = {"bash": "_nsbox_program", "zsh": "_normal -p nsbox", "fish": "(__fish_complete_command)"}
_PREAMBLE = {
    "bash": """
# The words behind the options are a command line of their own.
_nsbox_program() { compgen -c -- "$1"; compgen -f -- "$1"; }
"""
}


def parser(*, optional: bool) -> argparse.ArgumentParser:
    """Return one parser for all commands.

    Args:
        optional: Whether options whose value can be omitted have one. It is written as ``--name=VALUE``, so for
            completion the next word is not their value.
    """
    whole = argparse.ArgumentParser(prog="nsbox", description="Linux namespaces: run things in them, see them.")
    whole.add_argument("--no-pager", action="store_true", help=_NO_PAGER)
    whole.add_argument("-V", "--version", action="store_true", help="print the version")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND")
    for name, meaning in sorted(COMMANDS.items()):
        one = commands.add_parser(name, help=meaning, description=meaning, conflict_handler="resolve")
        if name in TABLES:
            _add(one, TABLES[name], optional=optional)
        else:
            module = import_module(f"nsbox.cli.{name}")
            _arguments.parser_of(name, meaning, module)
            module.configure(one)
        _complete(one, CHOICES.get(name, {}))
    return whole


def _add(
    parser: argparse.ArgumentParser, table: Iterable[Option], *, program: bool = True, optional: bool = True
) -> None:
    """Add the options of a table, and the program behind them."""
    for option in table:
        if option.name == "help":
            continue
        names = [*([f"-{option.letter}"] if option.letter else []), f"--{option.name}"]
        meaning = option.meaning.replace("%", "%%")
        if not option.value or (option.optional and not optional):
            parser.add_argument(*names, action="store_true", help=meaning)
        else:
            parser.add_argument(*names, nargs="?" if option.optional else None, metavar=option.value, help=meaning)
    if program:
        words: Any = parser.add_argument("program", nargs=argparse.REMAINDER, help="the program and its arguments")
        words.complete = _PROGRAM


def _complete(parser: argparse.ArgumentParser, choices: Mapping[str, Iterable[str]]) -> None:
    """Say which arguments are files, and which words the options take."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _complete(below, choices)
            continue
        if action.dest in choices:
            action.choices = list(choices[action.dest])
        name = action.metavar
        if name in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif name in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]


def generated() -> dict[Path, str]:
    """Return the texts of all files."""
    # The files must not depend on the terminal: argparse breaks lines at its width.
    os.environ["COLUMNS"] = "10000"
    whole = parser(optional=False)
    files = {
        COMPLETIONS / file: shtab.complete(whole, shell, preamble=_PREAMBLE.get(shell, ""))
        for shell, file in SHELLS.items()
    }
    found = [action for action in parser(optional=True)._actions if isinstance(action, argparse._SubParsersAction)]
    commands = found[0]
    for name, one in commands.choices.items():
        one.prog = f"nsbox-{name}"
        files[PAGES / f"nsbox-{name}.1"] = _page(one, f"nsbox {name}", COMMANDS[name])
    overview = argparse.ArgumentParser(prog="nsbox", usage="nsbox [--no-pager] COMMAND ...")
    options = [Option("no-pager", meaning=_NO_PAGER), Option("version", "V", meaning="print the version")]
    _add(overview, options, program=False)
    group = overview.add_argument_group("commands", "Each has a page, such as nsbox-run(1).")
    for name, meaning in sorted(COMMANDS.items()):
        group.add_argument(name, help=meaning)
    files[PAGES / "nsbox.1"] = _page(overview, "nsbox", "run things in Linux namespaces, see them, and understand them")
    return files


def _page(parser: argparse.ArgumentParser, title: str, meaning: str) -> str:
    # The width is that of the reader; argparse must not wrap.
    page = Manpage(parser)
    page.date, page.source, page.manual, page.description = "", f"nsbox {_core.__version__}", "nsbox", meaning
    page.synopsis = [title, *page.synopsis[1:]]
    return f"{str(page).rstrip()}\n"


def main() -> int:
    """Write the files, or compare them; return the exit status."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="only compare")
    check = arguments.parse_args().check
    old = []
    for path, text in generated().items():
        if check:
            if not path.exists() or path.read_text() != text:
                old.append(path)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in old:
        print(f"{path.relative_to(ROOT)} is not what tools/commandline.py makes: make stubs", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
