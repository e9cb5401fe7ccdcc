"""The options of the cell magics: those of the commands with the same name, and a few more."""

from __future__ import annotations

import keyword
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from nsbox.command.nsenter import request as entry
from nsbox.command.options import Option, UsageError, parse, whole
from nsbox.command.unshare.request import HOLDING, OPTIONS, Request, max_output_of, request_from
from nsbox.spec.kinds import KINDS
from nsbox.start.output import OutputLimit

__all__ = ["BOX", "NSENTER", "UNSHARE", "Cell", "Entering", "Starting", "entering_of", "starting_of", "words_of"]

_MAGIC_ONLY = (
    Option("name", "", "NAME", meaning="keep it for later cells, as the variable NAME"),
    Option("new", "", meaning="end the one with that name, and start a new one"),
    Option("timeout", "", "SECONDS", meaning="interrupt the cell after this time"),
)
_WITHOUT = ("setuid", "setgid", "root")

UNSHARE = (*(option for option in OPTIONS if option.name not in _WITHOUT), *HOLDING, *_MAGIC_ONLY)
"""The options of %%unshare: those of unshare(1), and those that hold what runs inside."""

BOX = (
    *(option for option in UNSHARE if option.name not in ("fork", "kill-child") and option not in _MAGIC_ONLY),
    Option("hostname", "", "HOSTNAME", meaning="the host name in a new UTS namespace"),
    Option("pid-max", "", "NUMBER", meaning="one more than the highest PID of a new PID namespace"),
    *_MAGIC_ONLY,
)
"""The options of %%box: those of unshare(1) that make sense where nsbox-init is PID 1."""

_NSENTER_NAMES = ("all", "target", *KINDS, "preserve-credentials", "root", "wd", "help")
NSENTER = (*(option for option in entry.OPTIONS if option.name in _NSENTER_NAMES), *_MAGIC_ONLY)
"""The options of %%nsenter: those of nsenter(1) that do not need a process that becomes the program."""


@dataclass(slots=True)
class Cell:
    """The options that only the magics have.

    Attributes:
        name: The variable for the shell or box; empty if it ends after this cell.
        new: Whether a running one with that name is ended and a new one started.
        timeout: Seconds; None for no limit.
        max_output: The limit for what the cell writes; None for no limit.
        started_with: The other options and arguments. A cell with the same ones is typed into the running shell or box.
    """

    name: str = ""
    new: bool = False
    timeout: float | None = None
    max_output: OutputLimit | None = None
    started_with: tuple[str, ...] = ()


@dataclass(slots=True)
class Starting(Cell):
    """A shell or a box to start: the namespaces, and the program; see `Request`."""

    request: Request | None = None
    hostname: str | None = None
    pid_max: int | None = None


@dataclass(slots=True)
class Entering(Cell):
    """A shell to start in the namespaces of a process; see `nsbox.Join`."""

    help: bool = False
    target: str = ""
    kinds: tuple[str, ...] | None = None
    root: bool = False
    wd: bool = False
    preserve_credentials: bool = False


def words_of(line: str) -> list[str]:
    """Split the line of a magic.

    Raises:
        UsageError: for a missing closing quotation mark.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(str(error)) from None


def starting_of(table: Sequence[Option], line: str) -> Starting:
    """Read the line of ``%%unshare`` or ``%%box``.

    Raises:
        UsageError: for invalid options.
    """
    found, program = parse(table, words_of(line))
    cell = Starting()
    others = [(option, value) for option, value in found if not _read_magic_option(cell, option, value or "")]
    passed_on = []
    for option, value in others:
        if option.name == "hostname":
            cell.hostname = value
        elif option.name == "pid-max":
            cell.pid_max = whole(value or "", option.name, range(2**31))
        elif option.name == "kill-child" and (value or "KILL").upper().removeprefix("SIG") != "KILL":
            raise UsageError("--kill-child: only SIGKILL is possible; a notebook always kills what it has started")
        else:
            passed_on.append((option, value))
    cell.request = request_from(passed_on, program)
    cell.started_with = (*(f"{option.name}={value}" for option, value in others), *program)
    return cell


def entering_of(line: str) -> Entering:
    """Read the line of ``%%nsenter``.

    Raises:
        UsageError: for invalid options, or when there is no target.
    """
    found, rest = parse(NSENTER, words_of(line))
    cell = Entering(target=rest.pop(0) if rest and not rest[0].startswith("-") else "")
    # nsenter(1) stops at the first argument, the program. Here the target may come before the options.
    more, rest = parse(NSENTER, rest)
    kinds: list[str] = []
    for option, value in [*found, *more]:
        if _read_magic_option(cell, option, value or ""):
            continue
        if value and option.name in (*KINDS, "root", "wd"):
            # nsenter(1) takes the text after such an option for the name of a file.
            raise UsageError(
                f"--{option.name}: {value!r} would be a file; a cell enters a shell, a box or a process. "
                "For several namespaces, write each option by itself: -m -i -p"
            )
        if option.name in KINDS:
            kinds.append(option.name)
        elif option.name == "target":
            cell.target = value or ""
        elif option.name != "all":
            setattr(cell, option.name.replace("-", "_"), True)
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}: write commands into the cell, below the first line")
    if not cell.target and not cell.help and not cell.name:
        raise UsageError("no target is given. A target is the name of a shell or a box, or a PID: %%nsenter lab")
    cell.kinds = tuple(kinds) or None
    cell.started_with = tuple(
        f"{option.name}={value}" for option, value in [*found, *more] if option not in _MAGIC_ONLY
    )
    cell.started_with += (cell.target,) if cell.target else ()
    return cell


def _read_magic_option(cell: Cell, option: Option, value: str) -> bool:
    """Read an option into `cell` if it is one that only the magics have; return whether it is."""
    if option not in _MAGIC_ONLY and option.name != "max-output":
        return False
    if option.name == "max-output":
        cell.max_output = max_output_of(value)
    elif option.name == "name":
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
