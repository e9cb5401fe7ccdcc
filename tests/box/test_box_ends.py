"""Whatever ends a box, and whatever process is killed: the error arrives in bounded time, and nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import nsbox
import pytest

from tests.support.callers import caller, survivors
from tests.support.census import reap_adopted, wait_until
from tests.support.forked import Who, become_user
from tests.support.needs import needs

BOXES: dict[str, dict[str, Any]] = {"pid namespace": {"unshare": "mip"}, "no pid namespace": {"unshare": "mi"}}
DAEMON = "setsid sh -c 'trap \"\" HUP TERM INT; setsid sleep 1000 & sleep 1001' & exit"
BOUND_SECONDS = 60.0
"""Seconds, much longer than needed on a busy machine, and much shorter than the programs in the tests would run."""


def bounded(action: Callable[[], object]) -> object:
    """Return the action's result, and check that it took bounded time."""
    before = time.monotonic()
    result = action()
    assert time.monotonic() - before < BOUND_SECONDS
    return result


@pytest.mark.parametrize("kind", BOXES)
def test_a_thousand_boxes(kind: str) -> None:
    """Four threads make boxes, each with three commands and a daemon in its own session, and nothing is left."""

    def one(number: int) -> int:
        with nsbox.Box(**BOXES[kind]) as box:
            box.run(["true"], check=True)
            box.run(["sh", "-c", "setsid sleep 1000 & exit"], stdout=-3, check=True)
            return box.run(["sh", "-c", f"exit {number % 100}"]).returncode

    count = 1000 if kind == "pid namespace" else 100
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(count))) == [number % 100 for number in range(count)]


@pytest.mark.parametrize("kind", BOXES)
def test_closed_with_daemons_in_it(who: Who, kind: str) -> None:
    """A daemon in its own session that ignores all signals ends with the box."""

    def use() -> None:
        box = nsbox.Box(**BOXES[kind])
        for _ in range(3):
            box.run(["sh", "-c", DAEMON], stdout=-3, check=True)
        bounded(box.close)

    who(use)


def test_init_killed(who: Who) -> None:
    """If PID 1 is killed, running programs end, and run and all later calls raise ClosedError."""

    def use() -> list[Any]:
        box = nsbox.Box("mip")
        process = box.Popen(["sleep", "1000"])
        threading.Timer(0.2, box.kill).start()
        with pytest.raises(nsbox.ClosedError, match="ended meanwhile"):
            bounded(lambda: box.run(["sleep", "1000"]))
        seen = [bounded(process.wait), box.alive, box.wait()]
        for later in (lambda: box.run(["true"]), lambda: box.Popen(["true"]), box.mount_proc, lambda: box.hostname):
            with pytest.raises(nsbox.ClosedError, match="any more"):
                later()
        box.close()
        return seen

    assert who(use) == [-9, False, -9]


@pytest.mark.parametrize("keywords", [{}, {"capture_output": True}, {"timeout": 100}], ids=str)
def test_closed_while_it_runs_something(who: Who, keywords: dict[str, Any]) -> None:
    """close() in one thread ends run() in another, with status -9 or ClosedError."""

    def use() -> object:
        box = nsbox.Box("mip")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(box.run, ["sleep", "1000"], **keywords)
            time.sleep(0.2)
            bounded(box.close)
            try:
                return running.result(BOUND_SECONDS).returncode
            except nsbox.ClosedError:
                return -9

    assert who(use) == -9


@pytest.mark.parametrize("kind", BOXES)
def test_init_stopped(kind: str) -> None:
    """If nsbox-init is stopped, a request fails with that reason, and the box can still be closed."""
    with nsbox.Box(**BOXES[kind]) as box:
        os.kill(box.pid, signal.SIGSTOP)
        with pytest.raises(nsbox.SpawnError, match="stopped") as caught:
            bounded(lambda: box.run(["true"]))
        assert caught.value.step == "request"
        with pytest.raises(nsbox.SpawnError, match="stopped"):
            bounded(lambda: box.Popen(["true"]))
        os.kill(box.pid, signal.SIGCONT)
        assert box.run(["true"]).returncode == 0
        # The program of the failed request has been ended, as its caller has its error already.
        assert wait_until(lambda: sum(event.kind == "exited" for event in box.events) == 3)
        os.kill(box.pid, signal.SIGSTOP)
        bounded(box.close)


def test_a_fork_bomb(who: Who) -> None:
    """In a PID namespace with few PIDs a fork bomb cannot grow, and it ends with the box."""
    needs(who, "mip")

    def use() -> bool:
        box = nsbox.Box("mip", pid_max=400, mount_proc=True)
        # A shell that cannot fork exits; xargs waits and retries.
        started = [box.Popen(["sh", "-c", "yes 1000 | xargs -P 0 -n 1 sleep"], stdin=-3, stdout=-3, stderr=-3)]

        def full() -> bool:
            # A process that ended would free a PID for the next one.
            try:
                started.append(box.Popen(["sleep", "1000"]))
            except nsbox.SpawnError:
                return True
            return False

        was_full = wait_until(full)
        bounded(box.close)
        for process in started:
            process.wait()
        return was_full

    assert who(use)


def test_full_pipes_and_sleep() -> None:
    """A program that has filled its pipe and sleeps is ended by the timeout."""
    command = ["sh", "-c", "head -c 300000 /dev/zero; sleep 1000"]
    with nsbox.Box("mip") as box:
        # On a busy machine the pipe may not be full within the first timeouts.
        for seconds in (0.5, 5, 50):
            with pytest.raises(subprocess.TimeoutExpired) as caught:
                bounded(partial(box.run, command, capture_output=True, timeout=seconds))
            if len(caught.value.output) == 300_000:
                break
    assert len(caught.value.output) == 300_000


def test_a_process_killed_from_outside() -> None:
    """The status is that of any killed process, and the box can still be used."""
    with nsbox.Box("mip") as box:
        process = box.Popen(["sleep", "1000"])
        os.kill(process.pid, signal.SIGKILL)
        assert bounded(process.wait) == -9
        process = box.Popen(["sleep", "1000"])
        process.terminate()
        assert bounded(process.wait) == -15
        assert box.run(["true"]).returncode == 0


def test_a_forgotten_process() -> None:
    """A process whose handle is garbage-collected is killed, as everywhere in nsbox."""
    with nsbox.Box("mp", mount_proc=True) as box:
        child = box.fork_exec(["sleep", "1000"])
        pid = child.pid
        del child
        assert wait_until(lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize("kind", BOXES)
def test_caller_killed_at_random_moments(who: Who, kind: str) -> None:
    """If the caller is killed while it makes and uses boxes, no process survives."""

    def run(send: Callable[[object], None]) -> None:
        if not who.is_root:
            become_user()
        send("ready")
        kept = []
        while True:
            box = nsbox.Box(**BOXES[kind])
            box.run(["sh", "-c", DAEMON], stdout=-3)
            inner = box.Box("p")
            kept.append((box, inner, box.Popen(["sleep", "1000"]), inner.Popen(["sleep", "1000"])))
            if len(kept) > 3:
                kept.pop(0)[0].close()

    for moment in range(10):
        with caller(run) as started:
            assert started.receive() == "ready"
            time.sleep(random.uniform(0, 0.01 if moment % 2 else 0.08))
            started.kill()
            assert survivors() == []
            reap_adopted()


def test_the_inner_box_ends_with_the_outer_one(who: Who) -> None:
    """When the outer box ends, all processes of the inner one end, and its handle says so."""

    def use() -> list[Any]:
        outer = nsbox.Box("mp")
        inner = outer.Box("mp")
        process = inner.Popen(["sleep", "1000"])
        bounded(outer.close)
        seen = [bounded(process.wait), bounded(inner.wait), inner.alive]
        inner.close()
        return seen

    assert who(use) == [-9, -9, False]
