"""Grade exercise 2: a shell that is PID 1, with a /proc for its PID namespace. The tests check the kernel's state."""

from __future__ import annotations

import pytest
from nsbox.assertions import assert_init, assert_isolated, assert_proc_matches
from sandbox import Sandbox


@pytest.mark.points(1)
def test_runs_to_the_end(sandbox: Sandbox) -> None:
    """No line reaches the timeout, and a shell is left after the last line."""
    assert not sandbox.problem, sandbox.problem


@pytest.mark.points(1)
@pytest.mark.parametrize("kind", ["pid", "mount", "ipc"])
def test_has_namespaces(sandbox: Sandbox, kind: str) -> None:
    """The shell is in a new namespace of this kind."""
    assert_isolated(sandbox.current_shell(), kind, since=sandbox.shell)


@pytest.mark.points(2)
def test_bash_is_pid_1(sandbox: Sandbox) -> None:
    """The shell is bash, and PID 1 of its PID namespace."""
    shell = sandbox.current_shell()
    assert_isolated(shell, "pid", since=sandbox.shell)
    assert_init(shell, comm="bash")


@pytest.mark.points(2)
def test_proc_shows_the_new_namespace(sandbox: Sandbox) -> None:
    """/proc shows the new PID namespace."""
    shell = sandbox.current_shell()
    assert_isolated(shell, "pid", since=sandbox.shell)
    assert_proc_matches(shell)


@pytest.mark.points(1)
def test_mounts_nothing_outside(sandbox: Sandbox) -> None:
    """The mounts of the first shell have not changed."""
    assert sandbox.shell.alive, sandbox.problem
    assert not sandbox.mounts_changed()


@pytest.mark.points(1)
def test_leaves_nothing_outside(sandbox: Sandbox) -> None:
    """Outside the new PID namespace, only the first shell and the processes of its session are left."""
    assert sandbox.box.alive, sandbox.problem
    strays = [
        process.command
        for process in sandbox.processes()
        if process.sid != sandbox.shell.pid and not sandbox.is_new(process)
    ]
    assert not strays
