"""Linux namespaces for Python: run things in them, see them, understand them."""

# General layout, along the way of the data:
#
#   spec.py      what the caller asks for, validated: Spec
#   launch.py    the program and its surroundings; the one place where something is started
#   process.py   subprocess in namespaces: Popen, run, fork_exec
#   shell.py     an interactive shell as PID 1: Shell
#   tree.py      the process table and its tree: ps, pstree
#   views/       records to text
#   errors.py    everything that is raised
#   _hints/      why a step failed: every cause, recognised from evidence (_evidence.py)
#   diagnosis.py what this machine allows: doctor
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
    from nsbox.box import Box
    from nsbox.diagnosis import Diagnosis, doctor
    from nsbox.errors import ClosedError, NsboxError, SpawnError, SpawnPermissionError, SpecError, UnsupportedError
    from nsbox.process import Popen, fork_exec, run
    from nsbox.shell import Shell, ShellResult
    from nsbox.spec import Spec
    from nsbox.tree import Process, ProcessTable, ProcessTree, ps, pstree

# No public name may also be the name of a module here: importing that module would put it in the name's place.
_NAMES = {
    "_core": ("__version__",),
    "box": ("Box",),
    "diagnosis": ("Diagnosis", "doctor"),
    "errors": ("ClosedError", "NsboxError", "SpawnError", "SpawnPermissionError", "SpecError", "UnsupportedError"),
    "process": ("Popen", "fork_exec", "run"),
    "shell": ("Shell", "ShellResult"),
    "spec": ("Spec",),
    "tree": ("Process", "ProcessTable", "ProcessTree", "ps", "pstree"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "Box",
    "ClosedError",
    "Diagnosis",
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
    "UnsupportedError",
    "__version__",
    "doctor",
    "fork_exec",
    "ps",
    "pstree",
    "run",
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
