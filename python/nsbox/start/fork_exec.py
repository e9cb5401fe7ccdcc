"""The bare handle of a process in new namespaces, without pipes and without policy: `fork_exec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from nsbox import _core
from nsbox.spec.kinds import Namespaces
from nsbox.spec.spec import Options, spec_of
from nsbox.start.launch import Argument, Environment, bare, start

__all__ = ["fork_exec"]


def fork_exec(
    argv: Sequence[Argument],
    *,
    unshare: Namespaces = "mip",
    executable: Argument | None = None,
    env: Environment | None = None,
    cwd: Argument | None = None,
    stdin: int = -1,
    stdout: int = -1,
    stderr: int = -1,
    pass_fds: Sequence[int] = (),
    start_new_session: bool = False,
    controlling_terminal: bool = False,
    **options: Unpack[Options],
) -> _core.Child:
    """Start a program in new namespaces and return its bare handle: no pipes, no policy.

    The handle has ``pid``, ``pid_inside``, ``pidfd``, ``init_pid``, ``init_pidfd``, ``wait(timeout)``,
    ``send_signal(number)``, ``kill()`` and ``plan``. The process ends with the calling process, and when
    the handle is forgotten.

    Args:
        argv: The program and its arguments.
        unshare: The new namespaces; see `Spec`.
        executable: What to execute instead of ``argv[0]``.
        env: Its environment; the caller's own by default.
        cwd: Its working directory.
        stdin: The descriptor that becomes its standard input; -1 for the caller's own.
        stdout: The same for standard output.
        stderr: The same for standard error.
        pass_fds: Further descriptors it gets, under their own numbers.
        start_new_session: Whether it leads a new session (setsid(2)).
        controlling_terminal: Whether its standard input becomes its controlling terminal (ioctl_tty(2)); the
            signals of a terminal then have their default action.
        **options: Further options of `Spec`.

    Raises:
        SpecError: for arguments that make no sense.
        OSError: as `subprocess` for a program that cannot be executed.
        SpawnError: when another step failed.
    """
    spec = spec_of(unshare, options)
    launch, program = bare(
        argv,
        executable=executable,
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=start_new_session,
        controlling_terminal=controlling_terminal,
    )
    return start(spec, launch, program=program, cwd=cwd)
