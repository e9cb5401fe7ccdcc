"""Linux namespaces for Python: run things in them, see them, understand them."""

# General layout, along the way of the data:
#
#   spec.py      what the caller asks for, validated: Spec
#   launch.py    the program and its surroundings; the one place where something is started
#   process.py   subprocess in namespaces: Popen
#   calls.py     ... its functions: run, call, check_output, and its other names
#   aio.py       ... and asyncio's: create_subprocess_exec, create_subprocess_shell
#   handle.py    the bare handle without pipes: fork_exec
#   workers.py   functions in a box: Box.call
#   function.py  functions whose every call has its own box: boxed
#   executor.py  concurrent.futures in namespaces: Executor
#   shell.py     an interactive shell as PID 1: Shell
#   tree.py      the process table and its tree: ps, pstree
#   views/       records to text
#   errors.py    everything that is raised
#   exercise/    the workshop exercise, live
#   cli/         the nsbox command
#
# Everything that must be atomic, free of allocations or fast is in Rust, behind nsbox._core.

# Each public name is imported when it is first used (PEP 562), so that `import nsbox` costs what this file costs. Type
# checkers follow the imports below, which never run. (typing's own constant would cost as much as all the rest here.)
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsbox._core import __version__
    from nsbox._target import Pidfd
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
    from nsbox.errors import (
        CallError,
        CallTimeoutError,
        ClosedError,
        NsboxError,
        RemoteError,
        ScopeError,
        SpawnError,
        SpawnPermissionError,
        SpecError,
        TransferError,
        UnsupportedError,
        WorkerDiedError,
    )
    from nsbox.executor import Executor
    from nsbox.explanation import Explanation, explain
    from nsbox.function import boxed
    from nsbox.handle import fork_exec
    from nsbox.inventory import NamespaceRecord, NamespaceTable, lsns, namespaces_of, same_namespace
    from nsbox.ipc import IpcObject, IpcTable, ipcs
    from nsbox.join import Join
    from nsbox.limit import Limits
    from nsbox.mount import Bind, Overlay, Proc, Tmpfs
    from nsbox.mountinfo import Mount, MountTable, mounts
    from nsbox.namespaces import Namespace
    from nsbox.nsenter import enter
    from nsbox.outcome import Outcome, Verdict
    from nsbox.process import Popen
    from nsbox.processes import Process, ProcessTable, ps
    from nsbox.scope import Scope, mount_proc, setns, unshare
    from nsbox.shell import Shell, ShellResult
    from nsbox.spec import Spec
    from nsbox.translate import translate_pid
    from nsbox.tree import ProcessTree, pstree

# No public name may also be the name of a module here: importing that module would put it in the name's place.
_NAMES = {
    "_core": ("__version__",),
    "_target": ("Pidfd",),
    "aio": ("create_subprocess_exec", "create_subprocess_shell"),
    "box": ("Box",),
    "calls": (
        "CalledProcessError", "CompletedProcess", "DEVNULL", "PIPE", "STDOUT", "SubprocessError", "TimeoutExpired",
        "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run",
    ),
    "diagnosis": ("Diagnosis", "doctor"),
    "errors": (
        "CallError", "CallTimeoutError", "ClosedError", "NsboxError", "RemoteError", "ScopeError", "SpawnError",
        "SpawnPermissionError", "SpecError", "TransferError", "UnsupportedError", "WorkerDiedError",
    ),
    "executor": ("Executor",),
    "explanation": ("Explanation", "explain"),
    "function": ("boxed",),
    "handle": ("fork_exec",),
    "inventory": ("NamespaceRecord", "NamespaceTable", "lsns", "namespaces_of", "same_namespace"),
    "ipc": ("IpcObject", "IpcTable", "ipcs"),
    "join": ("Join",),
    "limit": ("Limits",),
    "mount": ("Bind", "Overlay", "Proc", "Tmpfs"),
    "mountinfo": ("Mount", "MountTable", "mounts"),
    "namespaces": ("Namespace",),
    "nsenter": ("enter",),
    "outcome": ("Outcome", "Verdict"),
    "process": ("Popen",),
    "processes": ("Process", "ProcessTable", "ps"),
    "scope": ("Scope", "mount_proc", "setns", "unshare"),
    "shell": ("Shell", "ShellResult"),
    "spec": ("Spec",),
    "translate": ("translate_pid",),
    "tree": ("ProcessTree", "pstree"),
}  # fmt: skip
# Modules that are public as such.
_MODULES = ("lessons", "raw")
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Bind",
    "Box",
    "CallError",
    "CallTimeoutError",
    "CalledProcessError",
    "ClosedError",
    "CompletedProcess",
    "Diagnosis",
    "Executor",
    "Explanation",
    "IpcObject",
    "IpcTable",
    "Join",
    "Limits",
    "Mount",
    "MountTable",
    "Namespace",
    "NamespaceRecord",
    "NamespaceTable",
    "NsboxError",
    "Outcome",
    "Overlay",
    "Pidfd",
    "Popen",
    "Proc",
    "Process",
    "ProcessTable",
    "ProcessTree",
    "RemoteError",
    "Scope",
    "ScopeError",
    "Shell",
    "ShellResult",
    "SpawnError",
    "SpawnPermissionError",
    "Spec",
    "SpecError",
    "SubprocessError",
    "TimeoutExpired",
    "Tmpfs",
    "TransferError",
    "UnsupportedError",
    "Verdict",
    "WorkerDiedError",
    "__version__",
    "boxed",
    "call",
    "check_call",
    "check_output",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "doctor",
    "enter",
    "explain",
    "fork_exec",
    "getoutput",
    "getstatusoutput",
    "ipcs",
    "lsns",
    "mount_proc",
    "mounts",
    "namespaces_of",
    "ps",
    "pstree",
    "run",
    "same_namespace",
    "setns",
    "translate_pid",
    "unshare",
]


if not TYPE_CHECKING:
    # Hidden from type checkers, which would take every misspelt name for one that this could provide.
    def __getattr__(name: str) -> object:
        """Import a public name when it is first used."""
        if name not in _HOMES and name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - nothing is imported before it is needed

        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List what can be used, imported or not."""
    return sorted({*globals(), *__all__, *_MODULES})
