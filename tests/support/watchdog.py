"""A plugin of pytest: a time limit for each test, which can fail the test, but can never end the run.

At the limit everything that the test has started is killed, so that a wait for it returns. If the test function
itself is running, an exception is raised in it as well. Fixtures and pytest are never interrupted by an exception.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.census import descendants

__all__ = ["pytest_collection_modifyitems", "pytest_configure", "pytest_pyfunc_call", "pytest_runtest_protocol"]

LIMIT = 300
"""Seconds after which a test counts as hanging. It is generous, as only a faulty test takes as long."""

_AGAIN = 3
"""Seconds between attempts, for processes that are started, or waited for, only after the first one."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Watchdog:
    """The time limit of one test after another. It owns SIGALRM and the timer ITIMER_REAL of the test process."""

    def __init__(self) -> None:
        self._began = 0
        self._limit = 0
        self._interruptible = False

    @contextmanager
    def limit(self, seconds: int) -> Iterator[None]:
        """Kill what was started in the block when it takes longer than the limit."""
        self._began = _ticks_since_boot()
        self._limit = seconds
        before = signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the limit also raise an exception in this block. To be used around the test function alone.

        An exception that is raised an instant too late, in pluggy's code around this, is still part of the test's call:
        pytest reports it as the test's result.
        """
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def _late(self, *_: object) -> None:
        for pid in descendants():
            if _started(pid) >= self._began:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        if self._interruptible:
            # Not an Exception: a test that expects or suppresses errors must not catch it.
            pytest.fail(f"the test hangs: not done after {self._limit} s")


_watchdog = Watchdog()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "limit(seconds): how long a test may take before it counts as hanging")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that may take longest first, so that no worker waits for another at the end."""
    items.sort(key=_limit, reverse=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Limit the time of a test, with its fixtures."""
    with _watchdog.limit(_limit(item)):
        return (yield)


# This must be the innermost wrapper, directly around the test function.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pyfunc_call() -> Iterator[None]:
    """Let the limit raise in the test function."""
    with _watchdog.interruptible():
        return (yield)


def _limit(item: pytest.Item) -> int:
    marker = item.get_closest_marker("limit")
    return int(marker.args[0]) if marker else LIMIT


def _ticks_since_boot() -> int:
    return int(float(Path("/proc/uptime").read_text().split()[0]) * _TICKS)


def _started(pid: int) -> int:
    """Return when a process was started, in ticks since boot; -1 if it has ended (proc_pid_stat(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return int(stat.rpartition(")")[2].split()[19])
