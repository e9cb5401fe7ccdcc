"""The shells and boxes into which cells are typed. Those with a name are variables of the notebook."""

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
    """The shells and boxes of one notebook.

    A shell or a box that was made in Python can be used as well, by the name of its variable.
    """

    def __init__(self, variables: dict[str, Any]) -> None:
        """Use the variables of a notebook."""
        self._variables = variables
        self._made: dict[str, tuple[Shell | Box, tuple[str, ...]]] = {}
        self._shells: list[tuple[Box, Shell]] = []

    @contextlib.contextmanager
    def unshared(self, cell: Starting) -> Iterator[Shell]:
        """Return the shell of ``%%unshare``; start it if necessary. A shell without a name exits after the block.

        Raises:
            UsageError: when no namespaces are given, or the name is that of another variable.
            SpawnError: when it cannot be started.
        """
        with self._kept(cell, Shell, "unshare", functools.partial(_unshared, cell)) as shell:
            yield shell

    @contextlib.contextmanager
    def entered(self, cell: Entering) -> Iterator[Shell]:
        """Return the shell of ``%%nsenter``, in the same way.

        Raises:
            UsageError: when the target is not a process, or the name is that of another variable.
            SpawnError: when it cannot be started.
        """

        def start() -> Shell:
            if not cell.target:
                raise UsageError(f"no shell is named {cell.name!r}. To start it: %%nsenter TARGET --name {cell.name}")
            join = Join(self.target(cell.target), cell.kinds, cell.root, cell.wd, cell.preserve_credentials)
            return Shell._within(functools.partial(fork_exec, unshare="", join=join), timeout=None)

        with self._kept(cell, Shell, "nsenter", start) as shell:
            yield shell

    @contextlib.contextmanager
    def boxed(self, cell: Starting) -> Iterator[Shell]:
        """Return the shell in the box of ``%%box``. All cells use the same shell; after its exit, a new one is started.

        Raises:
            UsageError: when the name is that of another variable.
            SpawnError: when it cannot be started.
        """
        with self._kept(cell, Box, "box", functools.partial(_boxed, cell)) as box:
            self._shells = [pair for pair in self._shells if pair[0].alive and pair[1].alive]
            shell = next((shell for of, shell in self._shells if of is box), None)
            if shell is None:
                shell = box.shell(timeout=None)
                self._shells.append((box, shell))
            try:
                yield shell
            finally:
                if not cell.name:
                    shell.exit()

    def target(self, word: str) -> Any:
        """Return the process that a word names: a PID, or the value of a variable.

        Raises:
            UsageError: when it is neither.
        """
        if word.isascii() and word.isdecimal():
            return int(word)
        if word not in self._variables:
            raise UsageError(
                f"{word!r} is neither a PID nor a variable; a target is the name of a shell or a box, or a PID"
            )
        return self._variables[word]

    def is_target(self, word: str) -> bool:
        """Return whether a word is a variable whose value is a process or a box."""
        return word.isidentifier() and hasattr(self._variables.get(word), "pid")

    def close(self) -> None:
        """End all shells and boxes that were started here."""
        for _, shell in self._shells:
            shell.__exit__(None, None, None)
        for one, _ in self._made.values():
            one.__exit__(None, None, None)
        self._shells, self._made = [], {}

    @contextlib.contextmanager
    def _kept(self, cell: Cell, kind: type[T], magic: str, start: Callable[[], T]) -> Iterator[T]:
        if not cell.name:
            with start() as one:
                _show_added(one)
                yield one
            return
        session = self._alive(cell, kind, magic)
        if session is None:
            session = start()
            before, _ = self._made.get(cell.name, (None, ()))
            self._variables[cell.name] = session
            self._made[cell.name] = (session, cell.started_with)
            if before is not None:
                # The notebook may have deleted the variable while the session was alive.
                before.__exit__(None, None, None)
            _show_added(session)
        yield session

    def _alive(self, cell: Cell, kind: type[T], magic: str) -> T | None:
        """Return the running session with the name of a cell, if its options are the same; None if there is none."""
        value = self._variables.get(cell.name)
        if value is None:
            return None
        made, started_with = self._made.get(cell.name, (None, ()))
        if not isinstance(value, kind) or (cell.new and value is not made):
            raise UsageError(
                f"--name: {cell.name!r} is a variable that %%{magic} did not make: {value!r}. Choose another name"
            )
        if cell.new:
            value.__exit__(None, None, None)
        if not value.alive:
            return None
        if cell.started_with and (value is not made or cell.started_with != started_with):
            raise UsageError(
                f"{cell.name!r} was started with other options. "
                f"To use it: %%{magic} --name {cell.name}. To start a new one: add --new"
            )
        return value


def _unshared(cell: Starting) -> Shell:
    request = cell.request
    assert request is not None
    if not (request.kinds or request.harden):
        if cell.name:
            raise UsageError(f"no shell is named {cell.name!r}. To start it: %%unshare -mipf --name {cell.name}")
        raise UsageError("no namespaces are given. Example: %%unshare -mipf")
    if request.program and (len(request.program) > 1 or request.program[0].rpartition("/")[2] not in POSIX_SHELLS):
        raise UsageError(
            f"{request.program[0]}: a cell is typed into a shell. To run another program: nsbox.run([...], unshare=...)"
        )
    options = popen_options(request)
    if "user" in request.kinds and not request.harden:
        # As unshare(1): without an option for a map, no ids are mapped.
        options.setdefault("map_root_user", False)
    where = {"shell": request.program[0] if request.program else None, "cwd": options.pop("cwd", None)}
    # Without any namespace named, those that hold it are new, and all of that takes a fork.
    return Shell(**options, **where, fork=request.fork or not request.kinds, timeout=None)


def _boxed(cell: Starting) -> Box:
    request = cell.request
    assert request is not None
    if request.program:
        raise UsageError(
            f"unexpected argument {request.program[0]!r}: write commands into the cell, below the first line"
        )
    options = popen_options(request)
    if cell.hostname is not None:
        options["hostname"] = cell.hostname
    if cell.pid_max is not None:
        options["pid_max"] = cell.pid_max
    return Box(**options)


def _show_added(one: Shell | Box) -> None:
    for namespace, reason in one.plan.added:
        display(Panel("note", f"a new {namespace} namespace was added", (("why", f"{reason}; inside, you are root"),)))
