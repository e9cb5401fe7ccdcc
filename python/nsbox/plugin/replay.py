"""What the process of a test inside has sent, done in pytest's process as if the test had run there.

Everything is data of an attacker, and is checked first. It has an effect on the report of its own test only; and it can
end the run as `pytest.exit` does, but not with the status for success.
"""

from __future__ import annotations

import contextlib
import copy
import io
import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from nsbox.plugin.channel import Channel, ReportError
from nsbox.plugin.exceptions import exception_from
from nsbox.plugin.inside import take_terminal
from nsbox.plugin.logs import capturing_handlers, record_from
from nsbox.plugin.recorded import Recorded
from nsbox.plugin.report import check, check_properties, report_from
from nsbox.plugin.state import State

__all__ = ["Replay", "prepared_report"]

_PREPARED = pytest.StashKey[dict[str, pytest.TestReport]]()
"""By phase, the reports that pytest is given in place of its own."""


class Replay:
    """The records of one test.

    Attributes:
        has_end: Whether the test has ended by itself.
        is_done: Whether its teardown has ended by itself.
        error: What it has raised.
        late: What has failed after its end.
    """

    def __init__(self, item: pytest.Item, channel: Channel, places: State, plugins: Recorded) -> None:
        """Do nothing yet."""
        self._item = item
        self._channel = channel
        self._places = places
        self._plugins = plugins
        self.has_end = self.is_done = False
        self.error: BaseException | None = None
        self.late: BaseException | None = None
        self._second: pytest.TestReport | None = None
        self._shown: list[tuple[BaseException, Any]] = []

    def run(self) -> None:
        """Do what was sent since the last call.

        Raises:
            ReportError: when a part of it is refused.
        """
        records = self._channel.read()
        for record in records:
            check(record)
        for name, *parts in records:
            getattr(self, f"_{name.replace(' ', '_')}")(*parts)

    # A function for each record

    def _property(self, name: str, value: object) -> None:
        check_properties([(name, value)])
        self._item.user_properties.append((name, value))

    def _properties(self, properties: list[Any]) -> None:
        check_properties(properties)
        self._item.user_properties[:] = map(tuple, properties)

    def _section(self, when: str, key: str, content: str) -> None:
        self._item.add_report_section(when, key, content)

    def _warning(self, data: Any, filename: str, lineno: int, line: str) -> None:
        error = exception_from(data)
        if isinstance(error, Warning):
            # The filters were applied inside. With the line, no file is read for it.
            warnings.showwarning(error, type(error), filename, lineno, None, line)
        else:
            raise ReportError("a warning has another class")

    def _log(self, number: int, data: dict[str, Any]) -> None:
        handler, record = self._handler(number), record_from(data)
        try:
            handler.emit(record)
        except Exception as error:
            raise ReportError(f"a log record has another form: {error!r:.200}") from None

    def _log_cleared(self, number: int) -> None:
        self._handler(number).clear()

    def _handler(self, number: int) -> Any:
        handlers = capturing_handlers()
        if not 0 <= number < len(handlers):
            raise ReportError("a log record has no handler")
        return handlers[number]

    def _xml_attribute(self, name: str, value: str) -> None:
        if (xml := self._junit()) is not None:
            # The value is escaped already.
            xml.node_reporter(self._item.nodeid).attrs[name] = value

    def _xml_property(self, name: str, value: str) -> None:
        if (xml := self._junit()) is not None:
            xml.global_properties.append((name, value))

    def _junit(self) -> Any:
        plugins = self._item.config.pluginmanager.get_plugins()
        return next((one for one in plugins if type(one).__name__ == "LogXML"), None)

    def _state(self, kind: str, key: object, content: object) -> None:
        self._places.change(kind, key, content)

    def _recorded(self, name: str, data: object) -> None:
        self._plugins.put(name, data)

    def _subtest(self, data: dict[str, Any], error: Any) -> None:
        item = self._item
        report = report_from(item, data, of_subtest=True)
        excinfo = None if error is None else _raised(exception_from(error))
        if excinfo is not None:
            self._show(excinfo.value, report.longrepr)
        call = _call_of(report, excinfo)
        _prepare(item, "call", report)
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        capture = item.config.pluginmanager.get_plugin("capturemanager")
        if hasattr(item, "_excinfo"):
            capture = None  # as for subtests of unittest
        elif report.failed:
            self._count_failed_subtest()
        with contextlib.nullcontext() if capture is None else capture.global_and_fixture_disabled():
            item.ihook.pytest_runtest_logreport(report=report)
        if excinfo is not None and not hasattr(report, "wasxfail") and not excinfo.errisinstance(pytest.skip.Exception):
            with without_debugger(item):
                item.ihook.pytest_exception_interact(node=item, call=call, report=report)

    def _count_failed_subtest(self) -> None:
        """Let pytest 9 know that the test has a subtest that failed; pytest-subtests does not count."""
        with contextlib.suppress(ImportError):
            from _pytest.subtests import failed_subtests_key  # noqa: PLC0415 - since pytest 9

            item: Any = self._item
            item.config.stash[failed_subtests_key][getattr(item, "id", item.nodeid)] += 1

    def _xfail(self, reason: str, counts: bool, expected: bool, strict: bool | None) -> None:
        options: dict[str, Any] = {"reason": reason, "raises": None if expected else ()}
        options |= {} if strict is None else {"strict": strict}
        self._item.add_marker(pytest.mark.xfail(counts, **options))

    def _output(self, stdout: str | None, stderr: str | None, replaces: bool) -> None:
        texts = stdout, stderr
        for stream, text in zip((sys.stdout, sys.stderr), texts, strict=True):
            if text is not None and "CaptureIO" in type(stream).__name__ and isinstance(stream, io.TextIOWrapper):
                if replaces:
                    # The test may have read what was captured before it.
                    stream.seek(0)
                    stream.truncate()
                # One that also writes to another stream has done that inside.
                io.TextIOWrapper.write(stream, text)

    def _dropped(self, number: int) -> None:
        text = (
            f"nsbox: {number} warnings, sections, log records and changes of fixtures of this test were left out, as "
            "there were too many"
        )
        warnings.warn(text, pytest.PytestWarning, stacklevel=1)

    def _debugged(self) -> None:
        # The debugger inside has taken the terminal.
        take_terminal()

    def _passed(self, start: float, stop: float, duration: float) -> None:
        if not all(map(math.isfinite, (start, stop, duration))):
            raise ReportError("its time is no number")
        self.has_end = True
        item = self._item
        report = pytest.TestReport(
            item.nodeid, item.location, {}, "passed", None, "call", start=start, stop=stop, duration=duration
        )
        _prepare(item, "call", report)

    def _end(self, data: dict[str, Any], error: Any, collected: list[Any]) -> None:
        self.has_end = True
        report = _prepare(self._item, "call", report_from(self._item, data))
        self.error = None if error is None else _harmless(exception_from(error))
        if self.error is not None:
            self._show(self.error, report.longrepr)
        if collected:  # by unittest
            self._item._excinfo = [_raised(exception_from(one)) for one in collected]  # type: ignore[attr-defined]
            excinfos = self._item._excinfo  # type: ignore[attr-defined]
            self._show(excinfos[0].value, report.longrepr)
            if len(excinfos) > 1 and self._second is not None:
                _prepare(self._item, "teardown", self._second)
                self._item.stash[_LATE] = excinfos[1].value

    def _verdict(self, data: dict[str, Any], error: Any) -> None:
        self.has_end = True
        report = _prepare(self._item, "call", report_from(self._item, data))
        judged = None if error is None else _harmless(exception_from(error))
        self._item.stash[_JUDGED] = judged
        if judged is not None:
            self._show(judged, report.longrepr)

    def _next(self, data: dict[str, Any]) -> None:
        self._second = report_from(self._item, data)

    def _late(self, data: dict[str, Any], error: Any) -> None:
        self.late = _harmless(exception_from(error))
        report = _prepare(self._item, "teardown", report_from(self._item, data))
        self._show(self.late, report.longrepr)
        self._item.stash[_LATE] = self.late

    def _done(self) -> None:
        self.is_done = True

    def _show(self, error: BaseException, longrepr: Any) -> None:
        """Let hooks that ask the test for a text get that which was made inside, with its source and its values."""
        self._shown.append((error, longrepr))
        if len(self._shown) > 1:
            return
        item, shown, original = self._item, self._shown, self._item.repr_failure

        def repr_failure(excinfo: Any, *args: Any, **named: Any) -> Any:
            for one, text in reversed(shown):
                if excinfo.value is one:
                    return text
            return original(excinfo, *args, **named)

        item.repr_failure = repr_failure  # type: ignore[method-assign]


_LATE = pytest.StashKey[BaseException]()
_JUDGED = pytest.StashKey[BaseException | None]()
"""The exception of the report that a plugin has made for a test that has raised nothing."""


def _prepare(item: pytest.Item, when: str, report: pytest.TestReport) -> pytest.TestReport:
    item.stash.setdefault(_PREPARED, {})[when] = report
    return report


def prepared_report(item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport | None:
    """Return the report of a phase that was sent, and forget it; None for one that pytest has to make."""
    kept = item.stash.get(_PREPARED, {}).pop(call.when, None)
    if kept is None:
        return None
    if call.when == "teardown" and (call.excinfo is None or call.excinfo.value is not item.stash.get(_LATE, None)):
        return None  # something else has failed as well
    if type(kept) is pytest.TestReport:
        if call.when == "call" and call.excinfo is None and _JUDGED in item.stash:
            judged = item.stash[_JUDGED]
            call.excinfo = None if judged is None else _raised(judged)
        elif call.when == "call" and (kept.passed != (call.excinfo is None)):
            return None  # a hook has failed in pytest's process
        without = copy.copy(call)
        without.excinfo = None
        own = pytest.TestReport.from_item_and_call(item, without)
        kept.sections, kept.user_properties, kept.keywords = own.sections, own.user_properties, own.keywords
        kept.when = own.when
    return kept


@contextlib.contextmanager
def without_debugger(item: pytest.Item) -> Any:
    """Let ``--pdb`` open no debugger, as it was open inside."""
    manager = item.config.pluginmanager
    debugger = manager.unregister(name="pdbinvoke") if manager.has_plugin("pdbinvoke") else None
    try:
        yield
    finally:
        if debugger is not None:
            manager.register(debugger, "pdbinvoke")


def _harmless(error: BaseException) -> BaseException:
    """Return an exception that cannot end the run with the status for success."""
    if isinstance(error, pytest.exit.Exception):
        code = vars(error).get("returncode")
        vars(error).update(msg=str(vars(error).get("msg", "")), returncode=code if type(code) is int and code else None)
    return error


def _raised(error: BaseException) -> pytest.ExceptionInfo[BaseException]:
    call = pytest.CallInfo.from_call(_raiser(error), when="call")
    assert call.excinfo is not None
    return call.excinfo


def _raiser(error: BaseException) -> Callable[[], None]:
    def raises() -> None:
        __tracebackhide__ = True
        raise error

    return raises


def _call_of(report: pytest.TestReport, excinfo: Any) -> pytest.CallInfo[None]:
    call: pytest.CallInfo[None] = pytest.CallInfo.from_call(lambda: None, when="call")
    call.excinfo = excinfo
    call.start, call.stop, call.duration = report.start, report.stop, report.duration
    return call
