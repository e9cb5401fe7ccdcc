"""Programs that stop, trace or starve their init or their caller: neither hangs, and nothing outlives the caller."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import nsbox
import pytest

from tests.support.callers import caller, survivors
from tests.support.census import wait_until
from tests.support.forked import Who, as_user
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
"""Stops all processes but init, including those that have not exec'ed yet."""

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
"""A program that cannot be reaped: its tracer never waits for it (ptrace(2))."""


def stopping(box: nsbox.Box) -> Any:
    """Start the program that stops the others, and return when it does."""
    reader, writer = os.pipe()
    child = box.fork_exec([PYTHON, "-c", STOP_OTHERS], stdout=writer)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return child


def until_one_is_stopped(box: nsbox.Box) -> nsbox.SpawnError:
    """Start programs with a slow look-up until one is stopped during it."""
    environment = {"PATH": ":".join(f"/nowhere/{number}" for number in range(50_000))}
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        try:
            box.fork_exec(["nothing"], env=environment)
        except FileNotFoundError:
            pass
        except nsbox.SpawnError as error:
            return error
    raise AssertionError("none was stopped")


@pytest.mark.parametrize("unshare", ["mip", "mipT"])
def test_stopped_before_the_exec(who: Who, unshare: str) -> None:
    """A process that is stopped repeatedly before its exec is ended with an error, and the box can still be used."""

    def use() -> Any:
        with nsbox.Box(unshare, mount_proc=True) as box:
            process = stopping(box)
            error = until_one_is_stopped(box)
            process.kill()
            process.wait()
            return error.step, error.errno, box.run(["sh", "-c", "exit 7"]).returncode

    assert who(use) == ("start", 110, 7)


@pytest.mark.parametrize("unshare", ["mip", "mipT"])
def test_the_caller_dies_while_init_waits_for_an_exec(unshare: str) -> None:
    """If the caller dies in that time, nsbox-init notices."""
    needs(Who("root"), "mip")

    def use(send: Callable[[object], None]) -> object:
        box = nsbox.Box(unshare, mount_proc=True)
        kept = stopping(box)
        while kept:
            until_one_is_stopped(box)
            send("given up")
        return kept

    with caller(use) as process:
        assert process.receive()
        # By now it is probably waiting for the next one, for up to a second.
        process.kill()
        assert not survivors()


def test_stopped_in_a_joined_namespace(who: Who) -> None:
    """Processes in a joined namespace may stop nsbox-init. It is continued, or else ended with an error."""

    def use() -> list[object]:
        ends: list[object] = []
        with nsbox.Box("mip", mount_proc=True) as box:
            kept = stopping(box)
            for _ in range(4):
                try:
                    ends.append(nsbox.run(["sleep", "1000"], unshare="", join=box, timeout=0.1))
                except subprocess.TimeoutExpired:
                    ends.append("timeout")
                except nsbox.SpawnError as error:
                    ends.append(error.step)
            kept.kill()
        return ends

    assert set(who(use)) <= {"timeout", "init", "fork"}


def test_the_caller_dies_while_it_is_stopped_in_a_joined_namespace() -> None:
    """A program that the caller has started in another user's box ends with the caller."""
    needs(Who("root"), "mip")
    with nsbox.Box("mip", mount_proc=True) as box:
        target = box.pid

        def use(send: Callable[[object], None]) -> object:
            child = nsbox.fork_exec(["sleep", "1000"], unshare="", join=target)
            send(child.pid)
            return child

        # The processes are not children of the box, so they are listed first.
        with caller(use) as process:
            process.receive()
            kept = stopping(box)
            process.kill()
            assert wait_until(lambda: len(box.ps()) == 2), box.ps()
            kept.kill()


@pytest.mark.parametrize("keywords", [{}, {"unshare": "mi"}, {"init": False}, {"capture_output": True}], ids=str)
def test_ended_but_traced(who: Who, keywords: dict[str, Any]) -> None:
    """When the program has ended, everything ends, including its tracer."""
    assert who(lambda: nsbox.run([PYTHON, "-c", TRACED_BY_A_CHILD, "end"], **keywords).returncode) == 3


@pytest.mark.parametrize("unshare", ["mip", "mi"])
def test_killed_but_traced(who: Who, unshare: str) -> None:
    """run() returns at its timeout."""

    def use() -> None:
        with pytest.raises(subprocess.TimeoutExpired):
            nsbox.run([PYTHON, "-c", TRACED_BY_A_CHILD, "stay"], unshare=unshare, timeout=1)

    who(use)


def test_init_with_no_memory_left(who: Who) -> None:
    """If a program sets a limit on init's memory, the box ends instead of hanging."""

    def use() -> None:
        with nsbox.Box("mip") as box:
            code = "import resource; resource.prlimit(1, resource.RLIMIT_AS, (0, 0))"
            box.run([PYTHON, "-c", code], check=True)
            with pytest.raises(nsbox.ClosedError, match="ended meanwhile"):
                box.run(["true"])

    who(use)


@pytest.mark.parametrize(
    ("cover", "look", "expected"),
    [
        ("mkfifo /tmp/x; mount --bind /tmp/x /proc/sys/kernel/hostname", lambda box: box.hostname != "", True),
        ("mount --bind /dev/zero /proc/sysvipc/shm", lambda box: len(box.ipcs()), 0),
        ("echo 5 > /tmp/x; mount --bind /tmp/x /proc/sys/kernel/pid_max", lambda box: box.pid_max > 300, True),
        ("mount -t tmpfs none /proc", lambda box: box.namespace_ids.pid != nsbox.namespaces_of(os.getpid()).pid, True),
        ("mkfifo /tmp/x; mount --bind /tmp/x /proc/self/status", lambda box: box.Box("ip").close(), None),
    ],
    ids=["a fifo", "without an end", "made up", "no proc", "what a box inside it needs"],
)
def test_mounted_over_what_init_reads(
    who: Who, cover: str, look: Callable[[nsbox.Box], object], expected: object
) -> None:
    """init does not read files that programs mount over its /proc: it uses the proc below, or reports an error."""

    def use() -> object:
        with nsbox.Box("mip", mount_proc=True) as box:
            box.run(["sh", "-c", f"mount -t tmpfs none /tmp; {cover}"], check=True)
            try:
                return look(box)
            except nsbox.SpawnError as error:
                return error.errno if "has mounted over it" in str(error) else str(error)

    # A user may not mount a new proc where the existing one is covered in part (mount_namespaces(7)).
    assert who(use) in (expected, errno.EXDEV)


@pytest.mark.parametrize(
    "cover",
    [
        "mkdir -p /proc/1 && mkfifo /proc/1/stat",
        "mkdir /proc/self && ln -s /dev/zero /proc/self/stat",
    ],
)
def test_no_proc_at_all(who: Who, cover: str) -> None:
    """A directory with the files of a proc is not read."""

    def use() -> object:
        with nsbox.Box("mip", mount_proc=True) as box:
            box.run(["sh", "-c", f"mount -t tmpfs none /proc; {cover}"], check=True)
            with pytest.raises(nsbox.SpawnError, match="no proc is mounted there"):
                box.ps(view="proc")
            return [process.pid for process in box.ps()]

    assert who(use) == [1]


@pytest.mark.parametrize("what", ["stat", "status", "cmdline", ""])
def test_mounted_over_a_process(who: Who, what: str) -> None:
    """init does not block on a FIFO in a proc, or a directory of them; the process counts as not visible."""

    def use() -> tuple[list[int], list[int]]:
        cover = f"mkfifo /tmp/x; mount --bind /tmp/x /proc/1/{what}"
        if not what:
            cover = "mkdir /tmp/x; mkfifo /tmp/x/stat; mount --bind /tmp/x /proc/1"
        with nsbox.Box("mip", mount_proc=True) as box:
            box.run(["sh", "-c", f"mount -t tmpfs none /tmp; {cover}"], check=True)
            table = box.ps(view="proc")
            return [process.pid for process in table], list(table.hidden)

    assert who(use) == ([], [1])


TRACE_ALL = """
import ctypes, os
PTRACE_SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
os.write(1, b"x")
while True:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            libc.ptrace(PTRACE_SEIZE, int(name), None, None)
"""
"""Traces every process that it may trace, and never waits for any."""


def test_traced_in_a_joined_namespace(who: Who) -> None:
    """A process of a box traces a program that has entered it: the caller does not wait for its release."""

    def use() -> set[int]:
        with nsbox.Box("mipU", mount_proc=True) as box:
            spy = box.Popen([PYTHON, "-c", TRACE_ALL], stdout=subprocess.PIPE)
            assert spy.stdout is not None
            assert spy.stdout.read(1) == b"x"
            ends = {nsbox.enter(box, "mip", ["sleep", "0.1"]).returncode for _ in range(3)}
            spy.kill()
            spy.communicate()
        return ends

    # By whom a program was traced decides whether its exit status is known.
    assert who(use) <= {0, -9}


def test_a_fifo_is_opened_at_once(who: Who) -> None:
    """init does not wait for the other end of a FIFO to be opened."""

    def use() -> None:
        with nsbox.Box("mip") as box:
            box.run(["sh", "-c", "mount -t tmpfs none /tmp; mkfifo /tmp/x"], check=True)
            box.open("/tmp/x").close()

    who(use)


def test_capabilities_of_a_box_in_a_box(who: Who) -> None:
    """The capabilities that init keeps over its exec are not passed to programs."""

    def use() -> list[list[str]]:
        show = ["grep", "-E", "CapInh|CapAmb", "/proc/self/status"]
        with nsbox.Box("mip", mount_proc=True, map_root_user=True) as box, box.Box("ip") as inner:
            return [one.run(show, capture_output=True, text=True).stdout.split()[1::2] for one in (box, inner)]

    assert who(use) == [["0" * 16] * 2] * 2


def test_traced_in_a_box(who: Who) -> None:
    """init does not wait for a program that was killed and that its tracer does not release."""

    def use() -> None:
        with nsbox.Box("mip") as box:
            with pytest.raises(subprocess.TimeoutExpired):
                box.run([PYTHON, "-c", TRACED_BY_A_CHILD, "stay"], timeout=1)
            with box.Popen([PYTHON, "-c", TRACED_BY_A_CHILD, "end"]) as process:
                process.wait()

    who(use)


TRACE_INIT = """
import ctypes, os
PTRACE_SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(PTRACE_SEIZE, 1, None, None), ctypes.get_errno())
try:
    print(os.listdir("/proc/1/fd"))
except OSError as error:
    print(error.errno)
"""


def test_the_init_of_an_inner_box_cannot_be_traced() -> None:
    """Root of a user namespace has no rights over an init in it, also if that belongs to a box inside."""

    def use() -> list[str]:
        for number in os.listdir("/proc/self/fd"):
            path = f"/proc/self/fd/{number}"
            # Root has created this file of nsbox-init; the user must create one of its own.
            if os.path.islink(path) and "nsbox-init" in os.readlink(path):
                os.close(int(number))
        command = [PYTHON, "-c", TRACE_INIT]
        with nsbox.Box("mip", mount_proc=True) as box, box.Box("mip", mount_proc=True) as inner:
            return [one.run(command, capture_output=True, text=True).stdout for one in (box, inner)]

    needs(Who("user"), "mip")
    assert as_user(use) == [f"-1 {errno.EPERM}\n{errno.EACCES}\n"] * 2
