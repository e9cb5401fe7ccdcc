"""The lessons of PID namespaces: their results are what the kernel did."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import nsbox
import pytest
from nsbox import lessons

from tests.support.census import wait_until
from tests.support.forked import Who, as_user
from tests.support.needs import needs_root


def test_exhaustion(who: Who) -> None:
    """PIDs are given out up to pid_max; a freed PID is used again; nothing is left."""

    def lesson() -> lessons.Exhaustion:
        with nsbox.Box("mp", pid_max=400) as box:
            result = lessons.exhaust_pids(box)
            assert box.run(["true"]).returncode == 0
            return result

    result = who(lesson)
    assert (result.pid_max, result.highest, result.errno) == (400, 399, errno.EAGAIN)
    assert result.started == 398  # 1 is nsbox-init
    assert result.next == result.freed
    assert "EAGAIN" in str(result)


# Limits of a user, whom no other test uses.
ALONE = 80_000 + os.getpid() % 10_000


@needs_root
@pytest.mark.parametrize("limit", [60, 350], ids=["below 300", "above 300"])
def test_exhaustion_by_another_limit(limit: int) -> None:
    """When RLIMIT_NPROC is reached before pid_max, the lesson says so, and what it tells of PIDs is true."""

    def lesson() -> tuple[lessons.Exhaustion, lessons.Exhaustion]:
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
        with nsbox.Box("mp", pid_max=400) as box:
            return lessons.exhaust_pids(box), lessons.exhaust_pids(box)

    first, second = as_user(lesson, ALONE)
    # The child itself and nsbox-init are two of them.
    assert (first.pid_max, first.errno, first.started, first.highest) == (400, errno.EAGAIN, limit - 2, limit - 1)
    assert first.limit == f"RLIMIT_NPROC is {limit}, and {limit} are in use"
    assert first.next == limit != first.freed
    assert first.limit in str(first)
    assert "PIDs were still free" in str(first)
    assert "no PID was free" not in str(first)
    # Those below 300 do not come back, so after 350 of them only a hundred are left.
    assert (second.limit == "pid_max") == (limit == 350)
    assert second.started == (100 if limit == 350 else limit - 2)


@needs_root
def test_no_process_at_all() -> None:
    """When not even one can be started, the error is that of the start."""

    def lesson() -> str:
        with nsbox.Box("mp", pid_max=400) as box:
            for pid in (0, box.pid):
                resource.prlimit(pid, resource.RLIMIT_NPROC, (1, 1))
            with pytest.raises(nsbox.SpawnError) as caught:
                lessons.exhaust_pids(box)
            return caught.value.cause

    assert as_user(lesson, ALONE) == "task-limit"


def test_reuse(who: Who) -> None:
    """A second process gets the PID of the first: kill by PID ends the second, a pidfd still refers to the first."""

    def lesson() -> lessons.Reuse:
        with nsbox.Box("mp", pid_max=330) as box:
            return lessons.reuse_a_pid(box)

    result = who(lesson)
    assert (result.by_number, result.by_pidfd) == ("the second", "ESRCH")
    assert 300 < result.pid < 330
    assert result.between >= 20
    assert f"kill({result.pid}, SIGTERM) ended the second" in str(result)


def test_signals_to_init(who: Who) -> None:
    """PID 1 survives all signals from inside."""

    def lesson() -> lessons.SignalsToInit:
        with nsbox.Box("p") as box:
            return lessons.signal_init(box)

    result = who(lesson)
    assert result.survived
    assert signal.SIGKILL in result.sent
    assert "still alive" in str(result)


def test_adoption(who: Who) -> None:
    """An orphan is adopted by PID 1."""

    def lesson() -> lessons.Adoption:
        with nsbox.Box("mp", mount_proc=True) as box:
            return lessons.adopt(box)

    result = who(lesson)
    assert result.before == result.pid - 1
    assert result.after == 1


def test_refused_boxes() -> None:
    """A box that shares the machine's PIDs, or has millions of them, is refused."""
    with nsbox.Box("m") as box:
        for lesson in (lessons.exhaust_pids, lessons.reuse_a_pid, lessons.signal_init, lessons.adopt):
            with pytest.raises(nsbox.SpecError, match=r"^box: "):
                lesson(box)
    with nsbox.Box("p") as box, pytest.raises(nsbox.SpecError, match=r"^box: its pid_max is "):
        lessons.exhaust_pids(box)


def test_shared_memory(who: Who) -> None:
    """POSIX shared memory is in no IPC namespace. A mount separates it, and is undone after the lesson."""

    def lesson() -> list[lessons.SharedMemory]:
        with nsbox.Box("mi") as box:
            mounted = len(box.mounts())
            result = [lessons.share_memory(box) for _ in range(2)]
            assert len(box.mounts()) == mounted
        with nsbox.Box("m") as plain:
            plain.mount_shm()
            return [*result, lessons.share_memory(plain)]

    before = set(os.listdir("/dev/shm"))
    first, second, covered = who(lesson)
    assert first == second == lessons.SharedMemory(new_ipc=True, before=True, after=False)
    assert covered == lessons.SharedMemory(new_ipc=False, before=False, after=False)
    assert "was visible in it" in str(first)
    # Tests that run at the same time have such files for a moment; one that was left behind would stay.
    assert wait_until(lambda: not {name for name in os.listdir("/dev/shm") if name.startswith("nsbox-")} - before)


def test_mount_shm(who: Who) -> None:
    """Every user may write there, as in any /dev/shm, and outside its files are not visible."""

    def check() -> tuple[str, tuple[str, ...], str, bool]:
        with nsbox.Box("mi") as box:
            step = box.mount_shm()
            assert (step.name, step.errno) == ("mount shm", 0)
            mount = next(mount for mount in reversed(box.mounts()) if mount.point == "/dev/shm")
            mode = box.run(["stat", "-c", "%a", "/dev/shm"], stdout=-1, text=True, check=True).stdout.strip()
            box.run(["sh", "-c", ": > /dev/shm/nsbox-test-inside"], check=True)
            with pytest.raises(nsbox.SpawnError) as caught:
                box.mount_shm("/nowhere")
            assert caught.value.errno == errno.ENOENT
            return mount.fstype, mount.options, mode, Path("/dev/shm/nsbox-test-inside").exists()

    fstype, options, mode, outside = who(check)
    assert (fstype, mode, outside) == ("tmpfs", "1777", False)
    assert {"nosuid", "nodev"} <= set(options)


def test_mount_shm_needs_a_mount_namespace() -> None:
    """Without a mount namespace it is refused, as it would cover the caller's."""
    with nsbox.Box("p") as box:
        for how in (box.mount_shm, lambda: lessons.share_memory(box)):
            with pytest.raises(nsbox.SpecError, match="mount namespace"):
                how()
