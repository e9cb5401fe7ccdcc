"""A program in a box serves a file system and never replies: neither nsbox-init nor the caller waits for ever."""

from __future__ import annotations

import errno
import functools
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nsbox
import pytest
from nsbox.assertions import assert_mounted, assert_proc_matches
from nsbox.quiz import sees

from tests.support.attack import PYTHON, Arrangement
from tests.support.callers import caller, survivors
from tests.support.census import reap_adopted
from tests.support.fuse import prepared, silent, with_fuse

REQUESTS: dict[str, Callable[[nsbox.Box], object]] = {
    "open": lambda box: box.open("/tmp/silent/file"),
    "mount": lambda box: box.mount("none", "/tmp/silent/directory", "tmpfs"),
    "bind": lambda box: box.mount("/tmp/silent/file", "/tmp", flags="bind"),
    "mount_proc": lambda box: box.mount_proc("/tmp/silent/directory"),
    "unmount": lambda box: box.unmount("/tmp/silent/directory"),
    "a program": lambda box: box.run(["/tmp/silent/program"]),
    "a program in PATH": lambda box: box.fork_exec(["program"], env={"PATH": "/tmp/silent"}),
    "a directory": lambda box: box.run(["true"], cwd="/tmp/silent/directory"),
    "a box inside": lambda box: box.Box("mip", mounts=[nsbox.Tmpfs("/tmp/silent/directory")]),
}
"""What leads nsbox-init to the file system."""


def error_of(function: Callable[[], object]) -> OSError | None:
    """Return the OSError that a function raises."""
    try:
        function()
    except OSError as error:
        return error
    return None


def test_requests_for_it_are_given_up(with_user_namespace: Arrangement) -> None:
    """Each request fails with an error that says so; init serves others meanwhile; and the box ends at once."""

    def use() -> dict[str, Any]:
        with prepared(with_user_namespace) as box, silent(box, "/tmp/silent"):
            with ThreadPoolExecutor(len(REQUESTS)) as threads:
                sent = {name: threads.submit(error_of, functools.partial(ask, box)) for name, ask in REQUESTS.items()}
                # All of these are carried out while the others wait.
                for number in range(20):
                    assert box.run(["sh", "-c", f"exit {number}"]).returncode == number
                assert not any(one.done() for one in sent.values())
            box.run(["true"], check=True)
            box.close()
            return {name: error.errno if (error := one.result()) else None for name, one in sent.items()}

    assert with_fuse(with_user_namespace.who, use) == dict.fromkeys(REQUESTS, errno.ETIMEDOUT)


def test_the_cause_is_named(with_user_namespace: Arrangement) -> None:
    """The error names the path and says what to do."""

    def use() -> tuple[str, str, str]:
        with prepared(with_user_namespace) as box, silent(box, "/tmp/silent"):
            error = error_of(lambda: box.open("/tmp/silent/file"))
            assert isinstance(error, nsbox.SpawnError)
            return error.step, error.cause, str(error)

    step, cause, text = with_fuse(with_user_namespace.who, use)
    assert (step, cause) == ("open", "no-reply-in-time")
    assert "/tmp/silent/file" in text


def test_on_proc(with_user_namespace: Arrangement) -> None:
    """What is mounted on /proc does not matter to init, but for what is to show the box's own /proc."""

    def use() -> tuple[Any, ...]:
        with prepared(with_user_namespace) as box, silent(box, "/proc"):
            names = box.hostname, box.namespace_ids.pid, [one.comm for one in box.ps()][:1], len(box.ipcs())
            with ThreadPoolExecutor() as threads:
                view = threads.submit(error_of, lambda: box.ps(view="proc"))
                proc = threads.submit(_failure, lambda: assert_proc_matches(box))
            mounted = _failure(lambda: assert_mounted(box, "/proc", "proc"))
            error = view.result()
            return bool(names[0]), names[2], error and error.errno, bool(proc.result()), "fuse is mounted" in mounted

    assert with_fuse(with_user_namespace.who, use) == (True, [b"nsbox-init"], errno.ETIMEDOUT, True, True)


def _failure(function: Callable[[], None]) -> str:
    try:
        function()
    except AssertionError as error:
        return str(error)
    return ""


LOOKS: dict[str, Callable[[int], object]] = {
    "ps through its /proc": lambda pid: nsbox.ps(of=pid, view="proc"),
    "ps of its namespace": lambda pid: nsbox.ps(of=pid),
    "pstree": nsbox.pstree,
    "mounts": nsbox.mounts,
    "lsns": lambda _: nsbox.lsns(),
    "assert_proc_matches": lambda pid: _failure(lambda: assert_proc_matches(pid)),
    "assert_mounted": lambda pid: assert_mounted(pid, "/proc", "fuse"),
    "a question": lambda pid: sees(pid, "/proc/file"),
    "a comparison": nsbox.compare,
}
"""What leads the caller to the file system."""

HOLD = "import os, sys, time; os.open(sys.argv[1], os.O_PATH); print('open', flush=True); time.sleep(1000)"
"""Keeps a descriptor of a path, which could be that of a namespace."""


def test_looks_of_the_caller(with_user_namespace: Arrangement) -> None:
    """Neither does the caller itself wait for the file system: its death would then be noticed by no box."""

    def use() -> list[str]:
        with (
            prepared(with_user_namespace) as box, box.Popen(["sleep", "1000"]) as process, silent(box, "/proc"),
            box.Popen([PYTHON, "-c", HOLD, "/proc"], stdout=subprocess.PIPE) as holder,
        ):  # fmt: skip
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"open\n"
            waiting = {}
            for name, look in LOOKS.items():
                waiting[name] = threading.Thread(target=error_of, args=[functools.partial(look, process.pid)])
                waiting[name].start()
            for thread in waiting.values():
                thread.join(100)
            process.kill()
            holder.kill()
            return [name for name, thread in waiting.items() if thread.is_alive()]

    assert with_fuse(with_user_namespace.who, use) == []


@pytest.mark.parametrize("path", ["/tmp/silent/file", "/proc"])
def test_the_caller_dies_meanwhile(with_user_namespace: Arrangement, path: str) -> None:
    """If the caller is killed during a request, all processes of its box end."""

    def attack() -> list[int]:
        def use(send: Callable[[object], None]) -> object:
            with prepared(with_user_namespace) as box, silent(box, os.path.dirname(path) if path != "/proc" else path):
                send("mounted")
                if path == "/proc":
                    box.ps(view="proc")
                box.open(path)
            return None

        with caller(use) as process:
            assert process.receive() == "mounted"
            process.kill()
            return survivors()

    left = with_fuse(with_user_namespace.who, attack)
    reap_adopted()
    assert left == []


def test_root_of_the_box_kills_the_helper(with_user_namespace: Arrangement) -> None:
    """A program that kills the child of init that looks a path up gets an error reported, and nothing else."""
    kill_others = """
import os
print("ready", flush=True)
while True:
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (1, os.getpid()):
            continue
        with open(f"/proc/{name}/comm") as comm:
            if comm.read() == "nsbox-init\n":
                os.kill(int(name), 9)
"""

    def use() -> set[int]:
        seen = set()
        with prepared(with_user_namespace) as box, silent(box, "/tmp/silent"):
            with box.Popen([PYTHON, "-c", kill_others], stdout=subprocess.PIPE) as killer:
                assert killer.stdout is not None
                killer.stdout.readline()
                if (error := error_of(lambda: box.open("/tmp/silent/file"))) is not None:
                    seen.add(error.errno or 0)
                killer.kill()
            box.run(["true"], check=True)
        return seen

    # A helper that waits for the file system is killed only when that is.
    assert with_fuse(with_user_namespace.who, use) <= {errno.ECANCELED, errno.ETIMEDOUT}
