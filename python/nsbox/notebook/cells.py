"""Type a cell into a shell, and show its output while it runs, and its exit status."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

from IPython.display import display

from nsbox.errors import NsboxError, SpecError
from nsbox.start.output import OutputLimit, OutputLimitError
from nsbox.start.shell import Shell
from nsbox.views.panel import Panel

__all__ = ["CellInterrupt", "CellOutputError", "CellTimeoutError", "type_cell"]

_WITH_SYNTAX_CHECK = ("bash", "dash", "sh", "ash", "ksh", "mksh")
"""Shells that check the syntax of their input with the option -n."""
_MAX_BYTES = 4000
"""The longest cell. A terminal keeps 4096 bytes that have not been read (termios(3)), and drops Ctrl-C after them; the
rest is for the line that is typed after a cell."""


class CellInterrupt(KeyboardInterrupt):
    """A cell was interrupted. Its foreground job has ended."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class CellTimeoutError(NsboxError, TimeoutError):
    """A cell took longer than its ``--timeout``. Its foreground job has ended."""


class CellOutputError(NsboxError):
    """A cell has written more than its ``--max-output``. Its foreground job has ended."""


def type_cell(shell: Shell, cell: str, timeout: float | None, name: str, max_output: OutputLimit | None = None) -> None:
    """Type a cell into a shell and show its output, and its exit status unless that is 0.

    Args:
        shell: The shell.
        cell: The lines.
        timeout: Seconds after which the cell is interrupted; None for no limit.
        name: The name of the shell; empty for a shell that exits after the cell.
        max_output: The limit for its output; None for no limit.

    Raises:
        SpecError: for a cell that cannot be typed.
        CellInterrupt: when the cell was interrupted.
        CellTimeoutError: after the timeout.
        CellOutputError: after more output than the limit.
    """
    _check(shell, cell)
    try:
        result = shell.run(cell.rstrip("\n"), timeout=timeout, output=_Written(max_output), max_output=max_output)
    except KeyboardInterrupt:
        raise CellInterrupt(f"interrupted: {_state(shell, name)}") from None
    except subprocess.TimeoutExpired:
        raise CellTimeoutError(f"timeout after {timeout:g} seconds: {_state(shell, name)}") from None
    except OutputLimitError as error:
        raise CellOutputError(f"more than {error.limit} bytes of output: {_state(shell, name)}") from None
    if result.truncated and max_output is not None:
        display(Panel("note", f"more than {max_output.bytes} bytes of output: the rest was dropped"))
    if result.explanation:
        display(Panel("note", f"exit status {result.returncode}", (("why", result.explanation),)))
    elif not shell.alive:
        display(Panel("note", f"the shell {name or 'of the cell'} {_exit(result.returncode)}"))
    elif result.returncode:
        display(Panel("note", f"exit status {result.returncode}"))


def _check(shell: Shell, cell: str) -> None:
    """Raise for a cell that is too long, or after which the shell would wait for the rest of a command."""
    if (length := len(os.fsencode(cell))) > _MAX_BYTES:
        raise SpecError(f"cell: it has {length} bytes, and a terminal takes {_MAX_BYTES}. Divide it into two cells")
    if Path(shell.program).name not in _WITH_SYNTAX_CHECK:
        return
    checked = subprocess.run([shell.program, "-n"], input=os.fsencode(cell), capture_output=True, check=False)
    if checked.returncode:
        message = checked.stderr.decode(errors="replace").strip()
        raise SpecError(f"cell: not run: syntax error\n{message}")


def _state(shell: Shell, name: str) -> str:
    if not name:
        return "everything in the cell was killed"
    if shell.alive:
        return f"the foreground job has ended; the shell {name} is still there"
    return f"the shell {name} did not react, and was killed"


def _exit(returncode: int) -> str:
    return f"was killed by signal {-returncode}" if returncode < 0 else f"exited with status {returncode}"


class _Written:
    """Shows output, up to the limit."""

    def __init__(self, limit: OutputLimit | None) -> None:
        self._room: float = math.inf if limit is None else limit.bytes

    def __call__(self, text: str) -> None:
        data = os.fsencode(text)
        if len(data) > self._room:
            data = data[: int(self._room)]
            text = os.fsdecode(data)
        self._room -= len(data)
        if text:
            _write(text)


def _write(text: str) -> None:
    # The messages of Jupyter are UTF-8; other bytes are replaced.
    sys.stdout.write(text.encode(errors="surrogateescape").decode(errors="replace"))
    sys.stdout.flush()
