"""The lessons of PID namespaces, and that what they tell is what the kernel did."""

from __future__ import annotations

import errno
import signal

import nsbox
import pytest
from nsbox import lessons

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
    assert "still there" in str(told)


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
