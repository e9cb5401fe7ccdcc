"""A signal handler that raises at any moment leaves no descriptor open, and closes none twice.

This is a reduced form: a few hundred moments for each use, spread over its duration.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import nsbox
import pytest

from tests.support.census import reap_adopted
from tests.support.forked import Who, in_child

SECONDS = 2.0
"""How long each use is repeated: a bound for the time of the test, not for that of the use."""


class InterruptedHereError(BaseException):
    """The exception that the handler raises. No code of nsbox handles it as an error."""


def call(box: nsbox.Box) -> None:
    """Call a function in a worker of its own."""
    box.call(int, "3", fresh=True)


def scope(box: nsbox.Box) -> None:
    """Move the thread."""
    with nsbox.setns(box, "net"):
        pass


def shell(_: nsbox.Box) -> None:
    """Start a shell, and end it."""
    nsbox.Shell("mip").exit()


def file(box: nsbox.Box) -> None:
    """Open a file of the box."""
    with box.open("/proc/self/status"):
        pass


def enter(box: nsbox.Box) -> None:
    """Run a program that joins the box."""
    nsbox.enter(box, "net", ["true"])


def socket(box: nsbox.Box) -> None:
    """Make a socket in the box. If it were closed twice, the second time would be an error, or hit another file."""
    box.socket().close()


def namespace(box: nsbox.Box) -> None:
    """Open a namespace, and that which owns it."""
    with box.namespace("net") as opened, opened.owner:
        pass


def inner(box: nsbox.Box) -> None:
    """Make a box in the box."""
    box.Box("ip").close()


USES = [call, scope, shell, file, enter, socket, namespace, inner]


def descriptors() -> dict[str, str]:
    """Return all open descriptors with what they refer to."""
    gc.collect()
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def interrupted(use: Callable[[nsbox.Box], None]) -> tuple[list[str], list[str], bool]:
    """Repeat a use with interruptions. Return what new descriptors refer to, errors, and whether any moment was hit."""
    armed: list[bool] = []
    # pytest keeps what is raised in a finalizer, by a warning or by the handler, and with it the object.
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None

    def handler(_number: int, _frame: FrameType | None) -> None:
        if armed:
            raise InterruptedHereError

    signal.signal(signal.SIGALRM, handler)
    errors: list[str] = []
    hits = 0
    with nsbox.Box("mipun") as box:
        use(box)
        begin = time.monotonic()
        use(box)
        duration = time.monotonic() - begin
        before = descriptors()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                try:
                    armed.append(True)
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, duration))
                    use(box)
                finally:
                    armed.clear()
            except InterruptedHereError:
                hits += 1
            except Exception as error:
                errors.append(repr(error))
        after = descriptors()
    return [target for number, target in after.items() if number not in before], errors, hits > 0


@pytest.mark.parametrize("use", USES, ids=[use.__name__ for use in USES])
def test_nothing_is_left(use: Callable[[nsbox.Box], None]) -> None:
    """As root: no descriptor is left, and no use fails afterwards because one was closed that belonged to another."""
    assert in_child(lambda: interrupted(use)) == ([], [], True)
    # An orphan of a program that was killed in its set-up is adopted by this process, as by any other reaper.
    reap_adopted()


@pytest.mark.parametrize("use", [use for use in USES if use not in (call, scope)])
def test_nothing_is_left_as_a_user(use: Callable[[nsbox.Box], None]) -> None:
    """As an ordinary user. It cannot move a thread into its box, and cannot read the interpreter that a call needs."""
    assert Who("user")(lambda: in_child(lambda: interrupted(use))) == ([], [], True)
    reap_adopted()
