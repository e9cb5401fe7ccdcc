"""What is run in the namespaces, and the one place where anything is started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from nsbox import _core
from nsbox._core import Launch
from nsbox.errors import SpawnError, SpecError
from nsbox.spec.limits import Limits
from nsbox.spec.spec import Spec
from nsbox.start import id_ranges as idmap

if TYPE_CHECKING:
    from nsbox.namespaces.opened import Opened

__all__ = [
    "Argument",
    "Environment",
    "Launch",
    "bare",
    "candidates",
    "cgroup_for",
    "environment",
    "finish",
    "inheritable",
    "numbers",
    "plan_for",
    "start",
    "subprocess_says",
]

Argument: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
T = TypeVar("T")
Environment: TypeAlias = "Mapping[str, str] | Mapping[bytes, bytes] | Mapping[str, Argument]"


def candidates(program: Argument, env: Environment | None) -> tuple[bytes, ...]:
    """Return the paths to try for a program: itself if it has a slash, else one for each directory in PATH."""
    name = os.fsencode(program)
    if b"/" in name:
        return (name,)
    if env is None:
        # As os.get_exec_path, which silences warnings meanwhile: for all threads, and for most of the time this takes.
        directories = os.environb.get(b"PATH", os.defpath.encode()).split(b":")
    else:
        directories = [os.fsencode(one) for one in os.get_exec_path(cast("Mapping[str, str]", env))]  # takes bytes too
    return tuple(directory + b"/" + name if directory else name for directory in directories)


def environment(env: Environment | None) -> tuple[bytes, ...] | None:
    """Return an environment as execve(2) takes it.

    Raises:
        ValueError: for a name that contains ``=``.
    """
    if env is None:
        return None
    pairs = [(os.fsencode(name), os.fsencode(value)) for name, value in env.items()]
    if any(b"=" in name for name, _ in pairs):
        raise ValueError("illegal environment variable name")
    return tuple(name + b"=" + value for name, value in pairs)


def bare(
    argv: Sequence[Argument],
    *,
    executable: Argument | None = None,
    env: Environment | None = None,
    cwd: Argument | None = None,
    stdin: int = -1,
    stdout: int = -1,
    stderr: int = -1,
    pass_fds: Sequence[int] = (),
    start_new_session: bool = False,
    controlling_terminal: bool = False,
) -> tuple[Launch, Argument]:
    """Return what `nsbox.fork_exec` starts, and the program as the caller named it.

    Raises:
        SpecError: for an empty argv.
    """
    if not argv:
        raise SpecError("argv: is empty")
    program = argv[0] if executable is None else executable
    launch = Launch(
        paths=candidates(program, env),
        argv=tuple(map(os.fsencode, argv)),
        env=environment(env),
        cwd=None if cwd is None else os.fsencode(cwd),
        stdio=(stdin, stdout, stderr),
        pass_fds=numbers(pass_fds),
        start_new_session=start_new_session,
        controlling_terminal=controlling_terminal,
    )
    return launch, program


def start(spec: Spec, launch: Launch, *, program: Argument, cwd: Argument | None = None) -> _core.Child:
    """Make the plan, carry it out, and return when the payload runs.

    Args:
        spec: The namespaces.
        launch: The program.
        program: The program as the caller named it, for errors.
        cwd: The working directory as the caller named it, for errors.

    Raises:
        OSError: as `subprocess` raises it for a program that cannot be executed and a directory that is not there.
        SpawnError: when any other step failed.
        UnsupportedError: when this kernel lacks something.
    """
    try:
        return _carry_out(_spawn, spec, launch)
    except SpawnError as error:
        raise subprocess_says(error, program, cwd) from None


def finish(spec: Spec, launch: Launch, *, program: Argument) -> _core.Exit:
    """Do the same, but return when everything is over, for when there is nothing to do in between.

    Raises:
        As `start`.
    """
    try:
        return _carry_out(_core.run, spec, launch)
    except SpawnError as error:
        raise subprocess_says(error, program, None) from None


def _spawn(spec: Spec, launch: Launch, cgroup: _core.Cgroup | None, join: Opened | None) -> _core.Child:
    return _core.spawn(_core.compile(spec, launch, _core.facts(), cgroup, join))


def _carry_out(how: Callable[[Spec, Launch, _core.Cgroup | None, Opened | None], T], spec: Spec, launch: Launch) -> T:
    if spec.join is None:
        return how(idmap.resolve(spec), launch, cgroup_for(spec), None)
    # Not for everybody: it brings what hands descriptors to other processes.
    from nsbox.namespaces.opened import opened  # noqa: PLC0415

    with opened(spec.join) as joined:
        return how(idmap.resolve(spec), launch, cgroup_for(spec), joined)


def plan_for(spec: Spec, launch: Launch) -> _core.Plan:
    """Return the plan that would be carried out, to be looked at. Nothing is made: a cgroup is only called CGROUP.

    Raises:
        SpecError: for what cannot be expressed.
        SpawnError: when something that is joined cannot be opened.
        UnsupportedError: when this kernel lacks something, or no ids are granted.
    """
    from nsbox.namespaces.opened import opened  # noqa: PLC0415

    with opened(spec.join or ()) as joined:
        cgroup = cgroup_for(spec, only_planned=True)
        return _core.compile(idmap.resolve(spec), launch, _core.facts(), cgroup, joined)


def cgroup_for(spec: Spec, *, only_planned: bool = False) -> _core.Cgroup | None:
    """Make the cgroup for what is to be started, if it shall have one.

    Args:
        spec: What is to be started.
        only_planned: Whether it is not made.

    Raises:
        UnsupportedError: when there is no place for it.
        SpawnError: when it cannot be made.
    """
    if spec.limits is None:
        return None
    from nsbox.start import cgroup  # noqa: PLC0415 - few need it

    limits = cast("Limits", spec.limits)
    return _core.Cgroup("CGROUP", cgroup.settings(limits)) if only_planned else cgroup.make(limits)


def subprocess_says(error: SpawnError, program: Argument, cwd: Argument | None) -> OSError:
    """Return the exception that `subprocess` raises for the same failure, if it has one, or the error itself."""
    if error.actor == "payload" and error.step in ("exec", "chdir"):
        return OSError(error.errno, error.strerror, program if error.step == "exec" else cwd)
    return error


def numbers(pass_fds: Iterable[Any]) -> tuple[int, ...]:
    """Return the numbers of descriptors that are passed on, each once and in their order.

    Raises:
        SpecError: for what cannot be one, as `subprocess` raises ValueError.
    """
    found = sorted(set(map(int, pass_fds)))
    for number in found:
        if not 0 <= number < 2**31:
            raise SpecError(f"pass_fds: {number} is no descriptor")
    return tuple(found)


def inheritable(fds: Iterable[int]) -> tuple[int, ...]:
    """Return those of `fds` that a program started without closing descriptors would inherit."""
    return tuple(fd for fd in fds if fd > 2 and os.get_inheritable(fd))
