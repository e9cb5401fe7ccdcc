"""If the calling process dies, nothing that it has started survives."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import nsbox
import pytest

from tests.support.callers import alive, caller, survivors
from tests.support.census import descendants, reap_adopted, wait_until
from tests.support.forked import Who, become_user, fork

ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "init": {"unshare": "mip", "mount_proc": True},
    "no pid namespace": {"unshare": "mi"},
    "no init": {"unshare": "mip", "init": False, "mount_proc": True},
    "no fork": {"unshare": "mip", "fork": False},
}
PAYLOADS = {
    "short": "true",
    "sleeps": "sleep 1000",
    "leaves children": "sleep 1000 & sleep 1001 & exec sleep 1002",
    "becomes a daemon": (
        "setsid sh -c 'trap \"\" HUP TERM INT; setsid sleep 1000 & sleep 1001' & sleep 0.01; exec sleep 1002"
    ),
}
MOMENTS = 6

Send = Callable[[object], None]


def _become(who: Who) -> None:
    if not who.is_root:
        become_user()


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_killed_at_random_moments(who: Who, arrangement: str, payload: str) -> None:
    """A caller that starts boxes all the time is killed at a random moment: in the clone, the set-up, the wait."""
    command = ["sh", "-c", PAYLOADS[payload]]

    def run(send: Send) -> None:
        _become(who)
        send("ready")
        running = []
        while True:
            running.append(nsbox.Popen(command, stdin=-3, stdout=-3, stderr=-3, **ARRANGEMENTS[arrangement]))
            if payload == "short" or len(running) > 3:
                first = running.pop(0)
                first.kill()
                first.wait()

    for moment in range(MOMENTS):
        with caller(run) as started:
            assert started.receive() == "ready"
            # Most of the different states are in the first few milliseconds.
            time.sleep(random.uniform(0, 0.01 if moment % 2 else 0.06))
            started.kill()
            assert survivors() == []
            reap_adopted()


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_killed_while_the_payload_runs(who: Who, arrangement: str) -> None:
    """The caller is killed while daemons run that ignore all signals that can be ignored."""
    command = ["sh", "-c", PAYLOADS["becomes a daemon"]]

    def run(send: Send) -> object:
        _become(who)
        process = nsbox.Popen(command, **ARRANGEMENTS[arrangement])
        send(process.pid)
        return process

    with caller(run) as started:
        pid = int(started.receive())
        wait_until(lambda: len(descendants(pid)) >= 3)
        assert alive(pid)
        started.kill()
        assert survivors() == []


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_a_forked_sibling_does_not_keep_it_alive(arrangement: str) -> None:
    """If a child of the caller inherits all its descriptors and lives on, the box still ends."""

    def run(send: Send) -> object:
        process = nsbox.Popen(["sleep", "1000"], **ARRANGEMENTS[arrangement])
        sibling = fork()
        if sibling == 0:
            time.sleep(60)
            os._exit(0)
        send(f"{sibling} {process.pid}")
        return process

    with caller(run) as started:
        sibling, payload = map(int, started.receive().split())
        assert alive(payload)
        started.kill()
        assert wait_until(lambda: not alive(payload))
        assert alive(sibling)
        assert wait_until(lambda: survivors(0) == [sibling])


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_exits_without_waiting(arrangement: str) -> None:
    """If the caller exits without waiting, nothing is left."""

    def run(send: Send) -> object:
        nsbox.Popen(["sleep", "1000"], **ARRANGEMENTS[arrangement])
        send("started")
        return NotImplemented

    with caller(run) as started:
        assert started.receive() == "started"
        os.waitpid(started.pid, 0)
        assert survivors() == []


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_the_exit_of_a_thread_ends_nothing(arrangement: str) -> None:
    """A box started by a thread outlives the thread (PR_SET_PDEATHSIG would have ended it, prctl(2))."""
    started: list[nsbox.Popen] = []
    start = lambda: started.append(nsbox.Popen(["sleep", "1000"], **ARRANGEMENTS[arrangement]))  # noqa: E731
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    with started.pop() as process:
        assert process.poll() is None
        process.kill()
    assert process.returncode == -9


def test_the_exit_of_the_main_thread_ends_nothing() -> None:
    """If the main thread ends and others continue, the box lives on (pthread_exit(3))."""
    import ctypes

    def run(send: Send) -> None:
        def start() -> None:
            time.sleep(0.1)
            with nsbox.Popen(["sleep", "1000"], unshare="mip") as process:
                time.sleep(0.2)
                send("runs" if process.poll() is None else f"ended with {process.returncode}")
                time.sleep(60)

        threading.Thread(target=start, daemon=True).start()
        ctypes.CDLL(None).syscall(ctypes.c_long(_EXIT), 0)

    with caller(run) as started:
        assert started.receive() == "runs"
        started.kill()
        assert survivors() == []


_EXIT = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
"""exit(2), which ends one thread."""
