"""Start a process in new namespaces and get its handle, without pipes: `fork_exec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from nsbox import _core
from nsbox.spec.kinds import Namespaces
from nsbox.spec.spec import Options, spec_of
from nsbox.start.launch import Argument, ProgramOptions, launch_of, start

__all__ = ["fork_exec"]


class _Options(ProgramOptions, Options, total=False):
    """The keywords of `fork_exec` but for `unshare`."""


def fork_exec(argv: Sequence[Argument], *, unshare: Namespaces = "mip", **options: Unpack[_Options]) -> _core.Child:
    """Start a program in new namespaces and return its handle. No pipes are made.

    The handle has ``pid``, ``pid_inside``, ``pidfd``, ``init_pid``, ``init_pidfd``, ``wait(timeout)``,
    ``send_signal(number)``, ``kill()``, ``changes()`` and ``plan``. The process ends when the calling process ends, and
    when the handle is garbage collected.

    Args:
        argv: The program and its arguments.
        unshare: The new namespaces; see `Spec`.
        executable: The program to execute instead of ``argv[0]``.
        env: Its environment; by default that of the caller.
        cwd: Its working directory.
        stdin: The descriptor that becomes its standard input; -1 for the caller's own.
        stdout: The same for standard output.
        stderr: The same for standard error.
        pass_fds: Further descriptors that it inherits, under the same numbers.
        start_new_session: Whether it leads a new session (setsid(2)).
        controlling_terminal: Whether its standard input becomes its controlling terminal (ioctl_tty(2)). The signals
            that a terminal sends then have their default action.
        **options: Further options of `Spec`.

    Raises:
        SpecError: for arguments that make no sense.
        OSError: as `subprocess` for a program that cannot be executed.
        SpawnError: when another step failed.
    """
    __tracebackhide__ = True
    others: Any = options
    for_program: Any = {name: others.pop(name) for name in ProgramOptions.__annotations__.keys() & others.keys()}
    spec = spec_of(unshare, others)
    launch, program = launch_of(argv, **for_program)
    return start(spec, launch, program=program, cwd=for_program.get("cwd"))
