"""Tests that run in namespaces of their own: for `nsbox.pytest_plugin`.

Fixtures are set up and torn down in pytest's process as always. Only the test function is called in a forked child
inside a box. The child calls the hooks of that phase as pytest does, captures the output, makes the report, and sends
it to pytest's process, which uses it in place of its own.
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
_PYTEST_FRAMES = re.compile(r"^  File .*/_pytest/python\.py(.*\n)*?(?=\n|Thread|Current|\Z)", re.MULTILINE)
"""The frames of pytest, and below them those of this module."""
_PROGRAM_OPTIONS = ("keep_caps", "no_new_privs", "drop_groups", "new_session")


class FailedInside(bdb.BdbQuit):
    """The test has failed in the child. For this exception pytest opens no debugger: the child has done that."""


class _Child:
    """The state of the child; a process has at most one."""

    item: pytest.Item | None = None
    fixtures: list[tuple[pytest.FixtureDef[Any], Any]]


_child = _Child()


@contextlib.contextmanager
def replaced(item: pytest.Item, marker: pytest.Mark) -> Iterator[None]:
    """Replace the test function by one that runs the test inside, during the ``with`` block."""
    if _child.item is not None:
        yield
        return
    item.runtest = functools.partial(_run, item, marker)  # type: ignore[method-assign]
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


def _run(item: pytest.Item, marker: pytest.Mark) -> None:
    __tracebackhide__ = True
    for option in _PROGRAM_OPTIONS:
        if option in marker.kwargs:
            raise SpecError(f"{option}: is for programs, and has no effect on a test, which is not executed")
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
        # A timeout of the test, or Ctrl-C.
        if within is not None:
            item.add_report_section("call", "stack of the test", _PYTEST_FRAMES.sub("", within.stack))
        raise
    leaks.note(item, leaked)
    if not data:
        end = f"signal {-status}" if status < 0 else f"exit status {status}"
        pytest.fail(f"the process of the test ended with {end}, and without a report", pytrace=False)
    _accept(item, pickle.loads(data), leaked)


def _accept(item: pytest.Item, result: dict[str, Any], leaked: list[Any]) -> None:
    """Do in pytest's process what the child reports: warnings, an exit, an interrupt, or the report of the test."""
    __tracebackhide__ = True
    for message, category, filename, lineno in result["warnings"]:
        warnings.warn_explicit(message, category, filename, lineno)
    if "exit" in result:
        pytest.exit(*result["exit"])
    if "interrupt" in result:
        raise KeyboardInterrupt
    report: pytest.TestReport = item.config.hook.pytest_report_from_serializable(
        config=item.config, data=result["report"]
    )
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
    if result["raised"]:
        raise FailedInside


# In the child


def _report_to(fd: int, item: pytest.Item) -> None:
    """Run the test, and write the report."""
    result: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as caught:
        try:
            result["report"], result["raised"] = _call(item)
        except pytest.exit.Exception as error:
            result["exit"] = error.msg, error.returncode
        except KeyboardInterrupt:
            result["interrupt"] = True
    result["warnings"] = [_plain(message) for message in caught]
    data = memoryview(_pickled(result))
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


def _plain(message: warnings.WarningMessage) -> tuple[Any, Any, str, int]:
    """Return a warning in a form that pickles."""
    parts = (message.message, message.category, message.filename, message.lineno)
    try:
        pickle.loads(pickle.dumps(parts))
    except Exception:
        return str(message.message), UserWarning, message.filename, message.lineno
    return parts


def _pickled(result: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps(result)
    except Exception:
        # Properties can be objects that do not pickle.
        report = result["report"]
        report["user_properties"] = [(name, repr(value)) for name, value in report["user_properties"]]
        return pickle.dumps(result)
