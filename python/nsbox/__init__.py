"""Linux namespaces for Python: run things in them, see them, understand them."""

# General layout, along the way of the data:
#
#   spec.py      what the caller asks for, validated: Spec
#   launch.py    the program and its surroundings; the one place where something is started
#   process.py   subprocess in namespaces: Popen, run, fork_exec
#   nsenter.py   a program in namespaces that exist already: enter
#   join.py      which ones those are: Join
#   namespaces.py  a handle of a namespace: Namespace
#   scope.py     namespaces for the calling thread, undone at the end: unshare, setns, mount_proc
#   translate.py  the numbers of one process in several PID namespaces: translate_pid
#   raw.py       the system calls themselves
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
    from nsbox import raw as raw
    from nsbox._core import __version__
    from nsbox._target import Pidfd
    from nsbox.box import Box
    from nsbox.errors import (
        ClosedError,
        NsboxError,
        ScopeError,
        SpawnError,
        SpawnPermissionError,
        SpecError,
        UnsupportedError,
    )
    from nsbox.join import Join
    from nsbox.namespaces import Namespace
    from nsbox.nsenter import enter
    from nsbox.process import Popen, fork_exec, run
    from nsbox.scope import Scope, mount_proc, setns, unshare
    from nsbox.shell import Shell, ShellResult
    from nsbox.spec import Spec
    from nsbox.translate import translate_pid
    from nsbox.tree import Process, ProcessTable, ProcessTree, ps, pstree

# No public name may also be the name of a module here: importing that module would put it in the name's place.
_NAMES = {
    "_core": ("__version__",),
    "_target": ("Pidfd",),
    "box": ("Box",),
    "errors": (
        "ClosedError",
        "NsboxError",
        "ScopeError",
        "SpawnError",
        "SpawnPermissionError",
        "SpecError",
        "UnsupportedError",
    ),
    "join": ("Join",),
    "namespaces": ("Namespace",),
    "nsenter": ("enter",),
    "process": ("Popen", "fork_exec", "run"),
    "scope": ("Scope", "mount_proc", "setns", "unshare"),
    "shell": ("Shell", "ShellResult"),
    "spec": ("Spec",),
    "translate": ("translate_pid",),
    "tree": ("Process", "ProcessTable", "ProcessTree", "ps", "pstree"),
}
# Modules that are public as such.
_MODULES = ("raw",)
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Box",
    "ClosedError",
    "Join",
    "Namespace",
    "NsboxError",
    "Pidfd",
    "Popen",
    "Process",
    "ProcessTable",
    "ProcessTree",
    "Scope",
    "ScopeError",
    "Shell",
    "ShellResult",
    "SpawnError",
    "SpawnPermissionError",
    "Spec",
    "SpecError",
    "UnsupportedError",
    "__version__",
    "enter",
    "fork_exec",
    "mount_proc",
    "ps",
    "pstree",
    "run",
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
