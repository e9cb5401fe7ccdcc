"""The exceptions: their family, their words, and that they survive a pickle."""

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
    """Everything is an NsboxError, and what the standard library's callers catch as well."""
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
    """All attributes survive."""
    error = cls(*FACTS)
    for other in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is cls
        assert str(other) == str(error)
        assert (other.errno, other.step, other.actor, other.call, other.evidence, other.hint, other.cause) == FACTS
        assert other.strerror == error.strerror


def test_words() -> None:
    """What failed, why, what next: a line for each, and none for what is not known."""
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
    """`except PermissionError` works where it should, and only there."""
    error = spawn_error(number, "clone", "caller", [Call("clone3")])
    assert type(error) is cls
    assert error.errno == number


def test_hints_that_fail_do_not_hide_the_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for evidence may itself find nothing to read."""

    def explain(_: object) -> None:
        raise FileNotFoundError("/proc")

    monkeypatch.setattr("nsbox.diagnosis.causes.explain", explain)
    error = spawn_error(errno.EPERM, "clone", "caller", [Call("clone3")], "detail")
    assert (error.errno, error.step, error.evidence) == (errno.EPERM, "clone", "detail")


def test_errors_of_subprocess_are_its_own() -> None:
    """A drop-in raises the very classes its callers catch."""
    with pytest.raises(subprocess.CalledProcessError):
        nsbox.run(["false"], unshare="", check=True)
