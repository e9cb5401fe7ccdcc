"""Signals to the caller at any moment, and children of os.fork that keep inherited descriptors."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import nsbox
import pytest

from tests.support.callers import alive
from tests.support.census import descendants, wait_until
from tests.support.forked import Who, fork, in_child


class InterruptedHereError(Exception):
    """The exception that the handler raises."""


@contextmanager
def interruptions() -> Iterator[Callable[[], None]]:
    """Return a function that sends a signal at a random moment, whose handler raises."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        raise InterruptedHereError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 3e-3)) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "start",
    [
        lambda box: box.fork_exec(["sleep", "1000"]),
        lambda box: box.Box("ip"),
        lambda box: box.open("/proc/self/status"),
    ],
    ids=["a program", "a box inside", "a file"],
)
def test_interrupted_in_a_box(who: Who, start: Callable[[nsbox.Box], Any]) -> None:
    """If a handler raises during a start, no program is left in the box, and no descriptor stays open."""

    def use() -> tuple[list[int], int]:
        with nsbox.Box("mip") as box:
            start(box)
            descriptors, kept = len(os.listdir("/proc/self/fd")), None
            with interruptions() as soon:
                for _ in range(250):
                    try:
                        soon()
                        kept = start(box)
                        time.sleep(0.005)
                    except InterruptedHereError:
                        kept = None
            assert kept is None
            wait_until(lambda: len(box.ps()) == 1)
            return [process.pid for process in box.ps()], len(os.listdir("/proc/self/fd")) - descriptors

    with warnings.catch_warnings():
        # Handles that are dropped meanwhile give ResourceWarnings.
        warnings.simplefilter("ignore", ResourceWarning)
        assert in_child(lambda: who(use)) == ([1], 0)


@contextmanager
def forking() -> Iterator[None]:
    """Fork all the time, as some pools of workers do. The children keep all descriptors open."""
    children: list[int] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set() and len(children) < 150:
            pid = fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            children.append(pid)
            time.sleep(0.0005)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_init_killed_while_children_of_fork_keep_the_socket() -> None:
    """If nsbox-init is killed, the caller notices, even if other processes have copies of its end of the socket."""
    ends: list[int] = []
    before = set(descendants())
    with forking():
        threads = [
            threading.Thread(target=lambda: ends.append(nsbox.run(["sleep", "1000"]).returncode)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        assert wait_until(lambda: len(inits(before)) == len(threads))
        time.sleep(0.1)
        for pid in inits(before):
            os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join(60)
        assert ends == [-9] * len(threads)


def inits(before: set[int]) -> list[int]:
    """Return the nsbox-inits that have started their program."""
    found = []
    for pid in set(descendants()) - before:
        try:
            with open(f"/proc/{pid}/comm") as name, open(f"/proc/{pid}/task/{pid}/children") as children:
                if name.read() == "nsbox-init\n" and children.read() and alive(pid):
                    found.append(pid)
        except FileNotFoundError:
            continue
    return found


def test_box_closed_while_children_of_fork_keep_the_socket() -> None:
    """The same for programs in a box, with run and with wait."""

    def run(box: nsbox.Box) -> Any:
        return box.run(["sleep", "1000"]).returncode

    def wait(box: nsbox.Box) -> Any:
        return box.fork_exec(["sleep", "1000"]).wait()

    def use(how: Callable[[nsbox.Box], Any], box: nsbox.Box, ends: list[Any]) -> None:
        try:
            ends.append(how(box))
        except nsbox.ClosedError:  # the program starts a little before the caller is notified
            ends.append("closed")

    for _ in range(5):
        with forking():
            ends: list[Any] = []
            box = nsbox.Box("mip")
            threads = [threading.Thread(target=use, args=(how, box, ends)) for how in (run, wait) for _ in range(4)]
            for thread in threads:
                thread.start()
            assert wait_until(lambda box=box: len(box.ps()) == 9)
            box.close()
            for thread in threads:
                thread.join(60)
            assert len(ends) == len(threads)


def test_events_in_a_child_of_fork() -> None:
    """They are the parent's, and so is the lock, which a thread that does not exist in the child may hold."""
    with nsbox.Box("mip") as box:
        pid = fork()
        if pid == 0:
            try:
                box.events  # noqa: B018 - the access raises
            except nsbox.ClosedError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
