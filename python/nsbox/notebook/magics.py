"""The magics of a notebook; loading and unloading of the extension."""

from __future__ import annotations

import atexit
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from nsbox import _core
from nsbox.command.explain import Explanation, explain
from nsbox.command.options import help_text
from nsbox.diagnosis.doctor import Diagnosis, doctor
from nsbox.errors import NsboxError
from nsbox.notebook import report, tables
from nsbox.notebook.cells import type_cell
from nsbox.notebook.options import BOX, NSENTER, UNSHARE, Cell, entering_of, starting_of
from nsbox.notebook.sessions import Sessions
from nsbox.seeing.namespaces import NamespaceTable
from nsbox.seeing.processes import ProcessTable
from nsbox.start.shell import Shell

__all__ = ["Magics", "load", "unload"]

_NAMES: dict[Literal["line_cell", "line"], tuple[str, ...]] = {
    "line_cell": ("unshare", "nsenter", "box"),
    "line": ("pstree", "lsns", "ps", "nsdoctor", "explain"),
}
_loaded: dict[int, Magics] = {}


class Magics:
    """The magics of one IPython. The docstring of a method is what ``%%unshare?`` shows."""

    def __init__(self, shell: InteractiveShell) -> None:
        """Prepare the magics for an IPython; `register` adds them."""
        self._ipython = shell
        self._sessions = Sessions(shell.user_ns)

    def unshare(self, line: str, cell: str = "") -> None:
        """Type the cell into a shell in new namespaces, with the options of the command.

        The shell of ``%%unshare -mipf`` exits after the cell. With ``--name lab`` it stays, as the variable ``lab``,
        and ``%%unshare --name lab`` types a later cell into it. Without ``-f``, only the children of the shell are in a
        new PID namespace.
        """
        wanted = starting_of(UNSHARE, line)
        if wanted.request is not None and wanted.request.show:
            print(f"%%unshare [options] [shell]\n\n{help_text(UNSHARE)}")
            return
        self._type(wanted, self._sessions.unshared(wanted), cell)

    def nsenter(self, line: str, cell: str = "") -> None:
        """Type the cell into a shell in the namespaces of a process, with the options of the command.

        ``%%nsenter lab`` is a second terminal in the namespaces of the shell or box ``lab``. It exits after the cell,
        unless it has a ``--name``.
        """
        wanted = entering_of(line)
        if wanted.help:
            print(f"%%nsenter [options] [target]\n\n{help_text(NSENTER)}")
            return
        self._type(wanted, self._sessions.entered(wanted), cell)

    def box(self, line: str, cell: str = "") -> None:
        """Type the cell into a shell in a box, where nsbox-init is PID 1.

        The options are those of unshare(1); by default there are new mount, ipc and pid namespaces and a new /proc.
        With ``--name lab`` the box stays, as the variable ``lab``, and ``%%box --name lab`` uses it again.
        """
        wanted = starting_of(BOX, line)
        if wanted.request is not None and wanted.request.show:
            print(f"%%box [options]\n\n{help_text(BOX)}")
            return
        self._type(wanted, self._sessions.boxed(wanted), cell)

    def pstree(self, line: str) -> tables.Drawing | None:
        """Draw the tree of processes, with the options of the command; ``-S`` marks changes of namespaces.

        With a PID, or the name of a shell or a box, draw the tree below that process.
        """
        return tables.tree(line, self._sessions)

    def lsns(self, line: str) -> NamespaceTable | None:
        """List namespaces, with the options of the command. With the name of a shell or a box, list its namespaces."""
        return tables.namespaces(line, self._sessions)

    def ps(self, line: str) -> ProcessTable | None:
        """List processes. With the name of a shell or a box, list those in its PID namespace, with the PIDs inside."""
        return tables.processes(line, self._sessions)

    def nsdoctor(self, line: str) -> Diagnosis:
        """Show what this machine, user and container allow, why the rest is refused, and what to do."""
        del line
        return doctor()

    def explain(self, line: str) -> Explanation:
        """Explain each step of a command line (``unshare``, ``docker run``), or of the start of a shell or a box."""
        text = line.strip()
        return explain(self._sessions.target(text) if self._sessions.is_target(text) else text)

    def register(self) -> None:
        """Add the magics to IPython."""
        for kind, names in _NAMES.items():
            for name in names:
                self._ipython.register_magic_function(getattr(self, name), kind, name)
        self._ipython.set_custom_exc((NsboxError,), _show)
        formatter = self._ipython.display_formatter
        if formatter is not None:
            formatter.mimebundle_formatter.for_type(_core.Plan, lambda plan, **_: explain(plan)._repr_mimebundle_())
        atexit.register(self.close)

    def close(self) -> None:
        """End all shells and boxes that cells have started."""
        atexit.unregister(self.close)
        self._sessions.close()

    def unregister(self) -> None:
        """Remove the magics from IPython."""
        self.close()
        for kind, names in _NAMES.items():
            for name in names:
                for table in kind.split("_"):
                    self._ipython.magics_manager.magics[table].pop(name, None)
        self._ipython.set_custom_exc((), None)

    def _type(self, wanted: Cell, session: AbstractContextManager[Shell], cell: str) -> None:
        with session as shell:
            if cell.strip():
                type_cell(shell, cell, wanted.timeout, wanted.name, wanted.max_output)


def _show(
    shell: InteractiveShell, kind: type[NsboxError], error: NsboxError, trace: TracebackType, tb_offset: int | None
) -> None:
    """Show the error of a cell: a panel, and an error output, which nbclient and nbgrader look for."""
    del tb_offset
    display(report.panel_of(error))
    if isinstance(error, NsboxError):
        error._panel_is_shown = True
    shell.showtraceback((kind, error, trace), running_compiled_code=True)


def load(shell: InteractiveShell) -> None:
    """Load the extension."""
    magics = _loaded[id(shell)] = Magics(shell)
    magics.register()


def unload(shell: InteractiveShell) -> None:
    """Unload the extension, and end all shells and boxes that cells have started."""
    if (magics := _loaded.pop(id(shell), None)) is not None:
        magics.unregister()
