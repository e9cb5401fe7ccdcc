"""A look into a box gives a program inside nothing of the caller: neither its memory nor a descriptor (attack 1)."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import nsbox
import pytest
from nsbox.cli import nsenter

from tests.support import libc
from tests.support.attack import PYTHON, achieved, program
from tests.support.callers import caller, survivors
from tests.support.census import GONE_TIMEOUT_SECONDS, adopt_orphans, descendants, wait_until
from tests.support.forked import Who, as_user, fork, in_child
from tests.support.needs import needs, needs_root

MARK = b"the caller's own variable 7128"
"""What a variable of the caller holds, and what the attack program overwrites if it can."""

Look = Callable[[int], object]

LOOKS: dict[str, Look] = {
    "ps": lambda pid: nsbox.ps(of=pid),
    "pstree": lambda pid: nsbox.pstree(of=pid),
    "ipcs": nsbox.ipcs,
    "lsns": lambda pid: nsbox.lsns(of=pid),
}
TIMES = 60


def dumpable() -> None:
    """Become dumpable, as a process is that was never another user: only then could the caller be traced at all."""
    libc.prctl(libc.PR_SET_DUMPABLE, 1)


def unshare_of(who: Who) -> str:
    """Return the namespaces of the box. With the user namespace that an ordinary user needs anyway."""
    return "mipU" if who.is_root else "mip"


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_of_the_caller_is_in_reach(who: Who, look: str) -> None:
    """A program that is root inside tries to open the memory of each child of the caller as long as the caller looks.

    The host's proc is mounted inside, so the program sees these children.
    """
    needs(who, unshare_of(who))
    # Not in the child, where it may be unreadable.
    source = program("take_over.py")

    def act() -> tuple[list[str], bytes]:
        dumpable()
        variable = ctypes.create_string_buffer(MARK)
        command = [PYTHON, "-c", source, str(os.getpid()), str(ctypes.addressof(variable))]
        with nsbox.Popen(command, unshare=unshare_of(who), stdin=-1, stdout=-1, text=True) as attack:
            assert attack.stdin is not None
            assert attack.stdout is not None
            assert attack.stdout.readline() == "ready\n"
            for _ in range(TIMES):
                LOOKS[look](attack.pid)
            attack.stdin.close()
            return achieved(attack.stdout.read()), variable.value

    assert who(act) == ([], MARK)


def members(caller: int, own: str) -> Iterator[Path]:
    """Yield the children of a process that are in another user namespace than it is."""
    for pid in Path(f"/proc/{caller}/task/{caller}/children").read_text().split():
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/user") != own:
                yield Path("/proc", pid)


class Watch(threading.Thread):
    """Collect the processes that enter another user namespace for an ordinary user who looks."""

    WANTED = 5

    def __init__(self) -> None:
        """Make one. The caller and the test share a page: whether the looks have begun, whether they may end, a PID."""
        super().__init__()
        self.shared = mmap.mmap(-1, 16)
        self.seen: list[tuple[str, int]] = []

    def looks(self, look: Look) -> None:
        """Look as long as the test has not seen enough. In the caller."""
        with nsbox.Popen(["sleep", "600"], unshare="mip") as boxed:
            self.shared[8:] = os.getpid().to_bytes(8, "little")
            self.shared[0] = 1
            while not self.shared[1]:
                look(boxed.pid)
            boxed.kill()

    def run(self) -> None:
        """Watch, and let the caller end."""
        try:
            if wait_until(lambda: self.shared[0]):
                self.watch(int.from_bytes(self.shared[8:], "little"))
        finally:
            self.shared[1] = 1

    def watch(self, caller: int) -> None:
        """Collect the image of each process and the owner of its files."""
        own = os.readlink("/proc/self/ns/user")
        box, deadline = set(members(caller, own)), time.monotonic() + GONE_TIMEOUT_SECONDS
        while len(self.seen) < self.WANTED and time.monotonic() < deadline:
            for process in members(caller, own):
                # It may end meanwhile.
                with suppress(OSError):
                    if process not in box:
                        self.seen.append((os.readlink(process / "exe"), (process / "mem").stat().st_uid))


@needs_root
@pytest.mark.parametrize("look", ["ps", "ipcs"])
def test_who_enters(look: str) -> None:
    """Each process that enters the user namespace of the box for a look is nsbox-init, and may not be traced.

    The files of a process that may not be traced belong to root (proc(5)). Only root sees all this, so the test watches
    an ordinary user who looks.
    """
    needs(Who("user"), "mip")
    watch = Watch()

    def act() -> None:
        dumpable()
        watch.looks(LOOKS[look])

    watch.start()
    try:
        as_user(act)
    finally:
        watch.join()
        watch.shared.close()
    assert len(watch.seen) >= watch.WANTED
    assert {owner for _, owner in watch.seen} == {0}
    assert all("nsbox-init" in image for image, _ in watch.seen), watch.seen


def test_the_caller_dies_while_one_is_stopped(who: Who) -> None:
    """A look that a program has stopped ends, although nothing is left that would kill it."""
    needs(who, unshare_of(who))

    def attack() -> list[int]:
        def use(send: Callable[[object], None]) -> object:
            with nsbox.Popen(["sleep", "1000"], unshare=unshare_of(who)) as process:
                send(f"{process.init_pid} {process.pid}")
                while True:
                    # The first ones that were stopped have not replied.
                    with suppress(OSError):
                        nsbox.ipcs(process.pid)

        with caller(use) as process:
            others = set(map(int, process.receive().split()))
            assert wait_until(lambda: any(map(stopped, set(descendants(process.pid)) - others)))
            adopt_orphans()
            process.kill()
            return survivors()

    assert who(lambda: in_child(attack)) == []


def test_nsenter_is_out_of_reach(who: Who) -> None:
    """`nsbox nsenter` waits for its program as a member of the user namespace, where no program may trace it."""
    needs(who, unshare_of(who))
    source = program("open_process.py")

    def act() -> list[str]:
        dumpable()
        command = [PYTHON, "-c", source]
        with nsbox.Popen(command, unshare=unshare_of(who), stdin=-1, stdout=-1, text=True) as attack:
            assert attack.stdin is not None
            assert attack.stdout is not None
            assert attack.stdout.readline() == "ready\n"
            (reader, writer), (output, printed) = os.pipe(), os.pipe()
            line = ["-t", str(attack.pid), "-U", "--preserve-credentials", "-m", "-p", "sh", "-c", "echo in; read line"]
            pid = fork()
            if pid == 0:
                try:
                    os.close(writer)
                    os.dup2(reader, 0)
                    os.dup2(printed, 1)
                    nsenter.main(line)
                finally:
                    os._exit(0)
            os.close(reader)
            os.close(printed)
            try:
                # It has joined when its program runs, which waits for the end of its input.
                assert os.read(output, 10) == b"in\n"
                attack.stdin.write(f"{pid}\n")
                attack.stdin.flush()
                found = list(iter(attack.stdout.readline, "done\n"))
            finally:
                os.close(writer)
                os.waitpid(pid, 0)
                os.close(output)
            return found

    assert who(act) == []


def stopped(pid: int) -> bool:
    """Stop a process that has become nsbox-init, and return whether it stays.

    Before that it is a vfork's child of the caller, outside of the box and of its PID namespace: no program inside can
    name it. Stopped before its first instruction it has not asked to end with the caller yet.
    """
    with suppress(OSError):
        if Path(f"/proc/{pid}/comm").read_text() == Path("/proc/self/comm").read_text():
            return False
        os.kill(pid, signal.SIGSTOP)
        return wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", 0.5)
    return False
