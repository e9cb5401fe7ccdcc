"""Linux namespaces for Python: run things in them, see them, understand them."""

# General layout, along the way of the data:
#
#   spec.py      what the caller asks for, validated: Spec
#   launch.py    the program and its surroundings; the one place where something is started
#   process.py   subprocess in namespaces: Popen, run, fork_exec
#   enter.py     a program in namespaces that exist already: enter
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

from nsbox._core import __version__
from nsbox._target import Pidfd
from nsbox.enter import enter
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
from nsbox.process import Popen, fork_exec, run
from nsbox.scope import Scope, mount_proc, setns, unshare
from nsbox.shell import Shell, ShellResult
from nsbox.spec import Spec
from nsbox.translate import translate_pid
from nsbox.tree import Process, ProcessTable, ProcessTree, ps, pstree

__all__ = [
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
