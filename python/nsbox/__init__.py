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
#   processes.py the process table: ps
#   tree.py      the tree of processes: pstree
#   inventory.py the namespaces there are: lsns, namespaces_of, same_namespace
#   mountinfo.py the mounts that a process sees: mounts
#   ipc.py       what is in an IPC namespace: ipcs
#   snapshots.py all of that at a moment: snapshot, observe
#   changes.py   what became of it between two moments: diff
#   comparison.py    inside and outside side by side: compare
#   recording.py records to plain data and back
#   veth.py      two boxes connected by a cable: connect
#   views/       records to text, HTML and SVG; pure functions
#   errors.py    everything that is raised
#   pytest_plugin.py   fixtures, tests inside new namespaces (_within.py); nothing here imports it
#   kernel_provisioner.py  notebook kernels in namespaces; nothing here imports it either
#   transcript/  terminal sessions of handouts, run again and compared
#   exercise/    the workshop exercise, live
#   quiz.py      questions whose answers are read from the kernel
#   notebook/    magics, and errors as panels: %load_ext nsbox
#   cli/         the nsbox command
#
# Everything that must be atomic, free of allocations or fast is in Rust, behind nsbox._core.

# Each public name is imported when it is first used (PEP 562), so that `import nsbox` costs what this file costs. Type
# checkers follow the imports below, which never run. (typing's own constant would cost as much as all the rest here.)
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsbox._core import __version__
    from nsbox.box.box import Box
    from nsbox.box.veth import VethEnd, VethPair, connect
    from nsbox.command.explain import Explanation, explain
    from nsbox.diagnosis.doctor import Diagnosis, doctor
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
    from nsbox.namespaces.handle import Namespace
    from nsbox.namespaces.pid_numbers import translate_pid
    from nsbox.namespaces.scope import Scope, mount_proc, setns, unshare
    from nsbox.records.changes import Change, Changes
    from nsbox.records.ipc import IpcObject
    from nsbox.records.mounts import Mount
    from nsbox.records.namespaces import NamespaceRecord
    from nsbox.records.processes import Process
    from nsbox.seeing.compare import Comparison, compare
    from nsbox.seeing.diff import Diff, diff
    from nsbox.seeing.ipc import IpcTable, ipcs
    from nsbox.seeing.mounts import MountTable, mounts
    from nsbox.seeing.namespaces import NamespaceTable, lsns, namespaces_of, same_namespace
    from nsbox.seeing.observe import Observation, observe
    from nsbox.seeing.processes import ProcessTable, ps
    from nsbox.seeing.snapshot import Snapshot, snapshot
    from nsbox.seeing.tree import ProcessTree, pstree
    from nsbox.spec.joins import Join, Pidfd
    from nsbox.spec.limits import Limits
    from nsbox.spec.mounts import Bind, Overlay, Proc, Tmpfs
    from nsbox.spec.spec import Spec
    from nsbox.start.aio import create_subprocess_exec, create_subprocess_shell
    from nsbox.start.enter import enter
    from nsbox.start.fork_exec import fork_exec
    from nsbox.start.popen import Popen
    from nsbox.start.run import (
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
    from nsbox.start.shell import Shell, ShellResult
    from nsbox.tasks.boxed import boxed
    from nsbox.tasks.executor import Executor
    from nsbox.tasks.outcome import Outcome, Verdict

# No public name may also be the name of a module here: importing that module would put it in the name's place.
_NAMES = {
    "_core": ("__version__",),
    "box.box": ("Box",),
    "box.veth": ("VethEnd", "VethPair", "connect"),
    "command.explain": ("Explanation", "explain"),
    "diagnosis.doctor": ("Diagnosis", "doctor"),
    "errors": (
        "CallError", "CallTimeoutError", "ClosedError", "NsboxError", "RemoteError", "ScopeError", "SpawnError",
        "SpawnPermissionError", "SpecError", "TransferError", "UnsupportedError", "WorkerDiedError",
    ),
    "namespaces.handle": ("Namespace",),
    "namespaces.pid_numbers": ("translate_pid",),
    "namespaces.scope": ("Scope", "mount_proc", "setns", "unshare"),
    "records.changes": ("Change", "Changes"),
    "records.ipc": ("IpcObject",),
    "records.mounts": ("Mount",),
    "records.namespaces": ("NamespaceRecord",),
    "records.processes": ("Process",),
    "seeing.compare": ("Comparison", "compare"),
    "seeing.diff": ("Diff", "diff"),
    "seeing.ipc": ("IpcTable", "ipcs"),
    "seeing.mounts": ("MountTable", "mounts"),
    "seeing.namespaces": ("NamespaceTable", "lsns", "namespaces_of", "same_namespace"),
    "seeing.observe": ("Observation", "observe"),
    "seeing.processes": ("ProcessTable", "ps"),
    "seeing.snapshot": ("Snapshot", "snapshot"),
    "seeing.tree": ("ProcessTree", "pstree"),
    "spec.joins": ("Join", "Pidfd"),
    "spec.limits": ("Limits",),
    "spec.mounts": ("Bind", "Overlay", "Proc", "Tmpfs"),
    "spec.spec": ("Spec",),
    "start.aio": ("create_subprocess_exec", "create_subprocess_shell"),
    "start.enter": ("enter",),
    "start.fork_exec": ("fork_exec",),
    "start.popen": ("Popen",),
    "start.run": (
        "CalledProcessError", "CompletedProcess", "DEVNULL", "PIPE", "STDOUT", "SubprocessError",
        "TimeoutExpired", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run",
    ),
    "start.shell": ("Shell", "ShellResult"),
    "tasks.boxed": ("boxed",),
    "tasks.executor": ("Executor",),
    "tasks.outcome": ("Outcome", "Verdict"),
}  # fmt: skip
# Modules that are public as such.
_MODULES = ("lessons", "quiz", "raw")
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
    "Change",
    "Changes",
    "ClosedError",
    "Comparison",
    "CompletedProcess",
    "Diagnosis",
    "Diff",
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
    "Observation",
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
    "Snapshot",
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
    "VethEnd",
    "VethPair",
    "WorkerDiedError",
    "__version__",
    "boxed",
    "call",
    "check_call",
    "check_output",
    "compare",
    "connect",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "diff",
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
    "observe",
    "ps",
    "pstree",
    "run",
    "same_namespace",
    "setns",
    "snapshot",
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


def load_ipython_extension(shell: object) -> None:
    """Answer ``%load_ext nsbox`` in a notebook: magics, and errors as panels. Needs the extra ``jupyter``."""
    from importlib import import_module  # noqa: PLC0415 - nothing is imported before it is needed

    import_module("nsbox.notebook.magics").load(shell)


def unload_ipython_extension(shell: object) -> None:
    """Answer ``%unload_ext nsbox``: what its cells have started ends."""
    from importlib import import_module  # noqa: PLC0415 - nothing is imported before it is needed

    import_module("nsbox.notebook.magics").unload(shell)


def __dir__() -> list[str]:
    """List what can be used, imported or not."""
    return sorted({*globals(), *__all__, *_MODULES})
