"""Linux namespaces for Python: run things in them, see them, understand them."""

# General layout, along the way of the data:
#
#   spec.py      what the caller asks for, validated: Spec
#   launch.py    the program and its surroundings; the one place where something is started
#   process.py   subprocess in namespaces: Popen
#   calls.py     ... its functions: run, call, check_output, and its other names
#   aio.py       ... and asyncio's: create_subprocess_exec, create_subprocess_shell
#   handle.py    the bare handle without pipes: fork_exec
#   shell.py     an interactive shell as PID 1: Shell
#   tree.py      the process table and its tree: ps, pstree
#   views/       records to text
#   errors.py    everything that is raised
#   pytest_plugin.py   fixtures, tests inside new namespaces (_within.py); nothing here imports it
#   transcript/  terminal sessions of handouts, run again and compared
#   exercise/    the workshop exercise, live
#   cli/         the nsbox command
#
# Everything that must be atomic, free of allocations or fast is in Rust, behind nsbox._core.

# Each public name is imported when it is first used (PEP 562), so that `import nsbox` costs what this file costs. Type
# checkers follow the imports below, which never run. (typing's own constant would cost as much as all the rest here.)
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsbox._core import __version__
    from nsbox.aio import create_subprocess_exec, create_subprocess_shell
    from nsbox.box import Box
    from nsbox.calls import (
        DEVNULL,
        PIPE,
        STDOUT,
        CalledProcessError,
        CompletedProcess,
        SubprocessError,
        TimeoutExpired,
        call,
        check_call,
        check_output,
        getoutput,
        getstatusoutput,
        run,
    )
    from nsbox.diagnosis import Diagnosis, doctor
    from nsbox.errors import ClosedError, NsboxError, SpawnError, SpawnPermissionError, SpecError, UnsupportedError
    from nsbox.explanation import Explanation, explain
    from nsbox.handle import fork_exec
    from nsbox.inventory import NamespaceRecord, NamespaceTable, lsns, namespaces_of, same_namespace
    from nsbox.ipc import IpcObject, IpcTable, ipcs
    from nsbox.mountinfo import Mount, MountTable, mounts
    from nsbox.process import Popen
    from nsbox.processes import Process, ProcessTable, ps
    from nsbox.shell import Shell, ShellResult
    from nsbox.spec import Spec
    from nsbox.tree import ProcessTree, pstree

# No public name may also be the name of a module here: importing that module would put it in the name's place.
_NAMES = {
    "_core": ("__version__",),
    "aio": ("create_subprocess_exec", "create_subprocess_shell"),
    "box": ("Box",),
    "calls": (
        "CalledProcessError", "CompletedProcess", "DEVNULL", "PIPE", "STDOUT", "SubprocessError", "TimeoutExpired",
        "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run",
    ),
    "diagnosis": ("Diagnosis", "doctor"),
    "errors": ("ClosedError", "NsboxError", "SpawnError", "SpawnPermissionError", "SpecError", "UnsupportedError"),
    "explanation": ("Explanation", "explain"),
    "handle": ("fork_exec",),
    "inventory": ("NamespaceRecord", "NamespaceTable", "lsns", "namespaces_of", "same_namespace"),
    "ipc": ("IpcObject", "IpcTable", "ipcs"),
    "mountinfo": ("Mount", "MountTable", "mounts"),
    "process": ("Popen",),
    "processes": ("Process", "ProcessTable", "ps"),
    "shell": ("Shell", "ShellResult"),
    "spec": ("Spec",),
    "tree": ("ProcessTree", "pstree"),
}  # fmt: skip
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Box",
    "CalledProcessError",
    "ClosedError",
    "CompletedProcess",
    "Diagnosis",
    "Explanation",
    "IpcObject",
    "IpcTable",
    "Mount",
    "MountTable",
    "NamespaceRecord",
    "NamespaceTable",
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
    "doctor",
    "explain",
    "fork_exec",
    "getoutput",
    "getstatusoutput",
    "ipcs",
    "lsns",
    "mounts",
    "namespaces_of",
    "ps",
    "pstree",
    "run",
    "same_namespace",
]


if not TYPE_CHECKING:
    # Hidden from type checkers, which would take every misspelt name for one that this could provide.
    def __getattr__(name: str) -> object:
        """Import a public name when it is first used."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - nothing is imported before it is needed

        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List what can be used, imported or not."""
    return sorted({*globals(), *__all__})
