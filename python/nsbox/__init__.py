"""Linux namespaces for Python: run things in them, see them, understand them."""

# The folders, along the way of the data; each may import from those above it in this list, and `make lint` checks that:
#
#   errors.py     everything that is raised
#   spec/         what the caller asks for, checked: Spec, Join, Bind, Limits
#   records/      what was read, as frozen data: Process, Mount, NamespaceRecord, Change
#   views/        records as text, HTML and SVG: pure functions
#   raw.py        the bare system calls
#   diagnosis/    why a step fails, and what this machine allows: doctor
#   seeing/       /proc and namespaces, read and compared: ps, pstree, lsns, mounts, ipcs, snapshot, diff, compare
#   namespaces/   namespaces as things: Namespace; unshare and setns for a thread; translate_pid
#   start/        programs in namespaces: run, Popen, create_subprocess_exec, fork_exec, Shell, enter
#   remote/       a Python inside, and the protocol to it
#   box/          a living set of namespaces: Box; boxes connected: connect, networks
#   tasks/        Python functions in namespaces of their own: Executor, boxed
#   command/      the options and steps of unshare(1) and nsenter(1): explain
#   transcript/   terminal sessions of handouts, run again and compared
#   exercise/     the workshop exercise, live
#   assertions.py lessons.py quiz.py testinfra.py kernel_provisioner.py    public modules, used by tests and notebooks
#   cli/          the nsbox command
#   plugin/       what pytest_plugin.py does
#   grading/      submissions of a class, in sandboxes, and their points
#   notebook/     magics, and errors as panels: %load_ext nsbox
#
# Everything that must be atomic, free of allocations or fast is in Rust, behind nsbox._core.

# Each public name is imported when it is first used (PEP 562), so that `import nsbox` costs what this file costs. Type
# checkers follow the imports below, which never run. (typing's own constant would cost as much as all the rest here.)
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsbox._core import __version__
    from nsbox.box.box import Box
    from nsbox.box.networks import Networks, networks
    from nsbox.box.veth import Switch, VethEnd, VethPair, connect
    from nsbox.command.explain import Explanation, explain
    from nsbox.diagnosis.doctor import Diagnosis, doctor
    from nsbox.errors import (
        CallError,
        CallTimeoutError,
        ClosedError,
        ForeignImportError,
        NotEndedError,
        NsboxError,
        ProcessEndedError,
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
    from nsbox.records.mountinfo import Mount
    from nsbox.records.namespaces import NamespaceRecord
    from nsbox.records.networks import InterfaceRecord, NetworkRecord, RouteRecord
    from nsbox.records.processes import Process
    from nsbox.records.written import Kept, WrittenFile
    from nsbox.seeing.compare import Comparison, compare
    from nsbox.seeing.diff import Diff, diff
    from nsbox.seeing.ipc import IpcTable, ipcs
    from nsbox.seeing.layer import WrittenFiles
    from nsbox.seeing.missing import MissingSteps
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
    from nsbox.spec.world import HIDDEN_PLACES
    from nsbox.start.aio import create_subprocess_exec, create_subprocess_shell
    from nsbox.start.completed import Completed
    from nsbox.start.enter import enter
    from nsbox.start.fork_exec import fork_exec
    from nsbox.start.output import OutputLimit, OutputLimitError
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
    from nsbox.start.verdict import Verdict
    from nsbox.tasks.boxed import boxed
    from nsbox.tasks.executor import Executor
    from nsbox.tasks.outcome import Outcome

# No public name may also be the name of a folder or module here: importing that would put it in the name's place.
_NAMES = {
    "_core": ("__version__",),
    "box.box": ("Box",),
    "box.networks": ("Networks", "networks"),
    "box.veth": ("Switch", "VethEnd", "VethPair", "connect"),
    "command.explain": ("Explanation", "explain"),
    "diagnosis.doctor": ("Diagnosis", "doctor"),
    "errors": (
        "CallError", "CallTimeoutError", "ClosedError", "ForeignImportError", "NotEndedError", "NsboxError",
        "ProcessEndedError", "RemoteError", "ScopeError", "SpawnError", "SpawnPermissionError", "SpecError",
        "TransferError", "UnsupportedError", "WorkerDiedError",
    ),
    "namespaces.handle": ("Namespace",),
    "namespaces.pid_numbers": ("translate_pid",),
    "namespaces.scope": ("Scope", "mount_proc", "setns", "unshare"),
    "records.changes": ("Change", "Changes"),
    "records.ipc": ("IpcObject",),
    "records.mountinfo": ("Mount",),
    "records.namespaces": ("NamespaceRecord",),
    "records.networks": ("InterfaceRecord", "NetworkRecord", "RouteRecord"),
    "records.processes": ("Process",),
    "records.written": ("Kept", "WrittenFile"),
    "seeing.compare": ("Comparison", "compare"),
    "seeing.diff": ("Diff", "diff"),
    "seeing.ipc": ("IpcTable", "ipcs"),
    "seeing.layer": ("WrittenFiles",),
    "seeing.missing": ("MissingSteps",),
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
    "spec.world": ("HIDDEN_PLACES",),
    "start.aio": ("create_subprocess_exec", "create_subprocess_shell"),
    "start.completed": ("Completed",),
    "start.enter": ("enter",),
    "start.fork_exec": ("fork_exec",),
    "start.output": ("OutputLimit", "OutputLimitError"),
    "start.popen": ("Popen",),
    "start.run": (
        "CalledProcessError", "CompletedProcess", "DEVNULL", "PIPE", "STDOUT", "SubprocessError",
        "TimeoutExpired", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run",
    ),
    "start.shell": ("Shell", "ShellResult"),
    "start.verdict": ("Verdict",),
    "tasks.boxed": ("boxed",),
    "tasks.executor": ("Executor",),
    "tasks.outcome": ("Outcome",),
}  # fmt: skip
# Modules that are public as such.
_MODULES = ("lessons", "quiz", "raw")
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "DEVNULL",
    "HIDDEN_PLACES",
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
    "Completed",
    "CompletedProcess",
    "Diagnosis",
    "Diff",
    "Executor",
    "Explanation",
    "ForeignImportError",
    "InterfaceRecord",
    "IpcObject",
    "IpcTable",
    "Join",
    "Kept",
    "Limits",
    "MissingSteps",
    "Mount",
    "MountTable",
    "Namespace",
    "NamespaceRecord",
    "NamespaceTable",
    "NetworkRecord",
    "Networks",
    "NotEndedError",
    "NsboxError",
    "Observation",
    "Outcome",
    "OutputLimit",
    "OutputLimitError",
    "Overlay",
    "Pidfd",
    "Popen",
    "Proc",
    "Process",
    "ProcessEndedError",
    "ProcessTable",
    "ProcessTree",
    "RemoteError",
    "RouteRecord",
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
    "Switch",
    "TimeoutExpired",
    "Tmpfs",
    "TransferError",
    "UnsupportedError",
    "Verdict",
    "VethEnd",
    "VethPair",
    "WorkerDiedError",
    "WrittenFile",
    "WrittenFiles",
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
    "networks",
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
