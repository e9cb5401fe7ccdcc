"""Tests that run in namespaces of their own: for `nsbox.pytest_plugin`.

Fixtures are set up and torn down where they always are; only the call of the test happens in a forked child inside a
box. The child goes through the hooks of the call as pytest does, captures what is printed, makes the report, and sends
it here, where it takes the place of the report that pytest would make.
"""

from __future__ import annotations

import bdb
import contextlib
import functools
import os
import pickle
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from nsbox import Box, SpecError
from nsbox.plugin import leaks
from nsbox.seeing.leftovers import leftovers
from nsbox.tasks.within import Within

__all__ = ["replaced", "report_of"]

_REPORT = pytest.StashKey[pytest.TestReport]()
_OURS = re.compile(r"^  File .*/_pytest/python\.py(.*\n)*?(?=\n|Thread|Current|\Z)", re.MULTILINE)
"""The frames that are pytest's, and below them those of this module."""
_FOR_PROGRAMS = ("keep_caps", "no_new_privs")


class FailedInside(bdb.BdbQuit):
    """The test has failed, as its report says. For this exception pytest opens no debugger: the child has done that."""


class _Child:
    """What the child knows; there is one in a process at most."""

    item: pytest.Item | None = None
    fixtures: list[tuple[pytest.FixtureDef[Any], Any]]


_child = _Child()


@contextlib.contextmanager
def replaced(item: pytest.Item, marker: pytest.Mark) -> Iterator[None]:
    """Let the test run inside, as long as this lasts."""
    if _child.item is not None:
        yield
        return
    item.runtest = functools.partial(_run, item, marker)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del item.runtest


def report_of(item: pytest.Item) -> pytest.TestReport | None:
    """Return the report that the child has sent, once."""
    report = item.stash.get(_REPORT, None)
    if report is not None:
        del item.stash[_REPORT]
    return report


def _run(item: pytest.Item, marker: pytest.Mark) -> None:
    __tracebackhide__ = True
    for option in _FOR_PROGRAMS:
        if option in marker.kwargs:
            raise SpecError(f"{option}: is for programs that are executed; a test is not")
    within = None
    try:
        with contextlib.ExitStack() as stack:
            box = stack.enter_context(Box(marker.args or "mip", **marker.kwargs))
            fd = os.memfd_create("nsbox-report")
            stack.callback(os.close, fd)
            within = stack.enter_context(Within(box, lambda: _report_to(fd, item)))
            status = within.wait()
            leaked = leftovers([box.pid, within.keeper])
            data = os.pread(fd, os.fstat(fd).st_size, 0)
    except BaseException:
        # A time limit, or Ctrl-C.
        if within is not None:
            item.add_report_section("call", "stack of the test", _OURS.sub("", within.stack))
        raise
    leaks.note(item, leaked)
    if not data:
        end = f"signal {-status}" if status < 0 else f"exit status {status}"
        pytest.fail(f"the process of the test ended with {end}, and without a report", pytrace=False)
    _accept(item, pickle.loads(data), leaked)


def _accept(item: pytest.Item, said: dict[str, Any], leaked: list[Any]) -> None:
    __tracebackhide__ = True
    for message, category, filename, lineno in said["warnings"]:
        warnings.warn_explicit(message, category, filename, lineno)
    if "exit" in said:
        pytest.exit(*said["exit"])
    if "interrupt" in said:
        raise KeyboardInterrupt
    report: pytest.TestReport = item.config.hook.pytest_report_from_serializable(
        config=item.config, data=said["report"]
    )
    # What later reports of this test show and the plugins for JUnit and the like read is kept with the test.
    for name, content in report.sections:
        if found := re.fullmatch(r"Captured (.*) call", name):
            item.add_report_section("call", found[1], content)
    noted = [value for value in item.user_properties if value not in report.user_properties]
    report.user_properties.extend(noted)
    item.user_properties[:] = report.user_properties
    if leaked and report.passed and not hasattr(report, "wasxfail") and item.config.getoption("fail_on_leak"):
        report.outcome = "failed"
        report.longrepr = leaks.complaint(leaked)
    item.stash[_REPORT] = report
    if said["raised"]:
        raise FailedInside


# In the child


def _report_to(fd: int, item: pytest.Item) -> None:
    """Run the test, and write the report."""
    said: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as caught:
        try:
            said["report"], said["raised"] = _call(item)
        except pytest.exit.Exception as error:
            said["exit"] = error.msg, error.returncode
        except KeyboardInterrupt:
            said["interrupt"] = True
    said["warnings"] = [_plain(message) for message in caught]
    data = memoryview(_pickled(said))
    while data:
        data = data[os.write(fd, data) :]
    sys.stdout.flush()
    sys.stderr.flush()


def _call(item: pytest.Item) -> tuple[dict[str, Any], bool]:
    del item.runtest
    _child.item, _child.fixtures = item, []
    item.config.pluginmanager.register(_InChild())
    original = item.runtest
    item.runtest = functools.partial(_run_and_finish, original)  # type: ignore[method-assign]
    debugged = item.config.getoption("usepdb", False)
    reraise = (pytest.exit.Exception,) if debugged else (pytest.exit.Exception, KeyboardInterrupt)
    call = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), when="call", reraise=reraise)
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    if (
        call.excinfo
        and not hasattr(report, "wasxfail")
        and not call.excinfo.errisinstance((pytest.skip.Exception, bdb.BdbQuit))
    ):
        item.ihook.pytest_exception_interact(node=item, call=call, report=report)
    data: dict[str, Any] = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
    return data, call.excinfo is not None


def _run_and_finish(runtest: Any) -> None:
    """Run the test, and tear down the fixtures that it has asked for by itself: pytest is told of them only here."""
    __tracebackhide__ = True
    with contextlib.ExitStack() as stack:
        try:
            runtest()
        finally:
            for definition, request in _child.fixtures:
                stack.callback(definition.finish, request)


class _InChild:
    """Hooks of the child."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
        """Remember what the test has asked for by itself."""
        _child.fixtures.append((fixturedef, request))

    def pytest_enter_pdb(self, config: pytest.Config) -> None:
        """Say where this debugger is."""
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(
                f"nsbox: this is process {os.getpid()} inside the test's namespaces, a copy of pytest's. "
                "What is changed here is not seen by later tests, and limits of time go on."
            )


def _plain(message: warnings.WarningMessage) -> tuple[Any, Any, str, int]:
    """Return a warning as what can be sent."""
    parts = (message.message, message.category, message.filename, message.lineno)
    try:
        pickle.loads(pickle.dumps(parts))
    except Exception:
        return str(message.message), UserWarning, message.filename, message.lineno
    return parts


def _pickled(said: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps(said)
    except Exception:
        # Properties can be anything.
        report = said["report"]
        report["user_properties"] = [(name, repr(value)) for name, value in report["user_properties"]]
        return pickle.dumps(said)
