"""The shells and boxes that cells are typed into. Those with a name are variables of the notebook."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from IPython.display import display

from nsbox.box.box import Box
from nsbox.command.options import UsageError
from nsbox.command.unshare.request import popen_options
from nsbox.notebook.options import Cell, Entering, Starting
from nsbox.spec.joins import Join
from nsbox.start.fork_exec import fork_exec
from nsbox.start.shell import POSIX_SHELLS, Shell
from nsbox.views.panel import Panel

__all__ = ["Sessions"]

T = TypeVar("T", Shell, Box)


class Sessions:
    """What cells are typed into.

    A shell or a box that was made in Python can be used by its variable, too.
    """

    def __init__(self, variables: dict[str, Any]) -> None:
        """Use these variables."""
        self._variables = variables
        self._made: dict[str, tuple[Shell | Box, tuple[str, ...]]] = {}
        self._shells: list[tuple[Box, Shell]] = []

    @contextlib.contextmanager
    def unshared(self, cell: Starting) -> Iterator[Shell]:
        """Give the shell of ``%%unshare``, started if need be; one without a name ends here.

        Raises:
            UsageError: when it has no name and no namespaces, or the name means something else.
            SpawnError: when it cannot be started.
        """
        with self._kept(cell, Shell, "unshare", functools.partial(_unshared, cell)) as shell:
            yield shell

    @contextlib.contextmanager
    def entered(self, cell: Entering) -> Iterator[Shell]:
        """Give the shell of ``%%nsenter``, in the same way.

        Raises:
            UsageError: when the target or the name means something else.
            SpawnError: when it cannot be started.
        """

        def start() -> Shell:
            if not cell.target:
                raise UsageError(f"there is no shell named {cell.name!r}: a target starts one")
            join = Join(self.target(cell.target), cell.kinds, cell.root, cell.wd, cell.preserve_credentials)
            return Shell._within(functools.partial(fork_exec, unshare="", join=join), timeout=None)

        with self._kept(cell, Shell, "nsenter", start) as shell:
            yield shell

    @contextlib.contextmanager
    def boxed(self, cell: Starting) -> Iterator[Shell]:
        """Give the shell in the box of ``%%box``: a box has one over cells, and gets another when that has ended.

        Raises:
            UsageError: when the name means something else.
            SpawnError: when it cannot be started.
        """
        with self._kept(cell, Box, "box", functools.partial(_boxed, cell)) as box:
            self._shells = [(one, shell) for one, shell in self._shells if one.alive and shell.alive]
            shell = next((shell for one, shell in self._shells if one is box), None)
            if shell is None:
                shell = box.shell(timeout=None)
                self._shells.append((box, shell))
            try:
                yield shell
            finally:
                if not cell.name:
                    shell.exit()

    def target(self, word: str) -> Any:
        """Return whom a word names: a PID, or the value of a variable.

        Raises:
            UsageError: when it is neither.
        """
        if word.isascii() and word.isdecimal():
            return int(word)
        if word not in self._variables:
            raise UsageError(f"{word!r} is neither a PID nor a variable, such as the name of a shell or a box")
        return self._variables[word]

    def knows(self, word: str) -> bool:
        """Whether a word is a variable that stands for a process or a box."""
        return word.isidentifier() and hasattr(self._variables.get(word), "pid")

    def close(self) -> None:
        """End everything that was started here."""
        for _, shell in self._shells:
            shell.__exit__(None, None, None)
        for one, _ in self._made.values():
            one.__exit__(None, None, None)
        self._shells, self._made = [], {}

    @contextlib.contextmanager
    def _kept(self, cell: Cell, kind: type[T], magic: str, start: Callable[[], T]) -> Iterator[T]:
        if not cell.name:
            with start() as one:
                _tell_added(one)
                yield one
            return
        one_or_none = self._alive(cell, kind, magic)
        if one_or_none is None:
            one_or_none = start()
            before, _ = self._made.get(cell.name, (None, ()))
            self._variables[cell.name] = one_or_none
            self._made[cell.name] = (one_or_none, cell.words)
            if before is not None:
                # Its variable may have been deleted while it was alive.
                before.__exit__(None, None, None)
            _tell_added(one_or_none)
        yield one_or_none

    def _alive(self, cell: Cell, kind: type[T], magic: str) -> T | None:
        """Return what has the name and goes on, if it was asked for like this."""
        value = self._variables.get(cell.name)
        if value is None:
            return None
        made, words = self._made.get(cell.name, (None, ()))
        if not isinstance(value, kind) or (cell.new and value is not made):
            raise UsageError(f"--name: {cell.name!r} is a variable that %%{magic} has not made: {value!r}")
        if cell.new:
            value.__exit__(None, None, None)
        if not value.alive:
            return None
        if cell.words and (value is not made or cell.words != words):
            raise UsageError(
                f"{cell.name!r} is there already, and was not started like this. "
                f"next: %%{magic} --name {cell.name} goes on with it; --new starts it anew"
            )
        return value


def _unshared(cell: Starting) -> Shell:
    request = cell.request
    assert request is not None
    if not request.kinds:
        if cell.name:
            raise UsageError(f"there is no shell named {cell.name!r}: namespaces start one, as in -mipf")
        raise UsageError("no namespaces are given: %%unshare -mipf, for example")
    if request.program and (len(request.program) > 1 or request.program[0].rpartition("/")[2] not in POSIX_SHELLS):
        raise UsageError("a cell is typed into a shell; for another program there is nsbox.run(...)")
    options = popen_options(request)
    if "user" in request.kinds:
        # As the command: without an option for it there is no map.
        options.setdefault("map_root_user", False)
    where = {"shell": request.program[0] if request.program else None, "cwd": options.pop("cwd", None)}
    return Shell(**options, **where, fork=request.fork, timeout=None)


def _boxed(cell: Starting) -> Box:
    request = cell.request
    assert request is not None
    if request.program:
        raise UsageError(f"unexpected argument {request.program[0]!r}: the cell is what is typed")
    options = popen_options(request)
    if cell.hostname is not None:
        options["hostname"] = cell.hostname
    if cell.pid_max is not None:
        options["pid_max"] = cell.pid_max
    return Box(**options)


def _tell_added(one: Shell | Box) -> None:
    for namespace, reason in one.plan.added:
        display(Panel("note", f"a new {namespace} namespace was added", (("why", f"{reason}; inside, you are root"),)))
