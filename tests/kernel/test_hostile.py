"""Programs that turn against their init or their caller: neither hangs, and nothing outlives the caller."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import nsbox
import pytest

from tests.support.callers import caller, nobody_left
from tests.support.forked import Who
from tests.support.needs import needs

PYTHON = "/usr/bin/python3"

STOP_OTHERS = """
import os, signal
os.write(1, b"x")
while True:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            try:
                os.kill(int(name), signal.SIGSTOP)
            except ProcessLookupError:
                pass
"""
"""Stops every process but init, those that are on the way to their exec included."""

TRACED_BY_A_CHILD = """
import ctypes, os, signal, sys
PTRACE_SEIZE = 0x4206
reader, writer = os.pipe()
parent = os.getpid()
if os.fork() == 0:
    ctypes.CDLL(None, use_errno=True).ptrace(PTRACE_SEIZE, parent, None, None)
    os.closerange(0, writer)
    os.write(writer, b"x")
    os.close(writer)
    signal.pause()
os.close(writer)
os.read(reader, 1)
if sys.argv[1] == "stay":
    signal.pause()
os._exit(3)
"""
"""A program that nobody can reap: its tracer never asks for its end (ptrace(2))."""


def stopping(box: nsbox.Box) -> Any:
    """Start the one that stops the others, and return when it does."""
    reader, writer = os.pipe()
    child = box.fork_exec([PYTHON, "-c", STOP_OTHERS], stdout=writer)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return child


def until_one_is_stopped(box: nsbox.Box) -> nsbox.SpawnError:
    """Start programs until one is given up; the others are stopped after their exec, or never."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            box.fork_exec(["true"]).kill()
        except nsbox.SpawnError as error:
            return error
    raise AssertionError("none was stopped")


def test_stopped_before_the_exec(who: Who) -> None:
    """A process that is stopped again and again before its exec is given up, and the box goes on."""

    def use() -> Any:
        with nsbox.Box("mip", mount_proc=True) as box:
            process = stopping(box)
            error = until_one_is_stopped(box)
            process.kill()
            process.wait()
            return error.step, error.errno, box.run(["sh", "-c", "exit 7"]).returncode

    assert who(use) == ("start", 110, 7)


def test_the_caller_dies_while_init_waits_for_an_exec() -> None:
    """It is noticed all the same."""
    needs(Who("root"), "mip")

    def use(tell: Callable[[object], None]) -> object:
        box = nsbox.Box("mip", mount_proc=True)
        kept = stopping(box)
        while kept:
            until_one_is_stopped(box)
            tell("given up")
        return kept

    with caller(use) as process:
        assert process.tells()
        # By now it is most likely in the middle of another one, which takes a second.
        process.kill()
        assert not nobody_left()


@pytest.mark.parametrize("keywords", [{}, {"unshare": "mi"}, {"init": False}, {"capture_output": True}], ids=str)
def test_ended_but_traced(who: Who, keywords: dict[str, Any]) -> None:
    """The end of the program is the end of everything, its tracer included."""
    assert who(lambda: nsbox.run([PYTHON, "-c", TRACED_BY_A_CHILD, "end"], **keywords).returncode) == 3


@pytest.mark.parametrize("unshare", ["mip", "mi"])
def test_killed_but_traced(who: Who, unshare: str) -> None:
    """A timeout holds."""

    def use() -> None:
        with pytest.raises(subprocess.TimeoutExpired):
            nsbox.run([PYTHON, "-c", TRACED_BY_A_CHILD, "stay"], unshare=unshare, timeout=1)

    who(use)


def test_init_without_memory(who: Who) -> None:
    """A program can take init's right to more memory; then the box ends, and does not go deaf."""

    def use() -> None:
        with nsbox.Box("mip") as box:
            code = "import resource; resource.prlimit(1, resource.RLIMIT_AS, (0, 0))"
            box.run([PYTHON, "-c", code], check=True)
            with pytest.raises(nsbox.ClosedError, match="ended meanwhile"):
                box.run(["true"])

    who(use)
