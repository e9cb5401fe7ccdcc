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
    """Write down in the test's reports what it has left behind."""
    item.user_properties.extend((LEAKED, describe(process)) for process in leaked)


def complaint(leaked: Collection[Process]) -> str:
    """Say it as the reason of a failure."""
    lines = "".join(f"\n    {describe(process)}" for process in leaked)
    return f"the test left {len(leaked)} process{'es' * (len(leaked) > 1)} behind, ended now:{lines}"


class Watch:
    """What ``--fail-on-leak`` adds: a look at what every test leaves below pytest itself.

    Only what was started during the test proper and is there after its teardown counts: a fixture of a wider scope may
    keep what it starts.
    """

    def pytest_sessionstart(self) -> None:
        """Let daemons become children of pytest, where they are found."""
        with contextlib.suppress(OSError):  # a seccomp filter may refuse it; then daemons are not found
            prctl(PR_SET_CHILD_SUBREAPER, 1)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Remember what is new after the test."""
        before = {process.identity for process in leftovers([os.getpid()], patience=0)}
        try:
            return (yield)
        finally:
            after = {process.identity for process in leftovers([os.getpid()], is_helper, patience=0)}
            item.stash[_STARTED] = after - before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        """Fail when some of it is still there."""
        yield
        started = item.stash.get(_STARTED, set())
        leaked = started and leftovers([os.getpid()], lambda process: process.identity not in started)
        if leaked:
            note(item, leaked)
            pytest.fail(complaint(leaked).replace(", ended now", ""), pytrace=False)
