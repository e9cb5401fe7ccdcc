"""Thousands of runs leave nothing, also in a caller that is large or busy."""

from __future__ import annotations

import errno
import gc
import os
import resource
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.census import Census, wait_until
from tests.support.forked import Who, in_child

RUNS = 2000


def test_two_thousand_runs_from_four_threads(census: Census) -> None:
    """No process, zombie, descriptor, mount or namespace is left."""
    with ThreadPoolExecutor(4) as pool:
        ends = pool.map(lambda _: nsbox.run(["true"], unshare="mip", mount_proc=True).returncode, range(RUNS))
        assert set(ends) == {0}
    assert not census.left_behind()


@pytest.mark.parametrize(
    "options",
    [{"unshare": "mi"}, {"unshare": "mip", "init": False}, {"unshare": "mip", "fork": False}, {"unshare": "Umipun"}],
    ids=str,
)
def test_two_hundred_runs(who: Who, options: dict[str, Any]) -> None:
    """Other arrangements leave nothing either, also within the process that starts them."""

    def check() -> list[str]:
        nsbox.run(["true"], **options)
        before = Census.take()
        for _ in range(200):
            nsbox.run(["sh", "-c", "true & exit 3"], **options)
        return before.left_behind()

    assert who(check) == []


def test_failures_leave_nothing(who: Who) -> None:
    """Failures at the exec, in the set-up and before the start leave nothing."""

    def check() -> list[str]:
        before = Census.take()
        for _ in range(50):
            for command, options in (
                (["/nonexistent"], {"unshare": "mip"}),
                (["true"], {"unshare": "mip", "mount_proc": "/nonexistent"}),
                (["true"], {"unshare": "Um", "map_user": 0, "map_users": [(n, n, 1) for n in range(1, 681, 2)]}),
                (["true"], {"mounts": [nsbox.Tmpfs("/tmp"), nsbox.Bind("/nonexistent", "/tmp")]}),
                (["true"], {"root": "/", "rlimits": {"nofile": 1 << 40}}),
            ):
                with pytest.raises(OSError):  # noqa: PT011 - any error will do
                    nsbox.run(command, capture_output=True, **options)
        gc.collect()
        return before.left_behind()

    assert who(check) == []


def test_forgotten_handles_leave_nothing(census: Census) -> None:
    """A forgotten Popen gives a ResourceWarning, is kept until its program ends, and is reaped, as in `subprocess`."""

    def forget() -> None:
        for _ in range(20):
            nsbox.Popen(["sleep", "0.05"], unshare="mip")
        gc.collect()

    with pytest.warns(ResourceWarning, match="is still running"):
        forget()
    assert wait_until(lambda: (subprocess._cleanup(), not subprocess._active)[1])  # type: ignore[attr-defined]
    assert not census.left_behind()


def test_a_forgotten_core_handle_kills_its_process() -> None:
    """When the core's handle is dropped, its process is killed, as it could not be ended later."""
    handle = nsbox.fork_exec(["sleep", "60"], unshare="mip")
    pid = handle.init_pid
    del handle
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()


def test_a_handle_of_an_ended_process_can_be_used() -> None:
    """After the end every call returns the same status, and no signal is sent to a process that reuses the PID."""
    process = nsbox.Popen(["sh", "-c", "exit 5"], unshare="mip")
    assert [process.wait(), process.wait(1), process.poll(), process.returncode] == [5] * 4
    process.kill()
    process.terminate()
    process.send_signal(0)
    assert process.wait() == 5
    assert process.rusage is not None


def test_a_handle_of_an_ended_process_holds_nothing(census: Census) -> None:
    """A list of a thousand ended programs holds no descriptors, as with `subprocess`."""

    def held() -> int:
        finished = [nsbox.Popen(["true"], unshare="mip") for _ in range(3)]
        for process in finished:
            process.wait()
        return len(Census.take().extra(census))

    assert held() == 0


def test_with_a_large_heap() -> None:
    """A caller that uses a gigabyte can start programs."""

    def check() -> int:
        heap = bytearray(1 << 30)
        heap[:: 1 << 12] = b"x" * (1 << 18)
        return sum(nsbox.run(["true"], unshare="mip").returncode for _ in range(20)) + heap.count(b"\0") * 0

    assert in_child(check) == 0


def test_from_busy_threads(busy_threads: None) -> None:
    """Several threads start programs while others allocate all the time."""
    del busy_threads
    with ThreadPoolExecutor(4) as pool:
        run = lambda n: nsbox.run(["sh", "-c", f"exit {n}"], unshare="mip").returncode  # noqa: E731
        assert list(pool.map(run, range(100))) == list(range(100))


def free_descriptors_needed(start: Callable[[], object]) -> int:
    """Return the lowest number of free descriptors with which a start succeeds (RLIMIT_NOFILE)."""
    start()  # descriptors that are kept for later starts are open from now on
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    highest = max(map(int, os.listdir("/proc/self/fd")))
    filled = [os.open(os.devnull, os.O_RDONLY)]
    while filled[-1] <= highest:
        filled.append(os.open(os.devnull, os.O_RDONLY))

    def succeeds(free: int) -> bool:
        resource.setrlimit(resource.RLIMIT_NOFILE, (filled[-1] + 1 + free, hard))
        try:
            start()
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            return False
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return True

    free = 30
    while succeeds(free - 1):
        free -= 1
    for fd in filled:
        os.close(fd)
    return free


@pytest.mark.parametrize(
    "options",
    [{}, {"env": {"LARGE": "x" * 100_000}}, {"close_fds": False}, {"init": False}, {"fork": False}],
    ids=["plain", "large plan", "no close_fds", "no init", "no fork"],
)
def test_descriptors_that_a_start_with_three_pipes_needs(who: Who, options: dict[str, Any]) -> None:
    """As many as `subprocess`, in a box and elsewhere: the six of the pipes, and two."""
    # Imported here: an ordinary user may not be allowed to read the files of this Python.
    open_box = nsbox.Box
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)

    def starts(popen: Callable[..., subprocess.Popen[bytes]], **keywords: Any) -> Callable[[], object]:
        return lambda: popen(["true"], **pipes, **keywords).communicate()

    def check() -> list[int]:
        with open_box("mip") as box:
            popens = (starts(subprocess.Popen), starts(nsbox.Popen, unshare="mip", **options), starts(box.Popen))
            return [free_descriptors_needed(start) for start in popens]

    plain, new, in_box = in_child(lambda: who(check))
    assert in_box == plain
    assert new <= plain


def test_descriptors_that_run_needs() -> None:
    """As many as `subprocess` without pipes."""

    def check() -> list[int]:
        return [
            free_descriptors_needed(lambda: subprocess.run(["true"], check=True)),
            free_descriptors_needed(lambda: nsbox.run(["true"], unshare="mip", check=True)),
        ]

    plain, new = in_child(check)
    assert new <= plain
