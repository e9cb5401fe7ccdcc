"""The lessons of PID namespaces, and that what they tell is what the kernel did."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import nsbox
import pytest
from nsbox import lessons

from tests.support.census import wait_until
from tests.support.forked import Who


def test_exhaustion(who: Who) -> None:
    """Up to pid_max and no further; the number that was freed comes back; nothing is left."""

    def lesson() -> lessons.Exhaustion:
        with nsbox.Box("mp", pid_max=400) as box:
            told = lessons.exhaust_pids(box)
            assert box.run(["true"]).returncode == 0
            return told

    told = who(lesson)
    assert (told.pid_max, told.highest, told.errno) == (400, 399, errno.EAGAIN)
    assert told.started == 398  # 1 is nsbox-init
    assert told.next == told.freed
    assert "EAGAIN" in str(told)


def test_reuse(who: Who) -> None:
    """The same number for two processes: a signal by number reaches the second, a pidfd knows the first."""

    def lesson() -> lessons.Reuse:
        with nsbox.Box("mp", pid_max=330) as box:
            return lessons.reuse_a_pid(box)

    told = who(lesson)
    assert (told.by_number, told.by_pidfd) == ("the second", "ESRCH")
    assert 300 < told.pid < 330
    assert told.between >= 20
    assert f"kill({told.pid}, SIGTERM) ended the second" in str(told)


def test_signals_to_init(who: Who) -> None:
    """PID 1 survives all of them."""

    def lesson() -> lessons.SignalsToInit:
        with nsbox.Box("p") as box:
            return lessons.signal_init(box)

    told = who(lesson)
    assert told.survived
    assert signal.SIGKILL in told.sent
    assert "still alive" in str(told)


def test_adoption(who: Who) -> None:
    """The orphan goes to PID 1."""

    def lesson() -> lessons.Adoption:
        with nsbox.Box("mp", mount_proc=True) as box:
            return lessons.adopt(box)

    told = who(lesson)
    assert told.before == told.pid - 1
    assert told.after == 1


def test_what_is_refused() -> None:
    """A box that shares the PIDs of the machine, or has millions of them."""
    with nsbox.Box("m") as box:
        for lesson in (lessons.exhaust_pids, lessons.reuse_a_pid, lessons.signal_init, lessons.adopt):
            with pytest.raises(nsbox.SpecError, match=r"^box: "):
                lesson(box)
    with nsbox.Box("p") as box, pytest.raises(nsbox.SpecError, match=r"^box: its pid_max is "):
        lessons.exhaust_pids(box)


def test_shared_memory(who: Who) -> None:
    """POSIX shared memory is in no IPC namespace; a mount separates it, and is undone after the lesson."""

    def lesson() -> list[lessons.SharedMemory]:
        with nsbox.Box("mi") as box:
            mounted = len(box.mounts())
            told = [lessons.share_memory(box) for _ in range(2)]
            assert len(box.mounts()) == mounted
        with nsbox.Box("m") as plain:
            plain.mount_shm()
            return [*told, lessons.share_memory(plain)]

    before = set(os.listdir("/dev/shm"))
    first, second, covered = who(lesson)
    assert first == second == lessons.SharedMemory(new_ipc=True, before=True, after=False)
    assert covered == lessons.SharedMemory(new_ipc=False, before=False, after=False)
    assert "was visible in it" in str(first)
    # Tests that run at the same time have such files for a moment; one that was left behind would stay.
    assert wait_until(lambda: not {name for name in os.listdir("/dev/shm") if name.startswith("nsbox-")} - before)


def test_mount_shm(who: Who) -> None:
    """Everybody may write there, as into any /dev/shm, and nothing of it is outside."""

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
    """It would cover the caller's."""
    with nsbox.Box("p") as box:
        for how in (box.mount_shm, lambda: lessons.share_memory(box)):
            with pytest.raises(nsbox.SpecError, match="mount namespace"):
                how()
