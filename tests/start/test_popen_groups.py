"""The process groups of the caller and of the program, as the terminal and the kernel see them (setpgid(2))."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import nsbox
import pytest

from tests.support.census import wait_until
from tests.support.forked import Who, fork, in_child

BRIEF, LONGER = ["true"], ["sleep", "0.1"]

STARTS: dict[str, Callable[[], Any]] = {
    "run": lambda: nsbox.run(LONGER),
    "run, brief": lambda: nsbox.run(BRIEF),
    "captured": lambda: nsbox.run(LONGER, capture_output=True),
    "captured, brief": lambda: nsbox.run(BRIEF, capture_output=True),
    "no PID namespace": lambda: nsbox.run(LONGER, unshare="m"),
    "no init": lambda: nsbox.run(LONGER, init=False),
    "a time namespace": lambda: nsbox.run(LONGER, unshare="pT"),
    "a group of its own": lambda: nsbox.run(LONGER, process_group=0),
    "a session of its own": lambda: nsbox.run(LONGER, start_new_session=True),
    "joined": lambda: _in_box(lambda box: nsbox.run(LONGER, unshare="", join=(box, "pid ipc"))),
    "joined and new": lambda: _in_box(lambda box: nsbox.run(LONGER, unshare="p", join=(box, "ipc"))),
    "in a box": lambda: _in_box(lambda box: box.run(LONGER)),
    "in a box inside": lambda: _in_box(lambda box: box.Box("p").run(LONGER)),
}


def _in_box(use: Callable[[nsbox.Box], Any]) -> Any:
    with nsbox.Box("mip") as box:
        return use(box)


def state_of(pid: int) -> str:
    """Return the state letter in /proc/PID/stat (proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_caller_alone_in_its_session(who: Who, start: Callable[[], Any]) -> None:
    """If a process of the caller's group is stopped while a program ends, the kernel sends the group no SIGHUP.

    It does so when a group becomes orphaned: when the last parent ends that is in the session but outside of the group.
    """

    def use() -> tuple[list[int], str]:
        os.setsid()
        received: list[int] = []
        for number in (signal.SIGHUP, signal.SIGCONT):
            signal.signal(number, lambda number, _frame: received.append(number))
        stopped = fork()
        if stopped == 0:
            signal.pause()
            os._exit(0)
        os.kill(stopped, signal.SIGSTOP)
        os.waitpid(stopped, os.WUNTRACED)
        start()
        time.sleep(0.01)
        state = state_of(stopped)
        os.kill(stopped, signal.SIGKILL)
        os.waitpid(stopped, 0)
        return received, state

    assert in_child(lambda: who(use)) == ([], "T")


@pytest.mark.parametrize("module", [nsbox, subprocess], ids=["nsbox", "subprocess"])
@pytest.mark.parametrize("delay", [0, 0.1])
def test_terminal_can_stop_a_group_of_its_own(who: Who, module: Any, delay: float) -> None:
    """SIGTSTP does not stop an orphaned group; the program's group is not orphaned, and is stopped."""

    def use() -> str:
        with module.Popen(["sleep", "1000"], process_group=0) as process:
            time.sleep(delay)
            os.kill(process.pid, signal.SIGTSTP)
            stopped = wait_until(lambda: state_of(process.pid) == "T")
            process.kill()
        return "stopped" if stopped else "runs"

    assert in_child(lambda: who(use)) == "stopped"


@pytest.mark.parametrize("unshare", ["mip", "m"])
@pytest.mark.parametrize("options", [{}, {"process_group": 0}], ids=["caller's group", "own group"])
@pytest.mark.parametrize("delay", [0.02, 0.2])
def test_signal_to_the_group_arrives_once(who: Who, unshare: str, options: dict[str, Any], delay: float) -> None:
    """The program, in the caller's group, gets the group's signals once, as nsbox-init does not forward them."""
    count = "import signal; got = []; signal.signal(10, lambda *_: got.append(0)); print(flush=True); input()"
    program = ["python3", "-S", "-c", f"{count}; print(len(got))"]

    def use() -> int:
        os.setpgid(0, 0)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        with nsbox.Popen(program, unshare=unshare, stdin=-1, stdout=-1, **options) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            os.killpg(0, signal.SIGUSR1)
            # A second signal would be forwarded by nsbox-init.
            time.sleep(0.2)
            return int(process.communicate(b"\n")[0])

    assert in_child(lambda: who(use)) == (0 if options else 1)


COUNTING = "n=0; trap 'n=$((n+1))' USR1; echo; while [ $n = 0 ]; do :; done; sleep 0.05; echo $n"
"""A program that handles signals after a millisecond, and prints how many it has received."""


@pytest.mark.parametrize("options", [{}, {"init": False}, {"unshare": "m"}], ids=str)
def test_signal_to_the_group_right_after_the_start_arrives_once(who: Who, options: dict[str, Any]) -> None:
    """nsbox-init has left the group when the start returns."""

    def use() -> list[int]:
        os.setpgid(0, 0)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        received = []
        for _ in range(10):
            with nsbox.Popen(["sh", "-c", COUNTING], stdout=-1, **options) as process:
                assert process.stdout is not None
                process.stdout.readline()
                os.killpg(0, signal.SIGUSR1)
                received.append(int(process.stdout.read()))
        return received

    assert in_child(lambda: who(use)) == [1] * 10


def test_signal_to_the_group_before_the_start_returns_arrives_once(who: Who) -> None:
    """nsbox-init may still be in the group then, but does not forward signals that were sent to the group."""

    def use() -> list[int]:
        os.setpgid(0, 0)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        received = []
        with open(reader) as stream:

            def signal_when_ready() -> None:
                stream.readline()
                os.killpg(0, signal.SIGUSR1)

            for _ in range(10):
                thread = threading.Thread(target=signal_when_ready)
                thread.start()
                nsbox.run(["sh", "-c", COUNTING])
                thread.join()
                received.append(int(stream.readline()))
        return received

    assert in_child(lambda: who(use)) == [1] * 10
