"""Processes that tests leave behind: for `nsbox.pytest_plugin`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Generator

import pytest

from nsbox.records.processes import Process
from nsbox.seeing.leftovers import describe, is_helper, leftovers
from nsbox.tasks.prctl import PR_SET_CHILD_SUBREAPER, prctl

__all__ = ["LEAKED", "Watch", "complaint", "note"]

LEAKED = "nsbox_leaked"
"""The name of the property (record_property) by which a report names a process that a test left behind."""

_STARTED = pytest.StashKey[set[tuple[int, int]]]()


def note(item: pytest.Item, leaked: Collection[Process]) -> None:
    """Record in the test's reports which processes it has left behind."""
    item.user_properties.extend((LEAKED, describe(process)) for process in leaked)


def complaint(leaked: Collection[Process]) -> str:
    """Return the reason of a failure because of left processes."""
    lines = "".join(f"\n    {describe(process)}" for process in leaked)
    return f"the test left {len(leaked)} process{'es' * (len(leaked) > 1)} behind, ended now:{lines}"


class Watch:
    """The hooks of ``--fail-on-leak``, which look for processes that a test leaves below pytest itself.

    Only processes count that were started during the call of the test and are alive after its teardown: a fixture of a
    wider scope may keep processes.
    """

    def pytest_sessionstart(self) -> None:
        """Make pytest a subreaper (prctl(2)): daemons become its children, and are found."""
        with contextlib.suppress(OSError):  # a seccomp filter may refuse it; then daemons are not found
            prctl(PR_SET_CHILD_SUBREAPER, 1)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Keep which processes are new after the test."""
        before = {process.identity for process in leftovers([os.getpid()], timeout=0)}
        try:
            return (yield)
        finally:
            after = {process.identity for process in leftovers([os.getpid()], is_helper, timeout=0)}
            item.stash[_STARTED] = after - before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        """Fail when some of them are still alive."""
        yield
        started = item.stash.get(_STARTED, set())
        leaked = started and leftovers([os.getpid()], lambda process: process.identity not in started)
        if leaked:
            note(item, leaked)
            pytest.fail(complaint(leaked).replace(", ended now", ""), pytrace=False)
