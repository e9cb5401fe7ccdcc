"""Linux namespaces for Python: run things in them, see them, understand them."""

# General layout, along the way of the data:
#
#   mount.py     what is mounted: Bind, Tmpfs, Overlay, Proc
#   spec.py      what the caller asks for, validated: Spec
#   launch.py    the program and its surroundings; the one place where something is started
#   process.py   subprocess in namespaces: Popen, run, fork_exec
#   shell.py     an interactive shell as PID 1: Shell
#   tree.py      the process table and its tree: ps, pstree
#   views/       records to text
#   errors.py    everything that is raised
#   exercise/    the workshop exercise, live
#   cli/         the nsbox command
#
# Everything that must be atomic, free of allocations or fast is in Rust, behind nsbox._core.

from nsbox._core import __version__
from nsbox.errors import ClosedError, NsboxError, SpawnError, SpawnPermissionError, SpecError, UnsupportedError
from nsbox.mount import Bind, Overlay, Proc, Tmpfs
from nsbox.process import Popen, fork_exec, run
from nsbox.shell import Shell, ShellResult
from nsbox.spec import Spec
from nsbox.tree import Process, ProcessTable, ProcessTree, ps, pstree

__all__ = [
    "Bind",
    "ClosedError",
    "NsboxError",
    "Overlay",
    "Popen",
    "Proc",
    "Process",
    "ProcessTable",
    "ProcessTree",
    "Shell",
    "ShellResult",
    "SpawnError",
    "SpawnPermissionError",
    "Spec",
    "SpecError",
    "Tmpfs",
    "UnsupportedError",
    "__version__",
    "fork_exec",
    "ps",
    "pstree",
    "run",
]
