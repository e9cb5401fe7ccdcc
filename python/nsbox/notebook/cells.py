"""A cell in a shell: what it writes is shown while it runs; it can be interrupted; it says how it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from IPython.display import display

from nsbox.errors import NsboxError, SpecError
from nsbox.start.shell import Shell
from nsbox.views.panel import Panel

__all__ = ["CellInterrupt", "CellTimeoutError", "type_cell"]

_CHECKED = ("bash", "dash", "sh", "ash", "ksh", "mksh")
# What a terminal takes ahead of those who read it (termios(3)), less the line that is typed behind a cell. Beyond it
# Ctrl-C would not be seen.
_LONGEST = 4000


class CellInterrupt(KeyboardInterrupt):
    """A cell that was interrupted. What ran in the foreground has ended."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class CellTimeoutError(NsboxError, TimeoutError):
    """A cell that took longer than its ``--timeout``. What ran in the foreground has ended."""


def type_cell(shell: Shell, cell: str, timeout: float | None, name: str) -> None:
    """Type a cell into a shell and show what it writes, and how it ended if that is worth a word.

    Args:
        shell: The shell.
        cell: The lines.
        timeout: Seconds after which it is interrupted; None for any time.
        name: What it is called; empty for a shell that ends with the cell.

    Raises:
        SpecError: for a cell that cannot be typed.
        CellInterrupt: when it was interrupted.
        CellTimeoutError: when the time was over.
    """
    _check(shell, cell)
    try:
        result = shell.run(cell.rstrip("\n"), timeout=timeout, output=_write)
    except KeyboardInterrupt:
        raise CellInterrupt(f"interrupted: {_what_is_left(shell, name)}") from None
    except subprocess.TimeoutExpired:
        raise CellTimeoutError(f"not over after {timeout:g} seconds: {_what_is_left(shell, name)}") from None
    if result.explanation:
        display(Panel("note", f"exit status {result.returncode}", (("why", result.explanation),)))
    elif not shell.alive:
        display(Panel("note", f"the shell {name or 'of the cell'} has ended with {_ended(result.returncode)}"))
    elif result.returncode:
        display(Panel("note", f"exit status {result.returncode}"))


def _check(shell: Shell, cell: str) -> None:
    """Refuse what would leave the shell waiting for the rest of a command."""
    if len(os.fsencode(cell)) > _LONGEST:
        raise SpecError(f"cell: it is typed ahead, and a terminal takes {_LONGEST} bytes of that; make two of it")
    if Path(shell.program).name not in _CHECKED:
        return
    checked = subprocess.run([shell.program, "-n"], input=os.fsencode(cell), capture_output=True, check=False)
    if checked.returncode:
        message = checked.stderr.decode(errors="replace").strip()
        raise SpecError(f"cell: nothing was typed, as the shell would not understand it\n{message}")


def _what_is_left(shell: Shell, name: str) -> str:
    if not name:
        return "everything in the cell has ended"
    if shell.alive:
        return f"what ran in the foreground has ended, and {name} goes on"
    return f"{name} did not answer any more, and was killed"


def _ended(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit status {returncode}"


def _write(text: str) -> None:
    # Bytes that are no UTF-8 cannot be sent to a page.
    sys.stdout.write(text.encode(errors="surrogateescape").decode(errors="replace"))
    sys.stdout.flush()
