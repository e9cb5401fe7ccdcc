"""The nsbox-init of a box in a box is out of reach of the programs in the outer box, from its first instruction on
(attack 5)."""

from __future__ import annotations

import mmap
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.attack import PYTHON, achieved, program
from tests.support.census import GONE_TIMEOUT_SECONDS, wait_until
from tests.support.forked import Who
from tests.support.needs import needs, needs_root

TIMES = 40

SIGNAL_OTHERS = """
import os, signal, sys
number = int(sys.argv[1])
os.write(1, b"x")
while True:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            try:
                os.kill(int(name), number)
            except ProcessLookupError:
                pass
"""
"""Sends a signal to all processes but init."""

NESTED: list[tuple[str, dict[str, Any]]] = [
    ("U", {}),
    ("mipU", {"mount_proc": True}),
    ("p", {}),
    ("T", {"boottime": 10**6}),
    ("UT", {"boottime": 10**6}),
]


def outer(who: Who) -> nsbox.Box:
    """Return a box in which programs are root of a user namespace."""
    return nsbox.Box("mipU" if who.is_root else "mip", mount_proc=True)


@pytest.fixture
def needed(who: Who) -> Who:
    """Run the test as root with a user namespace, and as an ordinary user."""
    needs(who, "mipU" if who.is_root else "mip")
    return who


@pytest.mark.parametrize(("unshare", "options"), NESTED, ids=[unshare for unshare, _ in NESTED])
def test_nothing_of_it_is_in_reach(needed: Who, unshare: str, options: dict[str, Any]) -> None:
    """A program tries to open the memory of each new process, to take its descriptors and to trace it.

    It may have the holder of a new namespace, which holds nothing: see below.
    """
    source = program("take_over.py")

    def act() -> list[str]:
        with outer(needed) as box, box.Popen([PYTHON, "-c", source], stdin=-1, stdout=-1, text=True) as attack:
            assert attack.stdin is not None
            assert attack.stdout is not None
            assert attack.stdout.readline() == "ready\n"
            # The holder of a time namespace is stopped by the tracer nearly every time, until its helper is given up.
            for _ in range(TIMES // 5 if "T" in unshare else TIMES):
                box.Box(unshare, **options).close()
            attack.stdin.close()
            return achieved(attack.stdout.read())

    assert {what.rpartition(" of ")[2] for what in needed(act)} <= {"nsbox-holder"}


@needs_root
def test_the_holder_of_a_new_namespace() -> None:
    """It may be traced, but has one descriptor, and a filter that lets it do nothing; no nsbox-init may be traced.

    The files of a process that may be traced belong to its user (proc(5)). Root sees all of them.
    """
    who = Who("user")
    needs(who, "mip")
    shared = mmap.mmap(-1, 16)
    inits: set[int] = set()
    holders: list[tuple[int, list[str]]] = []
    wanted = 5

    def act() -> None:
        with outer(who) as box:
            shared[8:] = box.pid.to_bytes(8, "little")
            shared[0] = 1
            while not shared[1]:
                box.Box("U").close()

    def look_at(process: Path) -> None:
        """Note what a child of the outer init is."""
        owner, name = (process / "mem").stat().st_uid, (process / "comm").read_text().strip()
        if name != "nsbox-holder":
            inits.add(owner)
        elif owner:
            status = dict(line.split(":\t") for line in (process / "status").read_text().splitlines())
            holders.append((int(status["Seccomp"]), os.listdir(process / "fd")))

    def watch() -> None:
        try:
            if wait_until(lambda: shared[0]):
                pid, deadline = int.from_bytes(shared[8:], "little"), time.monotonic() + GONE_TIMEOUT_SECONDS
                while (len(holders) < wanted or not inits) and time.monotonic() < deadline:
                    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                        # It may end meanwhile.
                        with suppress(OSError, ValueError):
                            look_at(Path("/proc", child))
        finally:
            shared[1] = 1

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        who(act)
    finally:
        watching.join()
        shared.close()
    assert len(holders) >= wanted
    assert all(seccomp == 2 and len(descriptors) <= 1 for seccomp, descriptors in holders), holders
    assert inits == {0}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize(("unshare", "options"), [NESTED[0], NESTED[3]], ids=["U", "T"])
def test_signals_to_what_makes_it(needed: Who, unshare: str, options: dict[str, Any], number: int) -> None:
    """A program that kills or stops the processes which make the namespaces causes an error, and nothing hangs."""

    def act() -> tuple[list[tuple[str, str]], int]:
        failures = []
        with outer(needed) as box:
            with box.Popen([PYTHON, "-c", SIGNAL_OTHERS, str(number)], stdout=-1) as attack:
                assert attack.stdout is not None
                try:
                    attack.stdout.read(1)
                    for _ in range(5):
                        try:
                            box.Box(unshare, **options).close()
                        except nsbox.SpawnError as error:
                            failures.append((error.step, error.cause))
                finally:
                    attack.kill()
            with box.Box(unshare, **options) as inner:
                return failures, inner.run(["true"]).returncode

    failures, status = needed(act)
    assert status == 0
    assert {cause for step, cause in failures if step in ("new user", "unshare time")} <= {"ended-in-setup"}
