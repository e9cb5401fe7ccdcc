"""A function called in a forked child inside a box. (Its use in tests is in tests/plugin/test_unshare.py.)"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

import nsbox
import pytest
from nsbox.tasks.within import Within

from tests.support import libc
from tests.support.census import descendants, reaped_all, wait_until
from tests.support.forked import Who

LINKS = ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time")
KINDS = ("mount", "ipc", "pid", "uts", "net", "cgroup", "time", "user")


def call(function: Callable[[], object], *kinds: str, **options: object) -> int:
    """Call it in a new box and return the status."""
    with nsbox.Box(kinds, **options) as box, Within(box, function) as within:  # type: ignore[arg-type]
        return within.wait()


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_is_inside(who: Who, kind: str) -> None:
    """The child is in all namespaces of the box, of one kind or all."""
    kinds = KINDS if kind == "all" else (kind,)

    def check() -> int:
        links = {name: "mnt" if name == "mount" else name for name in KINDS}
        own = {name: os.readlink(f"/proc/self/ns/{links[name]}") for name in KINDS}

        def inside() -> None:
            new = {name for name in KINDS if os.readlink(f"/proc/self/ns/{links[name]}") != own[name]}
            os._exit(7 if set(kinds) <= new <= {*kinds, "user"} else 8)

        return call(inside, *kinds)

    assert who(check) == 7


def test_status() -> None:
    """The status is that of any child: its exit status, a signal, 1 for an exception."""

    def fails() -> None:
        raise OSError(9, "on purpose")

    assert call(lambda: None) == 0
    assert call(fails) == 1
    assert call(lambda: os.kill(os.getpid(), 15), "pid") == -15


def test_the_init_is_left_to_the_box() -> None:
    """The init of the box is a child of this process in that PID namespace, too, and is not ended here."""
    with nsbox.Box("pid") as box:
        with Within(box, lambda: None) as within:
            assert within.wait() == 0
        assert box.alive
        assert box.run(["true"]).returncode == 0


@pytest.mark.parametrize("kind", ["pid", "uts"])
def test_nothing_is_left(who: Who, kind: str) -> None:
    """After the end and after an abort, neither the child nor its daemons are left."""

    def daemon() -> None:
        subprocess.Popen(["sleep", "4713"], start_new_session=True)

    def hangs() -> None:
        daemon()
        time.sleep(4713)

    def check() -> str:
        assert call(daemon, kind) == 0
        with nsbox.Box(kind) as box, Within(box, hangs) as within:
            assert wait_until(lambda: _sleeping(4713))
        assert not _sleeping(4713)
        return within.stack

    assert "in hangs" in who(check)


def test_busy_threads(busy_threads: None) -> None:
    """It works in a caller with busy threads."""
    del busy_threads
    for _ in range(10):
        assert call(lambda: os._exit(os.getpid()), "pid") == 2


def test_keeper_is_killed() -> None:
    """If the keeper is killed, the child ends, and the caller gets an error."""

    def hangs() -> None:
        time.sleep(4714)

    with nsbox.Box("uts") as box, Within(box, hangs) as within:
        os.kill(within.keeper, 9)
        with pytest.raises(nsbox.NsboxError, match="was killed"):
            within.wait()
    # The child died as an orphan, which this process has adopted.
    assert wait_until(reaped_all)


def test_without_a_keeper(who: Who) -> None:
    """In a box with a PID namespace, the caller is the parent of the child, and no other process has its memory."""

    def hangs() -> None:
        subprocess.run(["sleep", "4718"], check=True)

    def check() -> tuple[int, int, list[str]]:
        with nsbox.Box("pid") as box, Within(box, hangs) as within:
            assert wait_until(lambda: _sleeping(4718))
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                children = sorted(file.read().split())
            parents = {process.pid: process.ppid for process in nsbox.ps(pids=descendants())}
            assert children == sorted(map(str, (within.child, box.pid)))
            return within.keeper, parents[within.child] - os.getpid(), children

    keeper, difference, children = who(check)
    assert keeper == difference == 0
    assert len(children) == 2


@pytest.mark.parametrize("kind", ["uts", "uts net"])
def test_the_keeper_stays_outside(who: Who, kind: str) -> None:
    """It is in no namespace of the box, and has no descriptors of the caller but those that it needs."""

    def hangs() -> None:
        subprocess.run(["sleep", "4717"], check=True)

    def check() -> tuple[list[bool], list[int], int]:
        # A child that gave up its rights may not look at its own copies otherwise.
        libc.prctl(libc.PR_SET_DUMPABLE, 1)
        reader, writer = os.pipe()
        with nsbox.Box(kind) as box, Within(box, hangs) as within:
            assert wait_until(lambda: _sleeping(4717))
            keeper = f"/proc/{within.keeper}"
            same = [os.readlink(f"{keeper}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}") for name in LINKS]
            found = [fd for fd in map(int, os.listdir(f"{keeper}/fd")) if fd > 2]
            with open(f"{keeper}/task/{within.keeper}/children") as file:
                children = len(file.read().split())
        os.close(reader)
        os.close(writer)
        return same, found, children

    same, found, children = who(check)
    assert all(same)
    # For the result, the stack, the caller's pidfd, the lifeline, the child's pidfd; two that were for the start.
    assert len(found) <= 7
    assert children == 1


def _sleeping(seconds: int) -> bool:
    return any(process.command == f"sleep {seconds}" for process in nsbox.ps(pids=descendants()))
