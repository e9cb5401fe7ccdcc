"""Run a function in a forked child and return its result: for everything that cannot be undone."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import pytest

from tests.support import libc

__all__ = ["USER", "Who", "as_user", "become_user", "fork", "in_child"]

T = TypeVar("T")

USER = os.geteuid() or 65533 - int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""The id of the ordinary user, and of its group: that of the tests themselves unless they run as root.

Root uses one that nothing else uses, and another in each worker of xdist, as the kernel has limits for each user.
(65534 is what the kernel shows for unmapped ids.)
"""

_LIMIT_SECONDS = 600
"""Seconds after which a child is killed by SIGALRM, so that it does not outlive a test run that was killed."""


def fork() -> int:
    """Call fork(2) without Python's warning about threads: the children in the tests do not use them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_child(function: Callable[[], T]) -> T:
    """Return what `function` returns, or raise what it raises, in a forked child.

    Raises:
        RuntimeError: when the child ended without a result, or by KeyboardInterrupt or SystemExit, which would end
            pytest instead of failing the test.
    """
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        _child(function, writer)
    os.close(writer)
    try:
        with open(reader, "rb") as stream:
            answer = stream.read()
    finally:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not answer:
        raise RuntimeError(f"the child ended with {status} without an answer")
    failed, result = pickle.loads(answer)
    if failed:
        raise result
    value: T = result
    return value


def _child(function: Callable[[], object], writer: int) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LIMIT_SECONDS)
    # Objects that the parent has left unreferenced must not be finalized in this process.
    gc.freeze()
    try:
        answer = False, function()
    except (KeyboardInterrupt, SystemExit):
        answer = True, RuntimeError(f"the child ended by\n{traceback.format_exc()}")
    except BaseException as error:
        # With nested children it is passed on several times; a note in a note in a note doubles each time.
        if not hasattr(error, "__notes__"):
            error.add_note(traceback.format_exc())
        answer = True, error
    try:
        data = pickle.dumps(answer)
    except Exception as error:
        data = pickle.dumps((True, RuntimeError(f"{answer[1]!r} cannot be pickled: {error!r}")))
    with open(writer, "wb") as stream:
        stream.write(data)
    os._exit(0)


def as_user(function: Callable[[], T], user: int = USER) -> T:
    """Return what `function` returns, or raise what it raises, in a child without any privilege.

    The interpreter may be where that user cannot read, so `function` must import nothing. The child stays as a
    process is that gave up its rights without an exec: not dumpable (prctl(2)), the harder case.
    """

    def drop() -> T:
        become_user(user)
        return function()

    return in_child(drop)


def become_user(user: int = USER, *, directory: str = "/") -> None:
    """Give up all privileges for good. Without any, only become not dumpable, as a process that had some does."""
    os.chdir(directory)
    if os.geteuid() != 0:
        if user != USER:
            pytest.skip("only root can become another user")
        libc.prctl(libc.PR_SET_DUMPABLE, 0)
        return
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


@dataclass(frozen=True)
class Who:
    """The user who runs a function: `root`, in the test process itself, or an ordinary `user`, in a child.

    Only root can run as both; an ordinary user runs as `user` alone.
    """

    name: str

    @property
    def is_root(self) -> bool:
        """Whether it has all privileges."""
        return self.name == "root"

    def __call__(self, function: Callable[[], T]) -> T:
        """Return what `function` returns when run as this user."""
        return function() if self.is_root else as_user(function)
