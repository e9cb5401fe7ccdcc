"""Linux namespaces for Python: run things in them, see them, understand them."""

# General layout, along the way of the data:
#
#   spec.py      what the caller asks for, validated: Spec
#   launch.py    the program and its surroundings; the one place where something is started
#   process.py   subprocess in namespaces: Popen
#   calls.py     ... and its functions: run, call, check_output
#   aio.py       ... and asyncio's: create_subprocess_exec, create_subprocess_shell
#   handle.py    the bare handle without pipes: fork_exec
#   shell.py     an interactive shell as PID 1: Shell
#   tree.py      the process table and its tree: ps, pstree
#   views/       records to text
#   errors.py    everything that is raised
#   exercise/    the workshop exercise, live
#   cli/         the nsbox command
#
# Everything that must be atomic, free of allocations or fast is in Rust, behind nsbox._core.

from subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    CalledProcessError,
    CompletedProcess,
    SubprocessError,
    TimeoutExpired,
)
from typing import TYPE_CHECKING, Any

from nsbox._core import __version__
from nsbox.calls import call, check_call, check_output, getoutput, getstatusoutput, run
from nsbox.errors import ClosedError, NsboxError, SpawnError, SpawnPermissionError, SpecError, UnsupportedError
from nsbox.handle import fork_exec
from nsbox.process import Popen
from nsbox.shell import Shell, ShellResult
from nsbox.spec import Spec
from nsbox.tree import Process, ProcessTable, ProcessTree, ps, pstree

if TYPE_CHECKING:
    from nsbox.aio import create_subprocess_exec, create_subprocess_shell

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "ClosedError",
    "CompletedProcess",
    "NsboxError",
    "Popen",
    "Process",
    "ProcessTable",
    "ProcessTree",
    "Shell",
    "ShellResult",
    "SpawnError",
    "SpawnPermissionError",
    "Spec",
    "SpecError",
    "SubprocessError",
    "TimeoutExpired",
    "UnsupportedError",
    "__version__",
    "call",
    "check_call",
    "check_output",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "fork_exec",
    "getoutput",
    "getstatusoutput",
    "ps",
    "pstree",
    "run",
]


def __getattr__(name: str) -> Any:
    # Importing asyncio takes several times as long as all the rest, and few programs need it.
    if name in ("create_subprocess_exec", "create_subprocess_shell"):
        from nsbox import aio  # noqa: PLC0415 - that is the point

        return getattr(aio, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
