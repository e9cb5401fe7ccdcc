"""When a box closes its descriptors, and what keeps it open."""

from __future__ import annotations

import gc
import os
import select
import signal
import warnings
from collections.abc import Callable
from typing import Any

import nsbox
import pytest

from tests.support.census import wait_until
from tests.support.forked import Who, in_child


def descriptors() -> list[str]:
    """Return the numbers of all open descriptors."""
    return sorted(os.listdir("/proc/self/fd"))


def test_close_frees_descriptors(who: Who) -> None:
    """After `close` no descriptor is left, although the object is; what is known of the box still is."""

    def use() -> tuple[bool, int, bool, str]:
        nsbox.Box("mip").close()
        before = descriptors()
        box = nsbox.Box("mip")
        inner = box.Box("ip")
        process = box.Popen(["true"])
        process.wait()
        inner.close()
        box.close()
        return descriptors() == before, box.pidfd, len(box.events) > 2, repr(box).rpartition("; ")[2]

    assert who(lambda: in_child(use)) == (True, -1, True, "ended with -9>")


def test_killed_from_outside(who: Who) -> None:
    """The same for a box that was killed, once that was noticed."""

    def use() -> tuple[bool, int]:
        nsbox.Box("mip").close()
        before = descriptors()
        box = nsbox.Box("mip")
        signal.pidfd_send_signal(box.pidfd, signal.SIGKILL)
        assert wait_until(lambda: not box.alive)
        return descriptors() == before, box.wait()

    assert who(lambda: in_child(use)) == (True, -9)


def test_a_process_of_a_closed_box() -> None:
    """A process that ended with its box can still be asked; its handles of the box are closed."""
    box = nsbox.Box("mip")
    process = box.Popen(["sleep", "1000"])
    child = box.fork_exec(["sleep", "1000"])
    box.close()
    assert (process.wait(), child.wait().returncode) == (-9, -9)  # type: ignore[union-attr]
    assert child.init_pidfd == -1
    process.kill()
    with pytest.raises(nsbox.ClosedError):
        box.run(["true"])


KEEPERS: dict[str, Callable[[nsbox.Box], Any]] = {
    "program": lambda box: box.Popen(["cat"], stdin=-1),
    "handle": lambda box: box.fork_exec(["sleep", "1000"]),
    "shell": lambda box: box.shell(),
    "box inside": lambda box: box.Box("ip"),
    "program of a box inside": lambda box: box.Box("ip").Popen(["cat"], stdin=-1),
}


@pytest.mark.parametrize("keeper", KEEPERS)
def test_a_child_keeps_its_box(who: Who, keeper: str) -> None:
    """A box without a variable lives as long as something in it has one, and ends with that."""

    def use() -> tuple[bool, bool, bool]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            box = nsbox.Box("mip")
            pidfd = os.dup(box.pidfd)
            kept = KEEPERS[keeper](box)
            del box
            gc.collect()
            alive = not ended(pidfd)
            runs = kept.alive if hasattr(kept, "alive") else still_runs(kept)
            if keeper.startswith("program"):
                kept.kill()
                kept.communicate()
            del kept
            gc.collect()
            gone = wait_until(lambda: ended(pidfd))
            os.close(pidfd)
            return alive, runs, gone

    assert who(lambda: in_child(use)) == (True, True, True)


def still_runs(process: Any) -> bool:
    """Return whether a program, or its handle, has not ended."""
    return (process.poll() if hasattr(process, "poll") else process.wait(0)) is None


def ended(pidfd: int) -> bool:
    """Return whether a process has ended."""
    return bool(select.select([pidfd], [], [], 0)[0])


def test_a_worker_does_not_keep_its_box() -> None:
    """A box that has called a function is closed when its last variable goes, not at some later garbage collection."""

    def use() -> bool:
        gc.disable()
        box = nsbox.Box("mip")
        box.call(int, "3")
        pidfd = os.dup(box.pidfd)
        with pytest.warns(ResourceWarning):
            del box
        return ended(pidfd)

    assert in_child(use)
