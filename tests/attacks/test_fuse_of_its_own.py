"""A program waits for a file system that it serves itself, so that no signal ends it: its box ends all the same.

The connections of file systems that are mounted outside are left alone.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import nsbox
import pytest
from nsbox.start import ending

from tests.support import libc
from tests.support.attack import PYTHON, Arrangement, program
from tests.support.callers import alive, caller, survivors
from tests.support.census import adopt_orphans, reap_adopted, wait_until
from tests.support.forked import fork
from tests.support.fuse import CLONE_NEWNS, with_fuse
from tests.support.needs import needs_root
from tests.support.reachable import become_reachable

T = TypeVar("T")

PREPARE = "mount -t tmpfs none /tmp && mkdir /tmp/own && exec "


def waiting(*how: str) -> list[str]:
    """Return the command of a program that waits for itself, and prints a line when it does."""
    words = ["sh", "-c", PREPARE + '"$@"', "sh", PYTHON, "-c", program("fuse_of_its_own.py"), "/tmp/own", *how]
    return words


def started(popen: Callable[..., subprocess.Popen[bytes]], *how: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start it, and return when it waits."""
    process = popen(waiting(*how), stdout=subprocess.PIPE, **options)
    assert process.stdout is not None
    assert process.stdout.readline() == b"waiting\n"
    return process


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not end fails the test after a shorter time."""
    monkeypatch.setattr(ending, "END_SECONDS", 12.0)


def ends(who: Callable[[Callable[[], Any]], Any], function: Callable[[], T]) -> T:
    """Return what the function returns, and check that it has left no process."""

    def use() -> T:
        adopt_orphans()
        result = function()
        assert survivors(12) == []
        return result

    def run() -> T:
        try:
            return with_fuse(who, use)  # type: ignore[arg-type]
        finally:
            reap_adopted()

    return run()


HOW = ["plain", "cover", "nested", "nested cover"]


@pytest.mark.parametrize("how", HOW)
def test_a_box(with_user_namespace: Arrangement, how: str) -> None:
    """Neither another mount over it nor a namespace in which the mount is locked keeps the box from ending."""

    def use() -> None:
        box = nsbox.Box(**with_user_namespace.options)
        with started(box.Popen, *how.split()):
            box.close()

    ends(with_user_namespace.who, use)


def test_a_box_that_is_dropped(with_user_namespace: Arrangement) -> None:
    """The handle without a call of `close`."""

    def use() -> None:
        box = nsbox.Box(**with_user_namespace.options)
        leave = '"$@" > /tmp/line & until grep -q waiting /tmp/line; do sleep 0.01; done'
        box.run([*waiting()[:2], PREPARE.removesuffix("exec ") + leave, *waiting()[3:]], check=True)
        with pytest.warns(ResourceWarning):
            del box

    ends(with_user_namespace.who, use)


def test_a_box_in_a_box(with_user_namespace: Arrangement) -> None:
    """Only the inner box ends. A file system of the outer one is left alone, although the inner box can use it."""

    def use() -> bool:
        with nsbox.Box(**with_user_namespace.options) as outer:
            process = started(outer.Popen)
            inner = outer.Box("mip", mount_proc=True)
            with started(inner.Popen):
                inner.close()
            return process.poll() is None

    assert ends(with_user_namespace.who, use)


def test_without_a_pid_namespace(with_user_namespace: Arrangement) -> None:
    """An nsbox-init that is no PID 1 ends the processes one by one."""
    unshare = "mU" if with_user_namespace.who.is_root else "m"

    def use() -> None:
        box = nsbox.Box(unshare)
        with started(box.Popen):
            box.close()
        process = started(nsbox.Popen, unshare=unshare)
        process.kill()
        process.communicate()

    ends(with_user_namespace.who, use)


def test_a_program(with_user_namespace: Arrangement) -> None:
    """Killed, or out of time."""

    def use() -> None:
        with started(nsbox.Popen, **with_user_namespace.options) as process:
            process.kill()
            assert process.wait() == -signal.SIGKILL
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            nsbox.run(waiting(), capture_output=True, timeout=2, **with_user_namespace.options)
        assert caught.value.stdout == b"waiting\n"

    ends(with_user_namespace.who, use)


def test_a_program_that_is_polled(with_user_namespace: Arrangement) -> None:
    """A caller that only polls."""

    def use() -> None:
        with started(nsbox.Popen, **with_user_namespace.options) as process:
            process.kill()
            assert wait_until(lambda: process.poll() is not None, 12)

    ends(with_user_namespace.who, use)


def test_a_child_of_a_program_that_has_ended(with_user_namespace: Arrangement) -> None:
    """The program exits, and its child waits."""

    def use() -> list[int]:
        command = waiting("exit")
        return [
            nsbox.run(command, **with_user_namespace.options).returncode,
            nsbox.run(command, stdout=subprocess.PIPE, **with_user_namespace.options).returncode,
            nsbox.call(command, stdout=subprocess.DEVNULL, **with_user_namespace.options),
        ]

    assert ends(with_user_namespace.who, use) == [3] * 3


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("what", ["box", "program"])
def test_the_caller_is_killed(with_user_namespace: Arrangement, what: str, how: str) -> None:
    """No process outside is left that could abort the connection. nsbox-init does it."""

    def use() -> None:
        def start(send: Callable[[object], None]) -> None:
            popen = nsbox.Box(**with_user_namespace.options).Popen if what == "box" else nsbox.Popen
            options = {} if what == "box" else with_user_namespace.options
            with started(popen, *how.split(), **options):
                send("waits")
                threading.Event().wait()

        with caller(start) as process:
            assert process.receive() == "waits"
            process.kill()
            assert survivors(12) == []

    ends(with_user_namespace.who, use)


def test_asyncio_of_a_program_that_has_ended(with_user_namespace: Arrangement) -> None:
    """The program exits, and its child waits."""

    async def run() -> int:
        options = {"stdout": subprocess.DEVNULL, **with_user_namespace.options}
        process = await nsbox.create_subprocess_exec(*waiting("exit"), **options)
        return await process.wait()

    assert ends(with_user_namespace.who, lambda: asyncio.run(run())) == 3


def test_asyncio(with_user_namespace: Arrangement) -> None:
    """A program of asyncio."""

    async def killed(command: list[str]) -> int | None:
        process = await nsbox.create_subprocess_exec(*command, stdout=subprocess.PIPE, **with_user_namespace.options)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"waiting\n"
        process.kill()
        return await asyncio.wait_for(process.wait(), 12)

    assert ends(with_user_namespace.who, lambda: asyncio.run(killed(waiting()))) == -signal.SIGKILL


def test_a_shell(with_user_namespace: Arrangement) -> None:
    """A shell with such a program in the background."""

    def use() -> None:
        with nsbox.Shell(**with_user_namespace.options) as shell:
            shell.run("mount -t tmpfs none /tmp && mkdir /tmp/own", timeout=10)
            script = program("fuse_of_its_own.py")
            shell.run(f"cat > /tmp/script << 'END'\n{script}\nEND", timeout=10)
            shell.run(f"{PYTHON} /tmp/script /tmp/own > /tmp/output &", timeout=10)
            shell.run("until grep -q waiting /tmp/output; do sleep 0.01; done", timeout=10)

    ends(with_user_namespace.who, use)


def test_a_task(with_user_namespace: Arrangement, place: Path) -> None:
    """A task that leaves such a program behind."""

    def use() -> list[int]:
        options = {"unshare": with_user_namespace.options["unshare"]}
        with nsbox.Executor(1, **options) as executor:
            return [executor.submit(subprocess.call, waiting("exit")).result(), executor.submit(abs, -1).result()]

    def who(function: Callable[[], Any]) -> list[int]:
        if os.geteuid() == 0:
            become_reachable(place)
        return with_user_namespace.who(function)

    assert ends(who, use) == [3, 1]


@contextmanager
def outside(path: str) -> Iterator[tuple[int, int]]:
    """Mount a file system that replies to everything but the lookup of a name, until it is told to end.

    Yields a descriptor at which each lookup is reported, and one to write to.
    """
    (lookups, report), (orders, order) = os.pipe(), os.pipe()
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc.mount("outside", path, "fuse", data=options)
    pid = fork()
    if pid == 0:
        try:
            _serve(device, report, orders)
        finally:
            os._exit(0)
    os.close(device)
    try:
        yield lookups, order
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(device: int, report: int, orders: int) -> None:
    init, lookup, getattr_, enosys = 26, 1, 3, -38
    while orders not in select.select([device, orders], [], [])[0]:
        request = os.read(device, 1 << 17)
        _, operation, unique, *_ = struct.unpack_from("<IIQQIIII", request)
        error, body = 0, b""
        if operation == init:
            body = struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 0, 0, 4096, 0, 0, 0, 0, *[0] * 7)
        elif operation == getattr_:
            attributes = 1, *[0] * 8, stat.S_IFDIR | 0o755, 2, *[0] * 5
            body = struct.pack("<QII6Q10I", 0, 0, 0, *attributes)
        elif operation == lookup:
            os.write(report, b"x")
            continue
        else:
            error = enosys
        os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)


@needs_root
@pytest.mark.parametrize("bound", [False, True], ids=["seen", "bound"])
def test_file_systems_outside(with_user_namespace: Arrangement, monkeypatch: pytest.MonkeyPatch, bound: bool) -> None:
    """One of the caller stays connected, although a process in the box waits for it and cannot end."""
    monkeypatch.setattr(ending, "END_SECONDS", 5.0)

    def use(lookups: int, order: int) -> list[bool]:
        options: dict[str, Any] = {"mounts": [nsbox.Bind("/mnt", "/opt")]} if bound else {}
        box = nsbox.Box(**with_user_namespace.options, **options)
        own = started(box.Popen)
        waits = box.Popen(["ls", "/opt/name" if bound else "/mnt/name"])
        os.read(lookups, 1)
        with pytest.raises(nsbox.NotEndedError):
            box.close()
        found = [not os.path.exists(f"/proc/{own.pid}"), alive(waits.pid), stat.S_ISDIR(os.stat("/mnt").st_mode)]
        os.write(order, b"x")
        box.close()
        return found

    def who(function: Callable[[], Any]) -> list[bool]:
        libc.unshare(CLONE_NEWNS)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        with outside("/mnt") as (lookups, order):
            return with_user_namespace.who(lambda: use(lookups, order))

    assert ends(who, list) == [True] * 3
