"""Processes in a box: started by its nsbox-init on request, and its children."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from nsbox import _core
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import SpawnError, SpecError
from nsbox.spec.spec import Options, Spec
from nsbox.start.launch import Argument, Launch, candidates, subprocess_says
from nsbox.start.popen import Popen
from nsbox.start.run import complete

__all__ = ["House", "ResidentPopen", "run", "start"]

_NOT_HERE = frozenset({"unshare", "spec", *Options.__annotations__})

T = TypeVar("T")


class House:
    """What it takes to start something in a box: its handle, and the `Spec` by which it was made."""

    __slots__ = ("core", "spec")

    def __init__(self, core: _core.Box, spec: Spec) -> None:
        """Keep both."""
        self.core = core
        self.spec = spec


def start(house: House, launch: Launch, *, program: Argument, cwd: Argument | None = None) -> _core.Child:
    """Start a program in the box and return when it runs.

    Raises:
        OSError: as `subprocess` for a program that cannot be executed and a directory that is not there.
        SpawnError: when any other step failed.
    """
    token = house.core.token()

    def begin(plan: _core.Plan, fds: list[int]) -> _core.Child:
        return house.core.start(plan, fds, token)

    return _with_plan(house, launch, token, False, begin, program, cwd)


def _with_plan(
    house: House,
    launch: Launch,
    token: int,
    quiet: bool,
    action: Callable[[_core.Plan, list[int]], T],
    program: Argument,
    cwd: Argument | None,
) -> T:
    """Make the plan and do with it what is to be done; nsbox-init shares nothing of ours, so it is sent descriptors."""
    if not launch.close_fds:
        launch.pass_fds = _inheritable()
    # What it does not get is closed: so "as it is" has to be said by number, unless it would not survive an exec here.
    stdin, stdout, stderr = (
        source if source >= 0 else target if _is_inheritable(target) else -1
        for target, source in enumerate(launch.stdio)
    )
    launch.stdio = stdin, stdout, stderr
    for fd in launch.pass_fds:
        if not _is_open(fd):
            raise spawn_error(errno.EBADF, "descriptors", "caller", [_core.Call("sendmsg", fd=fd)], f"descriptor {fd}")
    plan = _core.compile_process(house.spec, launch, _core.facts(), house.core.plan, token, quiet)
    try:
        return action(plan, [fd for fd in (stdin, stdout, stderr, *launch.pass_fds) if fd >= 0])
    except SpawnError as error:
        raise subprocess_says(error, program, cwd) from None


def _is_open(fd: int) -> bool:
    try:
        os.get_inheritable(fd)
    except OSError:
        return False
    return True


def _is_inheritable(fd: int) -> bool:
    return _is_open(fd) and os.get_inheritable(fd)


def _inheritable() -> tuple[int, ...]:
    return tuple(sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and _is_inheritable(fd)))


class ResidentPopen(Popen):
    """`nsbox.Popen` for a process in a box, which is where its namespaces come from.

    ``wait()`` returns when the program has ended; what it left behind lives on until the box is closed. ``kill()`` ends
    the program alone.
    """

    _house: House | None = None

    def __init__(self, *args: Any, house: House, **keywords: Any) -> None:
        """Start a program; see `nsbox.Popen`."""
        self._house = house
        _refuse_options(keywords)
        super().__init__(*args, spec=house.spec, **keywords)

    def _start(self, launch: Launch, program: Argument, cwd: Argument | None) -> _core.Child:
        if self._house is None:
            raise SpecError("box: is missing")
        return start(self._house, launch, program=program, cwd=cwd)


def _refuse_options(keywords: dict[str, Any]) -> None:
    if wrong := sorted(_NOT_HERE & keywords.keys()):
        raise SpecError(f"{wrong[0]}: belongs to the box; what runs in it shares the box's namespaces")


def run(house: House, *args: Any, check: bool = False, **keywords: Any) -> subprocess.CompletedProcess[Any]:
    """Run a program in the box: `subprocess.run`."""
    if len(args) != 1 or keywords:
        _refuse_options(keywords)
        return complete(ResidentPopen, *args, check=check, house=house, **keywords)
    argv = [args[0]] if isinstance(args[0], str | bytes | os.PathLike) else list(args[0])
    sys.audit("subprocess.Popen", argv[0], argv, None, None)
    launch = Launch(paths=candidates(argv[0], None), argv=tuple(map(os.fsencode, argv)))
    token = house.core.token()

    def finish(plan: _core.Plan, fds: list[int]) -> _core.Exit:
        return house.core.run(plan, fds, token)

    returncode = _with_plan(house, launch, token, True, finish, argv[0], None).returncode
    if check and returncode:
        raise subprocess.CalledProcessError(returncode, args[0])
    return subprocess.CompletedProcess(args[0], returncode)
