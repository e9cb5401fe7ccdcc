"""Tests that run in namespaces of their own: for `nsbox.pytest_plugin`.

Fixtures are set up and torn down in pytest's process as always, and so run all hooks of pytest. Only the test itself is
called in a forked child inside a box (`nsbox.plugin.inside`). What it reports is sent as records
(`nsbox.plugin.channel`), and done in pytest's process (`nsbox.plugin.replay`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nsbox import Box, Process, SpecError
from nsbox.plugin import leaks
from nsbox.plugin.channel import Channel, ReportError
from nsbox.plugin.connections import Descriptors, connections, descriptors
from nsbox.plugin.inside import Inside, Pause
from nsbox.plugin.recorded import Recorded
from nsbox.plugin.replay import Replay, without_debugger
from nsbox.plugin.state import State
from nsbox.seeing.leftovers import leftovers
from nsbox.spec.nearest import did_you_mean
from nsbox.spec.spec import Options
from nsbox.tasks.within import Within

__all__ = ["replaced"]

_PYTEST_FRAMES = re.compile(r"^  File .*/_pytest/python\.py(.*\n)*?(?=\n|Thread|Current|\Z)", re.MULTILINE)
"""The frames of pytest, and below them those of this module."""
_FOR_PROGRAMS = "is for programs, and has no effect on a test, which is not executed"
_NO_OPTIONS = {
    **dict.fromkeys(("no_new_privs", "drop_groups", "new_session"), _FOR_PROGRAMS),
    "trust": "is for results of functions; the report of a test is never unpickled",
}
"""Options that have no effect on a test, and why."""
_OPTIONS = {"cwd", "reap", "spec", "timeout", "user", *Options.__annotations__}


@contextlib.contextmanager
def replaced(item: pytest.Item, marker: pytest.Mark, at_start: Descriptors) -> Iterator[None]:
    """Replace the test function by one that runs the test inside, during the ``with`` block.

    Args:
        item: The test.
        marker: Its marker.
        at_start: The descriptors that pytest had when it began.
    """
    if Inside.current is not None:
        yield
        return
    test = _Test(item, marker, item.runtest, at_start)
    item.runtest = functools.partial(_run, test)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del item.runtest


def _run(test: _Test) -> None:
    __tracebackhide__ = True
    test.call()


class _Test:
    """A test and its child."""

    def __init__(
        self, item: pytest.Item, marker: pytest.Mark, runtest: Callable[[], object], at_start: Descriptors
    ) -> None:
        self._item = item
        self._marker = marker
        self._runtest = runtest
        self._at_start = at_start
        self._closing = contextlib.ExitStack()
        self._within: Within | None = None
        self._leaked: list[Process] = []

    def call(self) -> None:
        """Call the test inside, and do what it reports."""
        __tracebackhide__ = True
        options, ids = self._options()
        self._channel = Channel()
        self._state = State(self._item)
        self._recorded = Recorded(self._item)
        self._replay = Replay(self._item, self._channel, self._state, self._recorded)
        status: int | None = None
        with self._ending():
            self._start(options, ids)
            status = self._wait()
            if status is not None:
                self._end()
            self._replay_records()
        leaks.note(self._item, self._leaked)
        if status is None:
            self._item.addfinalizer(self.tear_down)
        else:
            self._channel.close()
        self._accept(status)

    def tear_down(self) -> None:
        """Let the child tear down what the test has set up."""
        __tracebackhide__ = True
        with self._ending():
            self._pause.go_on()
            status = self._wait(paused=True)
            self._end()
            self._replay_records()
        leaks.note(self._item, self._leaked)
        self._channel.close()
        self._finish(status)
        self._complain()

    def _options(self) -> tuple[dict[str, Any], tuple[int, int] | None]:
        """Return the options of the box, and the user and group of the test."""
        __tracebackhide__ = True
        options = dict(self._marker.kwargs)
        for name, reason in _NO_OPTIONS.items():
            if name in options:
                raise SpecError(f"{name}: {reason}")
        for name in options.keys() - _OPTIONS:
            hint = did_you_mean(name, _OPTIONS)
            pytest.fail(f"{self._item.nodeid}: the marker unshare has no option {name!r}{hint}", pytrace=False)
        timeout = options.pop("timeout", None)
        if timeout is not None and (type(timeout) not in (int, float) or not 0 < timeout < 1e9):
            raise SpecError(f"timeout: expected seconds, got {timeout!r}")
        self._timeout = timeout
        return options, _ids_of(options.pop("user", None))

    def _start(self, options: dict[str, Any], ids: tuple[int, int] | None) -> None:
        __tracebackhide__ = True
        before = descriptors()
        if "spec" in options and not self._marker.args:
            self._box = self._closing.enter_context(Box(**options))
        else:
            self._box = self._closing.enter_context(Box(self._marker.args or "mip", **options))
        # The box has a connection to its init, which does what it is asked for.
        of_box = {number: status for number, status in descriptors().items() if number not in before}
        ended = {**connections(self._at_start), **connections(of_box)}
        Inside.prepare(self._item.config)
        nothing = os.memfd_create("nsbox-nothing")
        self._closing.callback(os.close, nothing)
        pause = self._pause = Pause()
        self._closing.callback(pause.close)
        inside = Inside(self._item, self._runtest, self._channel, ended, nothing, pause, self._state, self._recorded)

        def run() -> None:
            try:
                inside.run()
            except BaseException:
                # It ends without a report. Its output is shown.
                traceback.print_exc()
                sys.stderr.flush()
                raise

        directory = self._box._directory if "cwd" in options else None
        self._within = Within(self._box, run, ids=ids, directory=directory)
        self._closing.enter_context(self._within)
        self._deadline = None if self._timeout is None else time.monotonic() + self._timeout

    def _wait(self, *, paused: bool = False) -> int | None:
        """Return the status of the child; None when it waits for its teardown."""
        __tracebackhide__ = True
        assert self._within is not None
        left = None if self._deadline is None else self._deadline - time.monotonic()
        with contextlib.suppress(TimeoutError):
            return self._within.wait_or_read(None if paused else self._pause.waits, left)
        pytest.fail(f"the test took longer than its timeout of {self._timeout:g} seconds", pytrace=False)

    def _end(self) -> None:
        """Look for processes that are left, and end them with the box."""
        self._leaked = self._leftovers()
        self._closing.close()

    def _leftovers(self) -> list[Process]:
        init = self._box.pid
        if self._within is not None and self._within.keeper:
            return leftovers([init, self._within.keeper])
        # All that is left in a PID namespace descends from its init. Most tests leave nothing.
        try:
            with open(f"/proc/{init}/task/{init}/children", "rb") as file:
                if not file.read():
                    return []
        except OSError:
            pass  # without that file (CONFIG_PROC_CHILDREN), or without a proc
        return leftovers([init])

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """After a timeout of the test, or Ctrl-C, show where the test was, and keep what it has reported."""
        __tracebackhide__ = True
        try:
            yield
        except BaseException:
            self._closing.close()
            if self._within is not None and self._within.stack:
                self._item.add_report_section("call", "stack of the test", _PYTEST_FRAMES.sub("", self._within.stack))
            with contextlib.suppress(ReportError):
                self._replay.run()
            self._channel.close()
            raise

    def _replay_records(self) -> None:
        """Have a report that is none fail the test."""
        __tracebackhide__ = True
        refusal = ""
        try:
            self._replay.run()
        except ReportError as error:
            refusal = str(error)
        if refusal:
            pytest.fail(f"the report of the test's process was refused: {refusal}", pytrace=False)

    def _accept(self, status: int | None) -> None:
        __tracebackhide__ = True
        replay = self._replay
        if not replay.has_end:
            pytest.fail(f"the process of the test ended with {_text_of(status)}, and without a report", pytrace=False)
        if status is not None and (replay.late is not None or not replay.is_done):
            # It failed after the call: pytest finds that in the teardown.
            self._item.addfinalizer(functools.partial(self._finish, status))
        if replay.error is not None:
            if self._item.config.getoption("usepdb", False):
                self._leave_debugger()
            raise replay.error
        self._complain()

    def _finish(self, status: int | None) -> None:
        """Raise what has failed in the teardown inside."""
        __tracebackhide__ = True
        if self._replay.late is not None:
            raise self._replay.late
        if not self._replay.is_done:
            pytest.fail(f"the process of the test ended with {_text_of(status)} in its teardown", pytrace=False)

    def _leave_debugger(self) -> None:
        """Open no debugger for the call in pytest's process."""
        stack = contextlib.ExitStack()
        stack.enter_context(without_debugger(self._item))
        self._item.addfinalizer(stack.close)

    def _complain(self) -> None:
        __tracebackhide__ = True
        if self._leaked and self._item.config.getoption("fail_on_leak"):
            pytest.fail(leaks.complaint(self._leaked), pytrace=False)


def _text_of(status: int | None) -> str:
    return f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"


def _ids_of(user: object) -> tuple[int, int] | None:
    """Return the numbers of a user and its group (passwd(5)); for a user without an entry the same number twice.

    Raises:
        SpecError: for no user.
    """
    __tracebackhide__ = True
    if user is None:
        return None
    try:
        if isinstance(user, str):
            entry = pwd.getpwnam(user)
            return entry.pw_uid, entry.pw_gid
        if type(user) is int and 0 <= user < 2**32 - 1:
            with contextlib.suppress(KeyError):
                return user, pwd.getpwuid(user).pw_gid
            return user, user
    except KeyError:
        pass
    raise SpecError(f"user: expected the name or the number of a user, got {user!r}")
