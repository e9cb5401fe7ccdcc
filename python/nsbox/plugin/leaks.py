"""Processes that tests leave behind: for `nsbox.pytest_plugin`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Generator, Iterable

import pytest

from nsbox import _core
from nsbox.box.workers import belongs_to_worker
from nsbox.records.names import safe
from nsbox.records.processes import Process
from nsbox.seeing.leftovers import MAX_LINES, described, leftovers
from nsbox.start.stdlib_hooks import multiprocessing_helpers

__all__ = ["LEAKED", "Watch", "complaint", "note", "shown"]

LEAKED = "nsbox_leaked"
"""The name of the property (record_property) by which a report names processes that a test left behind."""

_STARTED = pytest.StashKey[set[tuple[int, int]]]()


def note(item: pytest.Item, leaked: Collection[Process]) -> None:
    """Record in the test's reports which processes it has left behind."""
    item.user_properties.extend((LEAKED, line) for line in described(leaked))


def complaint(leaked: Collection[Process]) -> str:
    """Return the reason of a failure because of left processes."""
    lines = "".join(f"\n    {line}" for line in described(leaked))
    return f"the test left {len(leaked)} process{'es' * (len(leaked) > 1)} behind, ended now:{lines}"


def shown(properties: Iterable[tuple[str, object]]) -> list[str]:
    """Return the lines for left processes in a test's reports. The process of a marked test can forge properties."""
    found = list(dict.fromkeys(safe(str(value)) for name, value in properties if name == LEAKED))
    more = len(found) - MAX_LINES - 1
    return [*found[: MAX_LINES + 1], *([f"and {more} more lines"] if more > 0 else [])]


class Watch:
    """The hooks of ``--fail-on-leak``, which look for processes that a test leaves below pytest itself.

    Only processes count that were started during the call of the test and are alive after its teardown: a fixture of a
    wider scope may keep processes.
    """

    def pytest_sessionstart(self) -> None:
        """Make pytest a subreaper (prctl(2)): daemons become its children, and are found."""
        with contextlib.suppress(OSError):  # a seccomp filter may refuse it; then daemons are not found
            _core.set_child_subreaper(True)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Keep which processes are new after the test."""
        before = {process.identity for process in leftovers([os.getpid()], timeout=0)}
        try:
            return (yield)
        finally:
            after = {process.identity for process in leftovers([os.getpid()], _is_machinery, timeout=0)}
            item.stash[_STARTED] = after - before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        """Fail when some of them are still alive."""
        yield
        started = item.stash.get(_STARTED, set())
        leaked = started and leftovers(
            [os.getpid()], lambda process: process.identity not in started or _is_machinery(process)
        )
        if leaked:
            note(item, leaked)
            pytest.fail(complaint(leaked).replace(", ended now", ""), pytrace=False)


def _is_machinery(process: Process) -> bool:
    """Return whether a process belongs to multiprocessing or to nsbox in this process.

    They say so themselves: they know which processes they have started. The name of a process is no reason.
    """
    if belongs_to_worker(process):
        return True
    return process.ppid == os.getpid() and process.pid in multiprocessing_helpers()
