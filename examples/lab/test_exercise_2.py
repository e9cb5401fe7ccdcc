"""Exercise 2, graded: a shell that is PID 1, and a /proc that fits. A test for each step, each looks at the kernel."""

from __future__ import annotations

import pytest
from arena import Arena
from nsbox.assertions import assert_init, assert_isolated, assert_proc_matches


@pytest.mark.points(1)
def test_comes_to_an_end(arena: Arena) -> None:
    """Every line is done in time, and a shell answers afterwards."""
    assert not arena.problem, arena.problem


@pytest.mark.points(1)
@pytest.mark.parametrize("kind", ["pid", "mount", "ipc"])
def test_has_namespaces(arena: Arena, kind: str) -> None:
    """The shell that answers has namespaces of its own."""
    assert_isolated(arena.answering(), kind, since=arena.shell)


@pytest.mark.points(2)
def test_bash_is_pid_1(arena: Arena) -> None:
    """It is bash, and the first process of its PID namespace."""
    shell = arena.answering()
    assert_isolated(shell, "pid", since=arena.shell)
    assert_init(shell, comm="bash")


@pytest.mark.points(2)
def test_proc_shows_the_new_namespace(arena: Arena) -> None:
    """The list of processes is that of the new PID namespace."""
    shell = arena.answering()
    assert_isolated(shell, "pid", since=arena.shell)
    assert_proc_matches(shell)


@pytest.mark.points(1)
def test_outside_is_as_before(arena: Arena) -> None:
    """No mount has been made where the first shell is."""
    assert arena.shell.alive, arena.problem
    assert not arena.mounts_changed()


@pytest.mark.points(1)
def test_leaves_nothing_outside(arena: Arena) -> None:
    """Nothing runs outside of the new PID namespace but the first shell and what leads to the new one."""
    assert arena.box.alive, arena.problem
    stray = [
        process.command for process in arena.processes() if process.sid != arena.shell.pid and not arena.is_new(process)
    ]
    assert not stray
