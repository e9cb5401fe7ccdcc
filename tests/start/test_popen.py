"""Signals, timeouts and interrupts: which process gets them, and that they end all that they should."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.callers import alive, survivors
from tests.support.census import descendants, reap_adopted, wait_until
from tests.support.forked import Who, in_child
from tests.support.interrupt import interrupted

ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "init": {"unshare": "mip", "mount_proc": True},
    "no pid namespace": {"unshare": "mi"},
    "nothing new": {"unshare": ""},
    "no init": {"unshare": "mip", "init": False, "mount_proc": True},
    "no fork": {"unshare": "mip", "fork": False},
}
BROOD = "setsid sh -c 'trap \"\" HUP TERM INT; setsid sleep 1000 & sleep 1001' & sleep 1002 & echo ready; wait"
"""A payload with daemons in sessions of their own that ignore all signals that can be ignored."""


def first_line(process: nsbox.Popen) -> bytes:
    """Wait until the program has printed a line."""
    assert process.stdout is not None
    return bytes(process.stdout.readline())


@pytest.fixture(params=ARRANGEMENTS)
def box(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each arrangement of processes."""
    return ARRANGEMENTS[request.param]


@pytest.fixture(params=[name for name in ARRANGEMENTS if name != "no fork"])
def forking_box(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The arrangements in which a payload can have more than one child."""
    return ARRANGEMENTS[request.param]


def test_timeout(who: Who, forking_box: dict[str, Any]) -> None:
    """At a timeout everything is killed, daemons included, and the exception has the output so far."""

    def check() -> tuple[bytes | None, list[int]]:
        # On a busy machine the program may need longer than the first timeouts.
        for seconds in (0.3, 3, 30):
            with pytest.raises(subprocess.TimeoutExpired) as caught:
                nsbox.run(["sh", "-c", BROOD], stdout=subprocess.PIPE, timeout=seconds, **forking_box)
            left = survivors(0, root=os.getpid())
            if caught.value.output or left:
                break
        return caught.value.output, left

    assert who(check) == (b"ready\n", [])


def test_kill(who: Who, forking_box: dict[str, Any]) -> None:
    """After `kill()` and `wait()` no process is alive."""

    def check() -> tuple[int, list[int]]:
        with nsbox.Popen(["sh", "-c", BROOD], stdout=subprocess.PIPE, **forking_box) as process:
            first_line(process)
            wait_until(lambda: len(descendants(process.pid)) >= 4)
            process.kill()
            return process.wait(), survivors(0, root=os.getpid())

    assert who(check) == (-9, [])


def test_the_payloads_exit_ends_everything(who: Who, forking_box: dict[str, Any]) -> None:
    """When the payload exits, all processes that it has left running end."""
    script = BROOD.replace("wait", "sleep 0.1; exit 4")

    def check() -> tuple[int, list[int]]:
        status = nsbox.run(["sh", "-c", script], stdout=subprocess.DEVNULL, **forking_box).returncode
        return status, survivors(0, root=os.getpid())

    assert who(check) == (4, [])


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_exit_codes(box: dict[str, Any], code: int) -> None:
    """The exit status is the payload's."""
    assert nsbox.run(["sh", "-c", f"exit {code}"], **box).returncode == code


@pytest.mark.parametrize("name", ["KILL", "SEGV", "ABRT", "USR1"])
def test_ends_by_signal(forking_box: dict[str, Any], name: str) -> None:
    """A signal that ends the payload gives a negative return code, as in `subprocess`."""
    number = getattr(signal, f"SIG{name}")
    command = ["sleep", "1000"]
    with nsbox.Popen(command, **forking_box) as process:
        # PID 1 does not receive signals without a handler (pid_namespaces(7)).
        if process.pid_inside == 1 and name != "KILL":
            process.send_signal(number)
            time.sleep(0.05)
            assert process.poll() is None
            process.kill()
            return
        process.send_signal(number)
    assert process.returncode == -number


def test_signal_goes_to_the_payload(box: dict[str, Any]) -> None:
    """`send_signal()` reaches the payload, and no other process."""
    script = "trap 'exit 9' USR1; echo ready; while :; do read line; done"
    with nsbox.Popen(["sh", "-c", script], stdin=-1, stdout=-1, **box) as process:
        assert first_line(process) == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait() == 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGRTMIN + 5])
def test_signals_to_init_are_forwarded(box: dict[str, Any], number: int) -> None:
    """nsbox-init forwards signals to the payload, for callers that know only the direct child."""
    script = f"trap 'exit 11' {int(number)}; echo ready; while :; do read line; done"
    with nsbox.Popen(["sh", "-c", script], stdin=-1, stdout=-1, **box) as process:
        assert first_line(process) == b"ready\n"
        os.kill(process.init_pid, number)
        assert process.wait() == 11


def test_payload_killed_from_outside(box: dict[str, Any]) -> None:
    """If the payload is killed from outside, everything ends, and the status is reported."""
    with nsbox.Popen(["sleep", "1000"], **box) as process:
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -9


def test_init_killed_from_outside(box: dict[str, Any]) -> None:
    """If init is killed from outside, the payload is killed as soon as the caller waits."""
    with nsbox.Popen(["sleep", "1000"], **box) as process:
        os.kill(process.init_pid, signal.SIGKILL)
        assert process.wait() == -9
        assert not alive(process.pid)
    # The payload's parent is dead, so this process has adopted it.
    if alive(process.pid) or process.pid in descendants():
        os.waitpid(process.pid, 0)


@pytest.mark.xfail(reason="a killed nsbox-init that is not PID 1 cannot end its descendants", strict=True)
def test_init_killed_with_children() -> None:
    """If init is killed from outside, without a PID namespace, the payload's children end, too."""
    assert _left_by_killed_init() == []


def _left_by_killed_init() -> list[int]:
    with nsbox.Popen(["sh", "-c", BROOD], stdout=-1, unshare="mi") as process:
        first_line(process)
        wait_until(lambda: len(descendants(process.pid)) >= 4)
        os.kill(process.init_pid, signal.SIGKILL)
        process.wait()
    left = survivors(0.2)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    survivors()
    reap_adopted()
    return left


def test_stopped_init_can_be_killed(who: Who, box: dict[str, Any]) -> None:
    """SIGSTOP to nsbox-init does not prevent kill()."""

    def check() -> int:
        with nsbox.Popen(["sleep", "1000"], **box) as process:
            os.kill(process.init_pid, signal.SIGSTOP)
            time.sleep(0.02)
            process.kill()
            return process.wait(timeout=60)

    assert who(check) == -9


def test_stopped_payload_can_be_killed(box: dict[str, Any]) -> None:
    """SIGSTOP to the payload does not prevent kill()."""
    with nsbox.Popen(["sleep", "1000"], **box) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.02)
        assert process.poll() is None
        process.kill()
        assert process.wait(timeout=60) == -9


def test_orphans_are_reaped(who: Who) -> None:
    """PID 1 reaps its adopted children: there are no zombies while the box lives."""
    script = (
        "for i in $(seq 30); do (setsid sh -c 'exec sleep 0.02' &); done;"
        "until set -- /proc/[0-9]*; [ $# = 2 ]; do sleep 0.01; done; echo $*"
    )
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "unshare": "mip", "mount_proc": True}
    assert who(lambda: nsbox.run(["sh", "-c", script], **options)).stdout == b"/proc/1 /proc/2\n"


def test_orphans_are_reaped_without_a_pid_namespace() -> None:
    """Without a PID namespace init reaps them as a subreaper."""
    script = "for i in $(seq 30); do (setsid sh -c 'exec sleep 0.02' &); done; echo; read line"
    with nsbox.Popen(["sh", "-c", script], unshare="mi", stdin=-1, stdout=-1) as process:
        first_line(process)
        assert wait_until(lambda: set(descendants(process.init_pid)) == {process.pid})
        process.communicate(b"\n")


@pytest.mark.parametrize("captured", [True, False], ids=["with pipes", "without pipes"])
def test_keyboard_interrupt(forking_box: dict[str, Any], captured: bool) -> None:
    """Ctrl-C in `run` kills everything before KeyboardInterrupt is raised."""

    def check() -> list[int]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # nsbox-init, and the five processes of the payload.
        with pytest.raises(KeyboardInterrupt), interrupted(lambda: len(descendants()) >= 6):
            nsbox.run(["sh", "-c", BROOD], capture_output=captured, **forking_box)
        return survivors(0, root=os.getpid())

    assert in_child(check) == []


@pytest.mark.parametrize("captured", [True, False], ids=["with pipes", "without pipes"])
def test_interrupts_at_any_moment(captured: bool) -> None:
    """If a signal handler raises at any moment of an endless run, nothing is left and nothing hangs."""

    class Interrupted(Exception):  # noqa: N818 - it is not an error
        pass

    def check() -> tuple[int, list[int]]:
        armed = False
        over = threading.Event()

        def handler(*_: object) -> None:
            nonlocal armed
            if armed:
                armed = False
                raise Interrupted

        def interrupt(delay: float) -> None:
            # Repeatedly: a handler of a signal that arrives just before poll(2) runs only when poll returns.
            while not over.wait(delay):
                os.kill(os.getpid(), signal.SIGUSR1)
                delay = 0.02

        signal.signal(signal.SIGUSR1, handler)
        interrupted = 0
        for index in range(300):
            over.clear()
            thread = threading.Thread(target=interrupt, args=(index * 0.00002,))
            try:
                armed = True
                thread.start()
                nsbox.run(["sleep", "1000"], unshare="mip", capture_output=captured)
            except Interrupted:
                interrupted += 1
            over.set()
            thread.join()
        gc.collect()
        return interrupted, survivors(2, root=os.getpid())

    assert in_child(check) == (300, [])


def test_handlers_run_during_a_wait() -> None:
    """A signal whose handler returns does not end a wait (PEP 475)."""

    def check() -> tuple[int, bool]:
        calls: list[object] = []
        reader, writer = os.pipe()

        def handler(*_: object) -> None:
            calls.append(None)
            if len(calls) == 4:
                os.write(writer, b"enough\n")

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        status = nsbox.run(["sh", "-c", "read line; exit 3"], unshare="mip", stdin=reader).returncode
        signal.setitimer(signal.ITIMER_REAL, 0)
        return status, len(calls) > 3

    assert in_child(check) == (3, True)


def test_waiting_in_many_threads(box: dict[str, Any]) -> None:
    """All threads that wait get the same status."""
    with nsbox.Popen(["sh", "-c", "sleep 0.1; exit 6"], **box) as process:
        ends: list[int] = []
        threads = [threading.Thread(target=lambda: ends.append(process.wait())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ends == [6] * 8


def test_caller_that_ignores_sigchld(box: dict[str, Any]) -> None:
    """The kernel reaps the caller's children by itself (sigaction(2), SA_NOCLDWAIT); the status is still known."""

    def check() -> int:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        return nsbox.run(["sh", "-c", "exit 12"], **box).returncode

    assert in_child(check) == 12


def test_caller_that_reaps_everything(box: dict[str, Any]) -> None:
    """A SIGCHLD handler that reaps all children, as some programs have one, does not lose the status."""

    def check() -> int:
        def reap(*_: object) -> None:
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

        signal.signal(signal.SIGCHLD, reap)
        return sum(nsbox.run(["sh", "-c", "exit 3"], **box).returncode for _ in range(20))

    assert in_child(check) == 60


def test_pid_of_the_payload_is_the_callers_view(box: dict[str, Any]) -> None:
    """`pid` is the payload's PID as the caller sees it, whatever the namespaces."""
    with nsbox.Popen(["sleep", "1000"], **box) as process:
        # vfork(2) returns in the parent a moment before the exec changes the name.
        assert wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
        assert Path(f"/proc/{process.init_pid}/comm").read_text() == "nsbox-init\n"
        assert process.init_pid == int(Path(f"/proc/{process.pid}/stat").read_text().split()[3])
        process.kill()
