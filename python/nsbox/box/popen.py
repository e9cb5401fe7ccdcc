"""Processes in a box: its nsbox-init starts them on request, and they are its children."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from nsbox import _core
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import SpecError
from nsbox.spec.spec import Options, Spec
from nsbox.start.completed import Completed
from nsbox.start.launch import Argument, Launch, candidates, descriptor_numbers, subprocess_errors
from nsbox.start.popen import Popen
from nsbox.start.run import complete

__all__ = ["BoxConnection", "BoxPopen", "run", "sent_stdio"]

_OPTIONS_OF_THE_BOX = frozenset({"unshare", "spec", *Options.__annotations__})


class BoxConnection:
    """Starts processes in a box.

    Attributes:
        core: The handle of the box.
        spec: The `Spec` by which the box was made.
        directory: The path at which the working directory of a program is looked up; None as long as nothing was
            mounted since the box was made. Until then nsbox-init has the directory open.
    """

    __slots__ = ("core", "directory", "spec")

    def __init__(self, core: _core.Box, spec: Spec) -> None:
        """Keep both."""
        self.core = core
        self.spec = spec
        self.directory: bytes | None = None

    def start(self, launch: Launch, *, program: Argument, cwd: Argument | None = None) -> _core.Child:
        """Start a program in the box and return when it runs. `launch.stdio` comes from `sent_stdio`.

        Raises:
            OSError: as `subprocess` for a program that cannot be executed, or a directory that does not exist.
            SpawnError: when any other step failed.
        """
        token = self.core.token()
        with subprocess_errors(program, cwd):
            return self.core.start(self._plan(launch, token, quiet=False), _descriptors(launch), token)

    def run(self, launch: Launch, *, program: Argument) -> _core.Exit:
        """Do the same, but return when the program has ended."""
        token = self.core.token()
        with subprocess_errors(program):
            return self.core.run(self._plan(launch, token, quiet=True), _descriptors(launch), token)

    def _plan(self, launch: Launch, token: int, *, quiet: bool) -> _core.Plan:
        for fd in launch.pass_fds:
            if not _is_open(fd):
                raise spawn_error(
                    errno.EBADF, "descriptors", "caller", [_core.Call("sendmsg", fd=fd)], f"descriptor {fd}"
                )
        return _core.compile_process(self.spec, launch, _core.facts(), self.core.plan, token, quiet, self.directory)


def _descriptors(launch: Launch) -> list[int]:
    """Return what nsbox-init is sent, as it shares no descriptors with the caller."""
    return [fd for fd in (*launch.stdio, *launch.pass_fds) if fd >= 0]


def sent_stdio(stdio: Iterable[int]) -> tuple[int, int, int]:
    """Replace -1, "as it is", by the number of the caller's standard stream. -1 stays if an exec closes that."""
    stdin, stdout, stderr = (
        source if source >= 0 else target if _is_inheritable(target) else -1 for target, source in enumerate(stdio)
    )
    return stdin, stdout, stderr


def _is_open(fd: int) -> bool:
    try:
        os.get_inheritable(fd)
    except OSError:
        return False
    return True


def _is_inheritable(fd: int) -> bool:
    return _is_open(fd) and os.get_inheritable(fd)


class BoxPopen(Popen):
    """`nsbox.Popen` for a process in a box, whose namespaces it shares.

    ``wait()`` returns when the program has ended. Processes that it leaves behind live until the box is closed.
    ``kill()`` ends the program alone.
    """

    _box: BoxConnection | None = None

    def __init__(self, *args: Any, box: BoxConnection, **keywords: Any) -> None:
        """Start a program; see `nsbox.Popen`."""
        self._box = box
        _refuse_options(keywords)
        super().__init__(*args, spec=box.spec, **keywords)

    def _descriptors(
        self, stdio: tuple[int, int, int], pass_fds: Iterable[Any] | None
    ) -> tuple[tuple[int, int, int], tuple[int, ...]]:
        if pass_fds is not None:
            return sent_stdio(stdio), descriptor_numbers(pass_fds)
        opened = sorted(map(int, os.listdir("/proc/thread-self/fd")))
        return sent_stdio(stdio), tuple(fd for fd in opened if fd > 2 and _is_inheritable(fd))

    def _layer(self) -> NoReturn:
        raise SpecError("changes: a process in a box shares its root; see the method changes of the box")

    def _start(
        self, launch: Launch, program: Argument, cwd: Argument | None, close_pipes: Callable[[], None]
    ) -> _core.Child:
        if self._box is None:
            raise SpecError("box: is missing")
        self._nsbox_child = child = self._box.start(launch, program=program, cwd=cwd)
        close_pipes()
        return child


def _refuse_options(keywords: dict[str, Any]) -> None:
    if wrong := sorted(_OPTIONS_OF_THE_BOX & keywords.keys()):
        raise SpecError(f"{wrong[0]}: belongs to the box; programs in it share the box's namespaces")


def run(box: BoxConnection, *args: Any, check: bool = False, **keywords: Any) -> Completed[Any]:
    """Run a program in the box: `subprocess.run`."""
    if len(args) != 1 or keywords:
        _refuse_options(keywords)
        return complete(BoxPopen, *args, check=check, box=box, **keywords)
    argv = [args[0]] if isinstance(args[0], str | bytes | os.PathLike) else list(args[0])
    sys.audit("subprocess.Popen", argv[0], argv, None, None)
    launch = Launch(paths=candidates(argv[0], None), argv=tuple(map(os.fsencode, argv)), stdio=sent_stdio((-1, -1, -1)))
    begin = time.monotonic()
    end = box.run(launch, program=argv[0])
    seconds = time.monotonic() - begin
    if check and end.returncode:
        raise subprocess.CalledProcessError(end.returncode, args[0])
    return Completed[Any](args[0], end.returncode)._known(box.spec, end.rusage, seconds)
