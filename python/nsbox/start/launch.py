"""The program that is started in the namespaces, and the one way in which anything is started.

    resolve -> join -> cgroup -> compile -> spawn

`start`, `run_and_wait` and `plan_for` share the first three steps (`_prepared`) and differ in where they stop.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from errno import EPERM
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

from nsbox import _core
from nsbox._core import Launch
from nsbox.errors import SpawnError, SpecError
from nsbox.spec.limits import Limits
from nsbox.spec.mounts import Overlay
from nsbox.spec.spec import Spec
from nsbox.start import cgroup, id_ranges
from nsbox.start.hardening import inherited
from nsbox.start.idmapped import idmapped
from nsbox.start.world import arranged

if TYPE_CHECKING:
    from nsbox.namespaces.opened import Opened

__all__ = [
    "Argument",
    "Environment",
    "Launch",
    "ProgramOptions",
    "candidates",
    "cgroup_for",
    "descriptor_numbers",
    "environment",
    "held",
    "inheritable_fds",
    "launch_of",
    "plan_for",
    "run_and_wait",
    "start",
    "subprocess_errors",
]

Argument: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
Environment: TypeAlias = "Mapping[str, str] | Mapping[bytes, bytes] | Mapping[str, Argument]"


class ProgramOptions(TypedDict, total=False):
    """The keywords of `nsbox.fork_exec` that concern the program; `nsbox.Box.fork_exec` takes no others."""

    executable: Argument | None
    env: Environment | None
    cwd: Argument | None
    stdin: int
    stdout: int
    stderr: int
    pass_fds: Sequence[int]
    start_new_session: bool
    controlling_terminal: bool


def candidates(program: Argument, env: Environment | None) -> tuple[bytes, ...]:
    """Return the paths to try for a program: the path itself if it has a slash, else one for each directory in PATH."""
    name = os.fsencode(program)
    if b"/" in name:
        return (name,)
    if env is None:
        # os.get_exec_path is not used here: most of its time goes into silencing warnings, for all threads.
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


def launch_of(
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
        pass_fds=descriptor_numbers(pass_fds),
        start_new_session=start_new_session,
        controlling_terminal=controlling_terminal,
    )
    return launch, program


def start(
    spec: Spec,
    launch: Launch,
    *,
    program: Argument,
    cwd: Argument | None = None,
    after_clone: Callable[[], object] | None = None,
) -> _core.Child:
    """Start a program, and return when it runs.

    Args:
        spec: The namespaces.
        launch: The program.
        program: The program as the caller named it, for errors.
        cwd: The working directory as the caller named it, for errors.
        after_clone: Called when nsbox-init has copies of the descriptors of `launch`. The caller may close its own.

    Raises:
        OSError: as `subprocess` raises it for a program that cannot be executed, or a directory that does not exist.
        SpawnError: when any other step failed.
        UnsupportedError: when this kernel lacks a feature.
    """
    __tracebackhide__ = True
    with subprocess_errors(program, cwd), _prepared(spec, launch) as (resolved, cgroup, joined):
        child = _core.spawn(_core.compile(resolved, launch, _core.facts(), cgroup, joined), after_clone)
        if isinstance(spec.root, Overlay):
            child.started_by(spec)
        return child


def run_and_wait(spec: Spec, launch: Launch, *, program: Argument) -> _core.Exit:
    """Start a program, and return when it and all its descendants have ended.

    The core does both in one call, which is faster than `start` and a wait.

    Raises:
        As `start`.
    """
    with subprocess_errors(program), _prepared(spec, launch) as (resolved, cgroup, joined):
        return _core.run(resolved, launch, cgroup, joined)


def plan_for(spec: Spec, launch: Launch) -> _core.Plan:
    """Return the plan that `start` would carry out. Nothing is made; the directory of a cgroup is shown as CGROUP.

    Raises:
        SpecError: for what cannot be expressed.
        SpawnError: when something that is joined cannot be opened.
        UnsupportedError: when this kernel lacks a feature, or no ids are granted.
    """
    with _prepared(spec, launch, only_planned=True) as (resolved, cgroup, joined):
        return _core.compile(resolved, launch, _core.facts(), cgroup, joined)


@contextlib.contextmanager
def _prepared(
    spec: Spec, launch: Launch, *, only_planned: bool = False
) -> Iterator[tuple[Spec, _core.Cgroup | None, Opened | None]]:
    """Give what a plan is compiled from: the spec resolved, a cgroup, and what is joined, open meanwhile."""
    with _opened(spec) as joined:
        resolved = arranged(id_ranges.resolve(held(spec)), launch.cwd)
        with contextlib.nullcontext(resolved) if only_planned else idmapped(resolved) as prepared:
            yield prepared, cgroup_for(spec, only_planned=only_planned), joined


def held(spec: Spec) -> Spec:
    """Return the spec with what holds in the boxes that are joined, unless the caller trusts what runs there."""
    for join in spec.join or ():
        if not join.trust and isinstance(box := getattr(join.target, "spec", None), Spec):
            spec = inherited(spec, box)
    return spec


def _opened(spec: Spec) -> contextlib.AbstractContextManager[Opened | None]:
    if spec.join is None:
        return contextlib.nullcontext()
    # Imported only for a join: it imports multiprocessing.
    from nsbox.namespaces.opened import opened  # noqa: PLC0415

    return opened(spec.join)


def cgroup_for(spec: Spec, *, only_planned: bool = False) -> _core.Cgroup | None:
    """Make the cgroup for a process or box, if the spec has limits that need one.

    Args:
        spec: What is to be started.
        only_planned: Whether the cgroup is only described, and not made.

    Raises:
        UnsupportedError: when no cgroup can be made on this machine.
        SpawnError: when it cannot be made.
    """
    if spec.limits is None:
        return None
    limits = cast("Limits", spec.limits)
    return _core.Cgroup("CGROUP", cgroup.settings(limits)) if only_planned else cgroup.make(limits)


@contextlib.contextmanager
def subprocess_errors(program: Argument, cwd: Argument | None = None) -> Iterator[None]:
    """Replace a SpawnError by the exception that `subprocess` raises for the same failure, if there is one."""
    try:
        yield
    except SpawnError as error:
        call = {"exec": "execve", "chdir": "chdir"}.get(error.step)
        # A filter that kills for the call does not let it fail.
        killed = error.errno == EPERM and call in _core.probe().killed
        if error.actor == "payload" and call is not None and not killed:
            raise OSError(error.errno, error.strerror, program if error.step == "exec" else cwd) from None
        raise


def descriptor_numbers(pass_fds: Iterable[Any]) -> tuple[int, ...]:
    """Return the numbers of the descriptors to pass on, sorted and each once.

    Raises:
        SpecError: for a number that no descriptor can have, as `subprocess` raises ValueError.
    """
    found = sorted(set(map(int, pass_fds)))
    for number in found:
        if not 0 <= number < 2**31:
            raise SpecError(f"pass_fds: {number} is no descriptor")
    return tuple(found)


def inheritable_fds(fds: Iterable[int]) -> tuple[int, ...]:
    """Return those of `fds`, standard streams aside, that a program inherits if no descriptors are closed."""
    return tuple(fd for fd in fds if fd > 2 and os.get_inheritable(fd))
