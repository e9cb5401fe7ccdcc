"""Tests that run in namespaces of their own: for `nsbox.pytest_plugin`.

Fixtures are set up and torn down in pytest's process as always. Only the test function is called in a forked child
inside a box. The child calls the hooks of that phase as pytest does, captures the output, makes the report, and sends
it to pytest's process, which checks it (`nsbox.plugin.report`), and uses it in place of its own.
"""

from __future__ import annotations

import bdb
import contextlib
import functools
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from nsbox import Box, Process, SpecError
from nsbox.plugin import leaks
from nsbox.plugin.connections import Descriptors, connections, descriptors, disconnect
from nsbox.plugin.measured import save_coverage
from nsbox.plugin.report import ReportError, packed, read_report, report_from, warning_from, warning_to
from nsbox.seeing.leftovers import leftovers
from nsbox.tasks.within import Within

__all__ = ["replaced", "report_of"]

_REPORT = pytest.StashKey[pytest.TestReport]()
_PYTEST_FRAMES = re.compile(r"^  File .*/_pytest/python\.py(.*\n)*?(?=\n|Thread|Current|\Z)", re.MULTILINE)
"""The frames of pytest, and below them those of this module."""
_FOR_PROGRAMS = "is for programs, and has no effect on a test, which is not executed"
_NO_OPTIONS = {
    **dict.fromkeys(("no_new_privs", "drop_groups", "new_session"), _FOR_PROGRAMS),
    "trust": "is for results of functions; the report of a test is never unpickled",
}
"""Options that have no effect on a test, and why."""


class FailedInside(bdb.BdbQuit):
    """The test has failed in the child. For this exception pytest opens no debugger: the child has done that."""


class _Child:
    """The state of the child; a process has at most one."""

    item: pytest.Item | None = None
    fixtures: list[tuple[pytest.FixtureDef[Any], Any]]


_child = _Child()


@contextlib.contextmanager
def replaced(item: pytest.Item, marker: pytest.Mark, at_start: Descriptors) -> Iterator[None]:
    """Replace the test function by one that runs the test inside, during the ``with`` block.

    Args:
        item: The test.
        marker: Its marker.
        at_start: The descriptors that pytest had when it began.
    """
    if _child.item is not None:
        yield
        return
    item.runtest = functools.partial(_run, item, marker, at_start)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del item.runtest


def report_of(item: pytest.Item) -> pytest.TestReport | None:
    """Return the report that the child has sent, and forget it; None if there is none."""
    report = item.stash.get(_REPORT, None)
    if report is not None:
        del item.stash[_REPORT]
    return report


def _run(item: pytest.Item, marker: pytest.Mark, at_start: Descriptors) -> None:
    __tracebackhide__ = True
    for option, reason in _NO_OPTIONS.items():
        if option in marker.kwargs:
            raise SpecError(f"{option}: {reason}")
    fd = os.memfd_create("nsbox-report")
    try:
        status, leaked = _run_inside(item, marker, at_start, fd)
        with _refused_reports():
            result = read_report(fd)
    finally:
        os.close(fd)
    leaks.note(item, leaked)
    if not result:
        end = f"signal {-status}" if status < 0 else f"exit status {status}"
        pytest.fail(f"the process of the test ended with {end}, and without a report", pytrace=False)
    _accept(item, result, leaked)


def _run_inside(item: pytest.Item, marker: pytest.Mark, at_start: Descriptors, fd: int) -> tuple[int, list[Process]]:
    """Run the test in a child, which writes its report to a file; return its status, and the processes it has left."""
    __tracebackhide__ = True
    within = None
    before = descriptors()
    try:
        with Box(marker.args or "mip", **marker.kwargs) as box:
            # The box has a connection to its init, which does what it is asked for.
            of_box = {number: status for number, status in descriptors().items() if number not in before}
            ended = {**connections(at_start), **connections(of_box)}
            within = Within(box, lambda: _report_to(fd, item, ended))
            with within:
                status = within.wait()
                return status, leftovers([box.pid, within.keeper])
    except BaseException:
        # A timeout of the test, or Ctrl-C.
        if within is not None:
            item.add_report_section("call", "stack of the test", _PYTEST_FRAMES.sub("", within.stack))
        raise


@contextlib.contextmanager
def _refused_reports() -> Iterator[None]:
    """Have a report that is none fail the test."""
    __tracebackhide__ = True
    try:
        yield
    except ReportError as error:
        pytest.fail(f"the report of the test's process was refused: {error}", pytrace=False)


def _accept(item: pytest.Item, result: dict[str, Any], leaked: list[Any]) -> None:
    """Do in pytest's process what the child reports: warnings, an exit, an interrupt, or the report of the test."""
    __tracebackhide__ = True
    for parts in result.get("warnings", ()):
        warnings.warn_explicit(*warning_from(parts))
    if "exit" in result:
        message, returncode = result["exit"]
        # Whoever forges this can end the run, but not with success.
        pytest.exit(message or "", returncode or None)
    if "interrupt" in result:
        raise KeyboardInterrupt
    with _refused_reports():
        report = report_from(item, result.get("report", {}))
    # Later reports of this test show these sections, and plugins such as that for JUnit read them.
    for name, content in report.sections:
        if found := re.fullmatch(r"Captured (.*) call", name):
            item.add_report_section("call", found[1], content)
    properties = [value for value in item.user_properties if value not in report.user_properties]
    report.user_properties.extend(properties)
    item.user_properties[:] = report.user_properties
    if leaked and report.passed and not hasattr(report, "wasxfail") and item.config.getoption("fail_on_leak"):
        report.outcome = "failed"
        report.longrepr = leaks.complaint(leaked)
    item.stash[_REPORT] = report
    if result.get("raised"):
        raise FailedInside


# In the child


def _report_to(fd: int, item: pytest.Item, ended: Descriptors) -> None:
    """Run the test, and write the report."""
    disconnect(ended)
    result: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as caught:
        try:
            result["report"], result["raised"] = _call(item)
        except pytest.exit.Exception as error:
            result["exit"] = str(error.msg), None if error.returncode is None else int(error.returncode)
        except KeyboardInterrupt:
            result["interrupt"] = True
        save_coverage()
    result["warnings"] = list(map(warning_to, caught))
    data = memoryview(packed(result))
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
    """Run the test, and finish the fixtures that it has requested by itself, which pytest's process does not know."""
    __tracebackhide__ = True
    with contextlib.ExitStack() as stack:
        try:
            runtest()
        finally:
            for definition, request in _child.fixtures:
                stack.callback(definition.finish, request)


class _InChild:
    """The hooks of the child."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
        """Keep the fixtures that the test requests by itself."""
        _child.fixtures.append((fixturedef, request))

    def pytest_enter_pdb(self, config: pytest.Config) -> None:
        """Print in which process this debugger is."""
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(
                f"nsbox: this is process {os.getpid()} inside the test's namespaces, a copy of pytest's process. "
                "Later tests do not see changes that are made here. Timeouts continue to run."
            )
