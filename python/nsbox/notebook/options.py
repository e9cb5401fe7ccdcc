"""The options of the cell magics: those of the commands they are named after, and a few of their own."""

from __future__ import annotations

import keyword
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from nsbox.command.nsenter import request as entry
from nsbox.command.options import Option, UsageError, parse
from nsbox.command.unshare.request import OPTIONS, Request, request_from
from nsbox.spec.kinds import KINDS

__all__ = ["BOX", "NSENTER", "UNSHARE", "Cell", "Entering", "Starting", "entering_of", "starting_of", "words_of"]

_OWN = (
    Option("name", "", "NAME", meaning="keep it over cells, as the variable NAME"),
    Option("new", "", meaning="end what has that name, and start anew"),
    Option("timeout", "", "SECONDS", meaning="interrupt the cell after that time"),
)
_NOT_HERE = ("setuid", "setgid", "root")

UNSHARE = (*(option for option in OPTIONS if option.name not in _NOT_HERE), *_OWN)
"""Those of unshare(1)."""

BOX = (
    *(option for option in UNSHARE if option.name not in ("fork", "kill-child") and option not in _OWN),
    Option("hostname", "", "HOSTNAME", meaning="the host name in a new UTS namespace"),
    Option("pid-max", "", "NUMBER", meaning="one more than the highest PID of a new PID namespace"),
    *_OWN,
)
"""Those of unshare(1) that make sense where nsbox-init is PID 1."""

_ENTERED = ("all", "target", *KINDS, "preserve-credentials", "root", "wd", "help")
NSENTER = (*(option for option in entry.OPTIONS if option.name in _ENTERED), *_OWN)
"""Those of nsenter(1), except for what only a process that becomes the program can do."""


@dataclass(slots=True)
class Cell:
    """What the magics' own options say.

    Attributes:
        name: The variable that keeps what is started; empty for nothing beyond this cell.
        new: Whether it is started anew.
        timeout: Seconds; None for any time.
        words: What decides about what is started: a cell with the same words goes on with it.
    """

    name: str = ""
    new: bool = False
    timeout: float | None = None
    words: tuple[str, ...] = ()


@dataclass(slots=True)
class Starting(Cell):
    """A shell or a box to be started: the namespaces, and the program; see `Request`."""

    request: Request | None = None
    hostname: str | None = None
    pid_max: int | None = None


@dataclass(slots=True)
class Entering(Cell):
    """A shell to be started in namespaces that exist; see `nsbox.Join`."""

    help: bool = False
    target: str = ""
    kinds: tuple[str, ...] | None = None
    root: bool = False
    wd: bool = False
    preserve_credentials: bool = False


def words_of(line: str) -> list[str]:
    """Split the line of a magic.

    Raises:
        UsageError: for a quotation that does not end.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(str(error)) from None


def starting_of(table: Sequence[Option], line: str) -> Starting:
    """Read the line of ``%%unshare`` or ``%%box``.

    Raises:
        UsageError: for what cannot be understood.
    """
    found, program = parse(table, words_of(line))
    cell = Starting()
    others = [(option, value) for option, value in found if not _read_own(cell, option, value or "")]
    passed_on = []
    for option, value in others:
        if option.name == "hostname":
            cell.hostname = value
        elif option.name == "pid-max":
            cell.pid_max = _whole(option.name, value or "")
        elif option.name == "kill-child" and (value or "KILL").upper().removeprefix("SIG") != "KILL":
            raise UsageError("--kill-child: what a notebook leaves behind is always killed, and by no other signal")
        else:
            passed_on.append((option, value))
    cell.request = request_from(passed_on, program)
    cell.words = (*(f"{option.name}={value}" for option, value in others), *program)
    return cell


def entering_of(line: str) -> Entering:
    """Read the line of ``%%nsenter``.

    Raises:
        UsageError: for what cannot be understood, or when there is no target.
    """
    found, rest = parse(NSENTER, words_of(line))
    cell = Entering(target=rest.pop(0) if rest and not rest[0].startswith("-") else "")
    # nsenter(1) stops at the first argument, as a program begins there; here the target may come first, too.
    more, rest = parse(NSENTER, rest)
    kinds: list[str] = []
    for option, value in [*found, *more]:
        if _read_own(cell, option, value or ""):
            continue
        if value and option.name in (*KINDS, "root", "wd"):
            # nsenter(1) takes what is attached to such an option for a file.
            raise UsageError(
                f"--{option.name}: {value!r} would be a file; a cell enters a shell, a box or a process. "
                "For several namespaces an option each: -m -i -p"
            )
        if option.name in KINDS:
            kinds.append(option.name)
        elif option.name == "target":
            cell.target = value or ""
        elif option.name != "all":
            setattr(cell, option.name.replace("-", "_"), True)
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}: the cell is what is typed")
    if not cell.target and not cell.help and not cell.name:
        raise UsageError("no target is given: the name of a shell or a box, or a PID")
    cell.kinds = tuple(kinds) or None
    cell.words = tuple(f"{option.name}={value}" for option, value in [*found, *more] if option not in _OWN)
    cell.words += (cell.target,) if cell.target else ()
    return cell


def _read_own(cell: Cell, option: Option, value: str) -> bool:
    """Take one of the magics' own options; tell whether it was one."""
    if option not in _OWN:
        return False
    if option.name == "name":
        if not value.isidentifier() or keyword.iskeyword(value):
            raise UsageError(f"--name: {value!r} cannot be the name of a variable")
        cell.name = value
    elif option.name == "new":
        cell.new = True
    else:
        try:
            cell.timeout = float(value)
        except ValueError:
            cell.timeout = -1.0
        if not 0 < cell.timeout < math.inf:
            raise UsageError(f"failed to parse timeout: '{value}'")
    return True


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise UsageError(f"failed to parse {name}: '{value}'")
    return int(value)
