"""Signals to the caller, although the PID namespace shows no process of the caller; and the priority of init."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Callable
from typing import Any

import nsbox
import pytest

from tests.support.attack import PYTHON, Arrangement
from tests.support.forked import Who, in_child

GROUP = "import os; os.kill(0, 10)"
"""Sends SIGUSR1 to the process group (kill(2))."""

INPUT = """
import fcntl, os, sys
how, = sys.argv[1:]
try:
    fcntl.fcntl(0, 10, 10)  # F_SETSIG, SIGUSR1
except OSError:
    pass
try:
    if how == "fcntl":
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    else:
        fcntl.ioctl(0, 0x5452, b"\\1\\0\\0\\0")  # FIOASYNC
except OSError:
    pass
print("ready", flush=True)
os.read(3, 1)
"""
"""Asks for SIGUSR1 when there is input: for a terminal, it is sent to the foreground processes (fcntl(2), F_SETOWN)."""

SCHEDULING = """
import os
for what, change in {
    "processors": lambda: os.sched_setaffinity(1, {min(os.sched_getaffinity(0))}),
    "class": lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
}.items():
    try:
        change()
        print("OUT changes the", what)
    except OSError:
        pass
"""

PLAIN: dict[str, Any] = {"unshare": "mipU", "mount_proc": True}


def signals_during(function: Callable[[int, int], object]) -> int:
    """Return how many SIGUSR1 this process gets meanwhile, as the leader of a session on a terminal.

    SIGIO is counted as well. The function gets both ends of the terminal.
    """

    def use() -> int:
        got = []
        for number in (signal.SIGUSR1, signal.SIGIO):
            signal.signal(number, lambda *_: got.append(1))
        os.setsid()
        leader, terminal = pty.openpty()
        os.close(os.open(os.ttyname(terminal), os.O_RDWR))
        function(leader, terminal)
        return len(got)

    return in_child(use)


@pytest.mark.parametrize(
    "options", [PLAIN, {**PLAIN, "process_group": 0}, {"harden": True}], ids=["documented", "group", "hardened"]
)
def test_process_group(who: Who, options: dict[str, Any]) -> None:
    """A program is in the process group of the caller, unless it has a group or a session of its own."""

    def use() -> int:
        return signals_during(lambda *_: nsbox.run([PYTHON, "-c", GROUP], cwd="/", **options))

    assert who(use) == (1 if options is PLAIN else 0)


@pytest.mark.parametrize("how", ["fcntl", "ioctl"])
@pytest.mark.parametrize("options", [PLAIN, {"harden": True}], ids=["documented", "hardened"])
def test_input_of_a_terminal(who: Who, how: str, options: dict[str, Any]) -> None:
    """A terminal that is passed on sends no signal to the caller, in whose foreground it is."""

    def types(leader: int, terminal: int) -> None:
        reader, writer = os.pipe()
        # The program gets the pipe as its descriptor 3.
        os.dup2(reader, 3)
        command = [PYTHON, "-c", INPUT, how]
        with nsbox.Popen(command, stdin=terminal, stdout=-1, pass_fds=[3], cwd="/", **options) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            os.write(leader, b"x\n")
            os.write(writer, b"x")

    assert who(lambda: signals_during(types)) == (1 if options is PLAIN else 0)


def test_init_is_scheduled_as_before(every_arrangement: Arrangement) -> None:
    """A program that makes init wait for a processor makes the caller wait for init. Without capabilities it cannot."""
    options = every_arrangement.options
    changed = every_arrangement(lambda: every_arrangement.attack(SCHEDULING, cwd="/"))
    held = options.get("harden") or every_arrangement.as_id
    assert len(changed) == (0 if held else 3)
