"""Everything ends, although the caller may not send signals to it any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from errno import ENOSYS, EPERM
from typing import Any

import nsbox
import pytest
from nsbox.start import ending

from tests.support import seccomp
from tests.support.callers import alive
from tests.support.census import wait_until
from tests.support.forked import USER, Who, in_child
from tests.support.needs import needs

SLEEP = ["sleep", "1000"]


def forbid(how: str) -> None:
    """Take away the right to send signals to what was started before."""
    if how == "another user":
        os.setresuid(USER, USER, USER)
    else:
        seccomp.install(seccomp.Deny("pidfd_send_signal", {"EPERM": EPERM, "ENOSYS": ENOSYS}[how]))


@pytest.fixture(params=["another user", "EPERM", "ENOSYS"])
def how(request: pytest.FixtureRequest) -> str:
    """Return each way in which the caller loses the right."""
    return str(request.param)


def box_closes(lose: Callable[[], None]) -> int:
    """Close a box."""
    box = nsbox.Box("mip")
    lose()
    box.close()
    return box.pid


def box_without_pid_namespace_closes(lose: Callable[[], None]) -> int:
    """Close a box in which init ends its descendants one by one."""
    box = nsbox.Box("mi")
    process = box.Popen(SLEEP)
    lose()
    box.close()
    return process.pid


def box_inside_closes(lose: Callable[[], None]) -> int:
    """Close a box inside another one."""
    with nsbox.Box("mip") as box:
        inner = box.Box("ip")
        lose()
        inner.close()
        return inner.pid


def program_in_a_box_is_killed(lose: Callable[[], None]) -> int:
    """Kill a program in a box."""
    with nsbox.Box("mip") as box:
        process = box.Popen(SLEEP)
        lose()
        process.kill()
        assert process.wait() == -signal.SIGKILL
        return process.pid


def timeout_in_a_box(lose: Callable[[], None]) -> int:
    """Run a program in a box that exceeds its timeout."""
    with nsbox.Box("mip") as box:
        lose()
        with pytest.raises(subprocess.TimeoutExpired):
            box.run(SLEEP, timeout=0.01)
        return box.pid


def program_is_killed(**options: Any) -> Callable[[Callable[[], None]], int]:
    """Kill a program."""

    def use(lose: Callable[[], None]) -> int:
        process = nsbox.Popen(["sh", "-c", "sleep 1000 & exec sleep 1000"], **options)
        lose()
        process.kill()
        assert process.wait() == -signal.SIGKILL
        return process.pid

    return use


def block_is_left(lose: Callable[[], None]) -> int:
    """Leave the block of a program that was killed, as `run` does at its timeout."""
    with nsbox.Popen(SLEEP) as process:
        lose()
        process.kill()
    return process.pid


def shell_closes(lose: Callable[[], None]) -> int:
    """Close a shell."""
    shell = nsbox.Shell("mip")
    lose()
    shell.__exit__(None, None, None)
    return shell.pid


def handle_is_dropped(lose: Callable[[], None]) -> int:
    """Drop the only reference to a handle."""
    child = nsbox.fork_exec(SLEEP)
    pid = child.pid
    lose()
    del child
    return pid


def call_times_out(lose: Callable[[], None]) -> int:
    """Call a function in a box that exceeds its timeout."""
    with nsbox.Box("mip") as box:
        box.call(int, "3")
        lose()
        with suppress(nsbox.CallError):
            box.call(time.sleep, 1000, timeout=0.01)
        return box.pid


USES: dict[str, Callable[[Callable[[], None]], int]] = {
    "a box": box_closes,
    "a box without a PID namespace": box_without_pid_namespace_closes,
    "a box in a box": box_inside_closes,
    "a program in a box": program_in_a_box_is_killed,
    "a timeout in a box": timeout_in_a_box,
    "a program": program_is_killed(unshare="mip"),
    "a program without a PID namespace": program_is_killed(unshare="mi"),
    "a program that is PID 1": program_is_killed(unshare="mip", init=False),
    "a block": block_is_left,
    "a shell": shell_closes,
    "a handle": handle_is_dropped,
    "a call": call_times_out,
}


@pytest.mark.parametrize("use", USES)
def test_ends(how: str, use: str) -> None:
    """As root: what was started ends, within the usual time."""
    needs(Who("root"), "mip")
    pid = in_child(lambda: USES[use](lambda: forbid(how)))
    assert wait_until(lambda: not alive(pid))


# Not a call: the interpreter may be where an ordinary user cannot read.
@pytest.mark.parametrize("use", [use for use in USES if use != "a call"])
def test_ends_as_a_user(use: str) -> None:
    """As an ordinary user, under a filter."""
    who = Who("user")
    needs(who, "mip")
    pid = who(lambda: USES[use](lambda: forbid("ENOSYS")))
    assert wait_until(lambda: not alive(pid))


@pytest.mark.parametrize("errno", [EPERM, ENOSYS])
def test_under_a_filter_from_the_beginning(errno: int) -> None:
    """init is under the same filter, and ends what it has started all the same."""

    def use() -> list[int]:
        seccomp.install(seccomp.Deny("pidfd_send_signal", errno))
        pids = []
        for unshare in ("mip", "mi"):
            with pytest.raises(subprocess.TimeoutExpired):
                nsbox.run(["sh", "-c", "sleep 1000 & exec sleep 1000"], unshare=unshare, timeout=0.2)
            with nsbox.Box(unshare) as box:
                pids.append(box.Popen(["sh", "-c", "sleep 1000 & exec sleep 1000"]).pid)
                assert nsbox.enter(box, "mount", ["true"]).returncode == 0
                with pytest.raises(subprocess.TimeoutExpired):
                    nsbox.enter(box, "mount", SLEEP, timeout=0.01)
        with nsbox.Executor(1) as executor:
            assert executor.submit(int, "3").result() == 3
        return pids

    pids = in_child(use)
    assert wait_until(lambda: not any(map(alive, pids)))


def test_signals_are_forwarded_under_a_filter() -> None:
    """A signal to init reaches the program, although init may not use pidfd_send_signal."""

    def use() -> int:
        seccomp.install(seccomp.Deny("pidfd_send_signal", ENOSYS))
        waits = "import signal; print(flush=True); signal.pause()"
        with nsbox.Popen([sys.executable, "-c", waits], stdout=-1) as process:
            assert process.stdout is not None
            process.stdout.readline()
            os.kill(process.init_pid, signal.SIGTERM)
            return int(process.wait())

    assert in_child(use) == -signal.SIGTERM


def test_what_does_not_end(who: Who, monkeypatch: pytest.MonkeyPatch) -> None:
    """If init is stopped and signals are refused, the wait has a limit. The error names the process and its state."""
    monkeypatch.setattr(ending, "END_SECONDS", 0.1)

    def use() -> tuple[bool, list[str], str]:
        box = nsbox.Box("mip")
        program = nsbox.Popen(SLEEP)
        for pid in (box.pid, program.init_pid):
            os.kill(pid, signal.SIGSTOP)
        forbid("EPERM")
        program.kill()
        errors = []
        for end in (box.close, box.wait, program.wait):
            with pytest.raises(nsbox.NotEndedError) as caught:
                end()
            errors.append(caught.value)
        for pid in (box.pid, program.init_pid):
            os.kill(pid, signal.SIGCONT)
        # What was asked for before happens now.
        assert wait_until(lambda: program.poll() is not None and not box.alive)
        named = [error.processes[0][0] for error in errors] == [box.pid, box.pid, program.init_pid]
        return named, [error.processes[0][1][0] for error in errors], str(errors[0])

    named, states, text = who(lambda: in_child(use))
    assert (named, states) == (True, ["T"] * 3)
    assert "is stopped" in text
