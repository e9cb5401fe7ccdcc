"""PIDs of a process in several namespaces: by the kernel's requests, by /proc, and by the process itself."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import nsbox
import pytest
from nsbox import translate_pid

from tests.support import seccomp
from tests.support.forked import Who, in_child
from tests.support.inside import status
from tests.support.seccomp import Deny

REQUESTS = 0xB706, 0xB707, 0xB708, 0xB709


@contextmanager
def nested(levels: int) -> Iterator[list[nsbox.Popen]]:
    """Start programs in PID namespaces, each inside the one before."""
    with ExitStack() as stack:
        found: list[nsbox.Popen] = []
        for _ in range(levels):
            join = (found[-1], "pid user") if found else None
            process = nsbox.Popen(["sleep", "1000"], unshare="p", join=join)
            stack.enter_context(process)
            stack.callback(process.kill)
            found.append(process)
        yield found


@pytest.mark.parametrize("source", ["kernel", "proc"])
def test_all_pairs(who: Who, source: str) -> None:
    """Each PID into each namespace, three levels deep; a process outside of a namespace has no PID in it."""

    def check() -> int:
        if source == "proc":
            rules = (Deny("ioctl", errno.ENOTTY, argument=1, equals=0x80040000 | number) for number in REQUESTS)
            seccomp.install(*rules)
        with nested(3) as boxes:
            places: list[nsbox.Popen | None] = [None, *boxes]
            compared = 0
            for level, box in enumerate(boxes, 1):
                with open(f"/proc/{box.pid}/status") as file:
                    numbers = [int(number) for number in status(file.read())["NSpid"].split()]
                assert len(numbers) == level + 1
                assert numbers[-1] == box.pid_inside
                for one, inside in enumerate(numbers):
                    for other, place in enumerate(places):
                        if other < len(numbers):
                            assert translate_pid(inside, places[one], place) == numbers[other]
                        else:
                            with pytest.raises(ProcessLookupError):
                                translate_pid(inside, places[one], place)
                        compared += 1
        return compared

    assert in_child(lambda: who(check)) == 36


def test_threads_and_handles() -> None:
    """A thread has a TID, and a handle works as well as a process."""
    script = "import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start(); print(flush=True)"
    with nsbox.Popen([sys.executable, "-c", script], unshare="p", stdout=subprocess.PIPE) as box:
        assert box.stdout
        box.stdout.readline()
        with nsbox.Namespace.of(box, "pid") as namespace:
            outside = sorted(int(tid) for tid in os.listdir(f"/proc/{box.pid}/task"))
            inside = [translate_pid(tid, to=namespace) for tid in outside]
            back = [translate_pid(tid, namespace) for tid in inside]
            closed = namespace.closed
        box.kill()
    assert inside == [box.pid_inside, box.pid_inside + 1]
    assert (back, closed) == (outside, False)


def test_no_such_process() -> None:
    """A process that has ended, one in another namespace, and a value that is no PID."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    with nsbox.Popen(["sleep", "1000"], unshare="pi") as box:
        for pid, source, destination in ((ended.pid, None, box), (os.getpid(), None, box), (4711, box, None)):
            with pytest.raises(ProcessLookupError) as caught:
                translate_pid(pid, source, destination)
            assert caught.value.errno == errno.ESRCH
        for wrong in (0, -1, True, "1"):
            with pytest.raises(nsbox.SpecError, match="pid: "):
                translate_pid(wrong)  # type: ignore[arg-type]
        with pytest.raises(nsbox.SpecError, match="to: "):
            translate_pid(1, to=f"/proc/{box.pid}/ns/ipc")
        with pytest.raises(nsbox.SpecError, match="from_: "):
            translate_pid(1, from_=object())
        box.kill()


def test_own() -> None:
    """Without namespaces the result is the PID itself, if the process exists."""
    assert translate_pid(os.getpid()) == os.getpid()
    assert translate_pid(os.getpid(), os.getpid(), os.getpid()) == os.getpid()
