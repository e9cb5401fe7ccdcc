"""Grade the exercise: a shell that is PID 1, with a /proc for its PID namespace. The tests look at the kernel's state.

The checks of what must not happen count only when a new PID namespace was made: they all pass for a submission that
does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from nsbox.assertions import assert_init, assert_isolated, assert_proc_matches
from nsbox.grading import Submission
from typed import Typed


@pytest.fixture(scope="module")
def lab(open_submission: Callable[..., AbstractContextManager[Submission]]) -> Iterator[Typed]:
    """Type the submission once; its processes and namespaces exist until the last test."""
    with open_submission(namespaces=True, processes=200) as submission, Typed(submission) as typed:
        for script in sorted(submission.source.glob("*.sh"))[:1]:
            typed.type(script.read_text(encoding="utf-8", errors="surrogateescape").splitlines())
        yield typed


@pytest.mark.points(1)
@pytest.mark.parametrize("kind", ["pid", "mount", "ipc"])
def test_has_namespaces(lab: Typed, kind: str) -> None:
    """The shell is in a new namespace of this kind."""
    assert_isolated(lab.current_shell(), kind, since=lab.shell)


@pytest.mark.points(2)
def test_bash_is_pid_1(lab: Typed) -> None:
    """The shell is bash, and PID 1 of its PID namespace."""
    assert_init(lab.current_shell(), comm="bash", since=lab.shell)


@pytest.mark.points(2)
def test_proc_shows_the_new_namespace(lab: Typed) -> None:
    """/proc shows the new PID namespace."""
    assert_proc_matches(lab.current_shell(), since=lab.shell)


@pytest.mark.points(1)
@pytest.mark.requires("test_has_namespaces[pid]")
def test_runs_to_the_end(lab: Typed) -> None:
    """No line reaches the timeout, and a shell is left after the last line."""
    assert not lab.problem, lab.problem


@pytest.mark.points(1)
@pytest.mark.requires("test_has_namespaces[pid]")
def test_mounts_nothing_outside(lab: Typed) -> None:
    """The mounts of the first shell have not changed."""
    assert not lab.mounts_changed()


@pytest.mark.points(1)
@pytest.mark.requires("test_has_namespaces[pid]")
def test_leaves_nothing_outside(lab: Typed) -> None:
    """Outside the new PID namespace, only the first shell and the processes of its session are left."""
    assert not lab.strays()
