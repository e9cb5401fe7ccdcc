"""The exceptions: their base classes, their messages, and pickle."""

from __future__ import annotations

import copy
import errno
import pickle
import subprocess

import nsbox
import pytest
from nsbox import errors
from nsbox._core import Call
from nsbox.diagnosis.failure import spawn_error

pytestmark = pytest.mark.pure

FACTS = (errno.ENOSPC, "clone", "caller", "clone3(CLONE_NEWPID)", "the limit is 0", "raise it", "limit-zero")


def test_family() -> None:
    """Every error is an NsboxError, and also derives from what callers of the standard library catch."""
    assert nsbox.SpecError.__mro__[1:3] == (nsbox.NsboxError, ValueError)
    assert nsbox.SpawnError.__mro__[1:3] == (nsbox.NsboxError, OSError)
    assert nsbox.SpawnPermissionError.__mro__[1:5] == (
        nsbox.SpawnError, nsbox.NsboxError, PermissionError, OSError,
    )  # fmt: skip
    assert issubclass(nsbox.UnsupportedError, nsbox.NsboxError)
    assert not issubclass(nsbox.UnsupportedError, OSError)
    assert nsbox.SpawnError.__module__ == errors.__name__


@pytest.mark.parametrize("cls", [nsbox.SpawnError, nsbox.SpawnPermissionError])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(cls: type[nsbox.SpawnError], protocol: int) -> None:
    """All attributes survive a pickle."""
    error = cls(*FACTS)
    for other in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is cls
        assert str(other) == str(error)
        assert (other.errno, other.step, other.actor, other.call, other.evidence, other.hint, other.cause) == FACTS
        assert other.strerror == error.strerror


def test_message() -> None:
    """The message has a line each for what failed, why, and what next, and none for what is unknown."""
    assert str(nsbox.SpawnError(*FACTS)) == (
        "step 'clone' failed: clone3(CLONE_NEWPID): No space left on device (errno 28)\n"
        "why: the limit is 0\n"
        "next: raise it"
    )
    assert str(nsbox.SpawnError(*FACTS[:4])).count("\n") == 0


@pytest.mark.parametrize(
    ("number", "cls"),
    [
        (errno.EPERM, nsbox.SpawnPermissionError),
        (errno.EACCES, nsbox.SpawnPermissionError),
        (errno.ENOSPC, nsbox.SpawnError),
        (errno.ENOENT, nsbox.SpawnError),
        (0, nsbox.SpawnError),
        (9999, nsbox.SpawnError),
    ],
)
def test_class_by_number(number: int, cls: type[nsbox.SpawnError]) -> None:
    """`except PermissionError` catches exactly the errors of that kind."""
    error = spawn_error(number, "clone", "caller", [Call("clone3")])
    assert type(error) is cls
    assert error.errno == number


def test_a_failing_search_for_causes_does_not_hide_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the search for evidence itself fails, the error is still raised."""

    def explain(_: object) -> None:
        raise FileNotFoundError("/proc")

    monkeypatch.setattr("nsbox.diagnosis.causes.explain", explain)
    error = spawn_error(errno.EPERM, "clone", "caller", [Call("clone3")], "detail")
    assert (error.errno, error.step, error.evidence) == (errno.EPERM, "clone", "detail")


def test_errors_of_subprocess_are_its_own() -> None:
    """Errors of subprocess are the classes themselves that its callers catch."""
    with pytest.raises(subprocess.CalledProcessError):
        nsbox.run(["false"], unshare="", check=True)
