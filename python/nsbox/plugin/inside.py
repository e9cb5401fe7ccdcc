"""What the process of a marked test does inside: it calls the test, and sends what pytest would see of it.

pytest's hooks for the call of a test run in pytest's process, once. Here are only those that a test calls: for its
fixtures, for calling its function, and for subtests, whose reports are sent instead of being shown.
"""

from __future__ import annotations

import atexit
import bdb
import contextlib
import copy
import functools
import gc
import linecache
import logging
import os
import signal
import sys
import traceback
import types
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from nsbox.plugin.channel import Channel
from nsbox.plugin.connections import Descriptors, disconnect
from nsbox.plugin.exceptions import exception_to
from nsbox.plugin.logs import capturing_handlers, record_to
from nsbox.plugin.measured import save_coverage
from nsbox.plugin.recorded import Recorded
from nsbox.plugin.report import plain
from nsbox.plugin.state import State
from nsbox.plugin.verdicts import Verdicts

__all__ = ["Inside", "Pause", "take_terminal"]

_DIVERTED = ("pytest_runtest_makereport", "pytest_runtest_logreport", "pytest_exception_interact")
_HOOKS = "nsbox-inside"
"""The name of the plugin with the hooks that are called inside."""
_KEPT_PLUGINS = ("unittest", "runner", "session", "pdbinvoke")
"""Plugins of pytest whose hooks of these names are called here too: they make reports, count failures, and debug."""
_MAX_OUTPUT = 1 << 23
"""The characters of each standard stream that are sent where pytest captures in memory."""


class Pause:
    """Lets pytest's process know that a test waits for its teardown, and the test that the teardown begins.

    These are no connections (eventfd(2)): nothing else can be sent by them.

    Attributes:
        waits: Can be read when the test waits.
    """

    def __init__(self) -> None:
        """Make it, before the fork."""
        self.waits = os.eventfd(0)
        self._go_on = os.eventfd(0)

    def wait_inside(self) -> None:
        """Wait for the teardown; do not wait if the test has closed the descriptors."""
        with contextlib.suppress(OSError):
            os.eventfd_write(self.waits, 1)
            os.eventfd_read(self._go_on)

    def go_on(self) -> None:
        """Let the teardown begin."""
        os.eventfd_write(self._go_on, 1)

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.waits)
        os.close(self._go_on)


class Inside:
    """The state of the process; a process has at most one.

    Attributes:
        current: That of this process, None in pytest's process.
    """

    current: Inside | None = None

    @staticmethod
    def prepare(config: pytest.Config) -> None:
        """Register in pytest's process, before the fork, the hooks that are called inside."""
        if not config.pluginmanager.has_plugin(_HOOKS):
            config.pluginmanager.register(_Hooks(), _HOOKS)

    def __init__(
        self,
        item: pytest.Item,
        runtest: Callable[[], object],
        channel: Channel,
        ended: Descriptors,
        nothing: int,
        pause: Pause,
        state: State,
        recorded: Recorded,
    ) -> None:
        """Keep what the process needs, in pytest's process, before the fork: a page that a process writes to is copied.

        Args:
            item: The test.
            runtest: What calls it.
            channel: Where its records are sent.
            ended: Connections of pytest that this process must not have.
            nothing: An empty file in their place.
            pause: The end of the call and the begin of the teardown.
            state: What the test can change for its teardown.
            recorded: What it can record with plugins.
        """
        self.item = item
        self._runtest = runtest
        self._channel = channel
        self._ended = ended
        self._nothing = nothing
        self._pause = pause
        self._state = state
        self._recorded = recorded
        self._subtest: BaseException | None = None
        self._made_fixtures: set[int] = set()
        self._markers = list(map(id, item.own_markers))
        self._properties = list(item.user_properties)
        self._streams = sys.stdout, sys.stderr
        self._verdicts = Verdicts(item)
        state.keep()
        self._handlers = capturing_handlers()
        self._xml = [one for one in item.config.pluginmanager.get_plugins() if type(one).__name__ == "LogXML"]
        kept = {*_KEPT_PLUGINS, _HOOKS}
        implementations = [getattr(item.config.hook, name)._hookimpls for name in _DIVERTED]
        self._diverted = [(each, [one for one in each if one.plugin_name in kept]) for each in implementations]

    def run(self) -> None:
        """Call the test, and send everything."""
        type(self).current = self
        self._channel.own()
        disconnect(self._ended, self._nothing)
        # Handlers of pytest's process are for its own end.
        atexit._clear()
        self._send_as_it_happens()
        for implementations, kept in self._diverted:
            implementations[:] = kept
        self._forget_finalizers()
        call = pytest.CallInfo.from_call(self._call, when="call")
        if not self._channel.is_own:
            _end_copy(call.excinfo)
        self._send_end(call)
        if any(finalizers for finalizers, _ in self._setup_state().stack.values()):
            sys.stdout.flush()
            sys.stderr.flush()
            self._pause.wait_inside()
        self._tear_down()
        save_coverage()
        # Also those that capsys has replaced: what was printed past it may be in their buffers.
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()

    # Before the call

    def _send_as_it_happens(self) -> None:
        """Send properties, sections, warnings and log records when they are made: the test may end at any time."""
        item = self.item
        self._recorded.keep(self._channel.send)
        item.user_properties = _Sent(item.user_properties, self._send_property)
        item.add_report_section = self._add_section  # type: ignore[method-assign]
        warnings.showwarning = self._show_warning(warnings.showwarning)
        for number, handler in enumerate(self._handlers):
            self._watch_handler(number, handler)
        for xml in self._xml:
            self._watch_junit(xml)

    def _send_property(self, pair: tuple[str, object]) -> None:
        name, value = pair
        self._properties.append((str(name), value))
        self._channel.send("property", *plain((str(name), value)))

    def _add_section(self, when: str, key: str, content: str) -> None:
        if content:
            self._channel.send("section", *plain((when, key, content)), droppable=True)

    def _show_warning(self, show: Any) -> Any:
        """Return what also sends warnings, unless they are shown by a function of the test suite."""

        def showwarning(message: Any, category: Any, filename: str, lineno: int, *more: Any, **named: Any) -> None:
            if show is getattr(warnings, "_showwarning_orig", show) and _are_warnings_recorded():
                error = message if isinstance(message, Warning) else category(message)
                place = plain((str(filename), lineno, linecache.getline(filename, lineno)))
                self._channel.send("warning", exception_to(error), *place, droppable=True)
            show(message, category, filename, lineno, *more, **named)

        return showwarning

    def _watch_handler(self, number: int, handler: Any) -> None:
        emit, send = handler.emit, self._channel.send

        def emit_and_send(record: logging.LogRecord) -> None:
            emit(record)
            send("log", number, record_to(record), droppable=True)

        def cleared(name: str) -> Callable[[], None]:
            original = getattr(handler, name)

            def clear() -> None:
                original()
                send("log cleared", number, droppable=True)

            return clear

        handler.emit = emit_and_send
        for name in ("clear", "reset"):
            if hasattr(handler, name):  # pytest 7.0 has no clear
                setattr(handler, name, cleared(name))

    def _watch_junit(self, xml: Any) -> None:
        """Send attributes and properties for JUnit's XML (record_xml_attribute, record_testsuite_property)."""
        send = self._channel.send
        xml.global_properties = _Sent(xml.global_properties, lambda pair: send("xml property", *map(str, pair)))
        reporter = xml.node_reporter(self.item.nodeid)
        reporter.attrs = _SentDict(reporter.attrs, lambda name, value: send("xml attribute", str(name), str(value)))

    def _forget_finalizers(self) -> None:
        """Leave the teardown of everything that pytest's process has set up to that process."""
        for finalizers, _ in self._setup_state().stack.values():
            finalizers.clear()
        add, item, made = pytest.FixtureDef.addfinalizer, self.item, self._made_fixtures

        def addfinalizer(definition: Any, finalizer: Callable[[], object]) -> None:
            # A fixture of pytest's process is torn down there, and what the test adds to it with the test.
            is_theirs = definition.cached_result is not None and id(definition) not in made
            (item.addfinalizer if is_theirs else functools.partial(add, definition))(finalizer)

        setattr(pytest.FixtureDef, "addfinalizer", addfinalizer)  # noqa: B010 - mypy

    def _setup_state(self) -> Any:
        return self.item.session._setupstate

    # The call

    def _call(self) -> None:
        __tracebackhide__ = True
        self._verdicts.call(self._runtest)
        if self._channel.is_own:
            self._collect_exceptions("pytest_runtest_call")

    def _collect_exceptions(self, hook: str) -> None:
        """Have pytest warn about exceptions in threads and in finalizers of objects."""
        for name in ("threadexception", "unraisableexception"):
            function = getattr(self.item.config.pluginmanager.get_plugin(name), hook, None)
            if function is not None:
                function(self.item)

    def _send_end(self, call: pytest.CallInfo[None]) -> None:
        item, send = self.item, self._channel.send
        raised = call.excinfo and call.excinfo.value
        # What unittest has collected: pytest reports the first one in the call, and the second one in the teardown.
        collected = list(getattr(item, "_excinfo", None) or ())
        report = self._report(call) if call.excinfo or collected or self._verdicts.can_judge else None
        is_judged = report is not None and self._verdicts.judge(call, report)
        if report is not None:
            self._debug(call, report)
        if _identities(item.user_properties) != _identities(self._properties):
            send("properties", [plain((str(name), value)) for name, value in item.user_properties])
        for marker in item.own_markers:
            if marker.name == "xfail" and id(marker) not in self._markers:
                self._send_xfail(marker, call.excinfo and call.excinfo.value)
        self._send_state()
        self._send_output(replaces=True)
        if report is not None and is_judged and raised is None:
            send("verdict", self._data_of(report), call.excinfo and exception_to(call.excinfo.value))
            return
        if report is None or call.excinfo is None:
            send("passed", call.start, call.stop, call.duration)
            return
        for excinfo in collected[1:2]:
            later = copy.copy(call)
            later.excinfo, later.when = excinfo, "teardown"
            send("next", self._data_of(pytest.TestReport.from_item_and_call(item, later)))
        errors = [exception_to(excinfo.value) for excinfo in collected]
        send("end", self._data_of(report), raised and exception_to(raised), errors)

    def _send_state(self) -> None:
        for change in self._state.changes():
            self._channel.send("state", *change, droppable=True)
        self._recorded.send(self._channel.send)

    def _send_output(self, *, replaces: bool) -> None:
        """Send, and forget, what pytest has captured in memory."""
        texts = list(map(_text_in_memory, self._streams))
        if texts != [None, None]:
            self._channel.send("output", *texts, replaces)

    def _report(self, call: pytest.CallInfo[None]) -> pytest.TestReport:
        """Return the report as pytest makes it, before plugins change it."""
        unittest = self.item.config.pluginmanager.get_plugin("unittest")
        if unittest is not None:
            unittest.pytest_runtest_makereport(self.item, call)
        return pytest.TestReport.from_item_and_call(self.item, call)

    def _data_of(self, report: pytest.TestReport) -> Any:
        # What a test can change of its report is sent by itself.
        report.sections, report.user_properties, report.keywords = [], [], {}
        return plain(self.item.config.hook.pytest_report_to_serializable(config=self.item.config, report=report))

    def _debug(self, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Open the debugger where pytest would do it."""
        debugger = self.item.config.pluginmanager.get_plugin("pdbinvoke")
        error = call.excinfo and call.excinfo.value
        if debugger is None or error is None or isinstance(error, (pytest.skip.Exception, bdb.BdbQuit)):
            return
        if isinstance(error, (pytest.exit.Exception, pytest.xfail.Exception)):
            return
        quit_by = pytest.CallInfo.from_call(
            lambda: debugger.pytest_exception_interact(node=self.item, call=call, report=report), when="call"
        )
        if quit_by.excinfo:
            self._send_quit(quit_by)

    def _send_quit(self, call: pytest.CallInfo[None]) -> NoReturn:
        assert call.excinfo is not None
        self._channel.send("end", self._data_of(self._report(call)), exception_to(call.excinfo.value), [])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _send_xfail(self, marker: pytest.Mark, error: BaseException | None) -> None:
        """Send what a marker means that the test has added: conditions and exceptions are compared here."""
        from _pytest.skipping import evaluate_condition  # noqa: PLC0415 - only if needed

        conditions = marker.args or ((marker.kwargs["condition"],) if "condition" in marker.kwargs else ())
        met, reason = not conditions, str(marker.kwargs.get("reason", ""))
        for condition in conditions:
            with contextlib.suppress(Exception):
                met, reason = evaluate_condition(self.item, marker, condition)
                if met:
                    break
        raises = marker.kwargs.get("raises")
        if raises is None or error is None:
            expected = True
        else:
            expected = raises.matches(error) if hasattr(raises, "matches") else isinstance(error, raises)
        strict = marker.kwargs.get("strict")
        self._channel.send(
            "xfail", plain(reason), bool(met), bool(expected), strict if strict is None else bool(strict)
        )

    # After the call

    def _tear_down(self) -> None:
        """Run the finalizers that the test has added, then the handlers for the end of a process (atexit)."""
        late = pytest.CallInfo.from_call(self._finalize, when="teardown")
        if late.excinfo:
            report = pytest.TestReport.from_item_and_call(self.item, late)
            self._channel.send("late", self._data_of(report), exception_to(late.excinfo.value))
        self._send_state()
        self._send_output(replaces=False)
        if self._channel.dropped:
            self._channel.send("dropped", self._channel.dropped)
        self._channel.send("done")
        atexit._run_exitfuncs()

    def _finalize(self) -> None:
        # A group has no other frame than this one and those of pytest.
        __tracebackhide__ = _is_no_group
        if getattr(self.item, "_explicit_tearDown", None):
            self.item.addfinalizer(self.item._explicit_tearDown)  # type: ignore[attr-defined]
        self._setup_state().teardown_exact(None)
        # What was there before the fork is frozen, so this looks at the objects of the test only.
        # A collection of the last generation also frees memory that Python keeps for new objects, all over its pages.
        gc.collect(2 if gc.get_objects(2) else 1)
        self._collect_exceptions("pytest_runtest_teardown")

    def send_subtest(self, report: pytest.TestReport) -> None:
        """Send the report of a subtest."""
        config = self.item.config
        data = plain(config.hook.pytest_report_to_serializable(config=config, report=report))
        self._channel.send("subtest", data, self._subtest and exception_to(self._subtest))

    def note_debugger(self) -> None:
        """Let pytest's process take the terminal back at the end."""
        self._channel.send("debugged")

    def keep_fixture(self, definition: object) -> None:
        """Note that a fixture is set up, and so torn down, inside."""
        self._made_fixtures.add(id(definition))

    def keep_exception(self, error: BaseException | None) -> None:
        """Keep the exception of the subtest whose report is sent next."""
        self._subtest = error


class _Hooks:
    """The hooks that are called inside. They are registered once, in pytest's process, and do nothing there."""

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send the report of a subtest, in place of showing it."""
        if Inside.current is not None:
            Inside.current.send_subtest(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Any:
        """Keep the exception of the subtest."""
        report = yield
        if Inside.current is not None:
            Inside.current.keep_exception(call.excinfo and call.excinfo.value)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Keep the fixtures that the test requests by itself."""
        if Inside.current is not None:
            Inside.current.keep_fixture(fixturedef)

    def pytest_enter_pdb(self, config: pytest.Config) -> None:
        """Print in which process this debugger is."""
        if Inside.current is None:
            return
        take_terminal()
        Inside.current.note_debugger()
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(
                f"nsbox: this is process {os.getpid()} inside the test's namespaces, a copy of pytest's process. "
                "Later tests do not see changes that are made here. Timeouts continue to run."
            )


class _Sent(list[Any]):
    """A list that calls a function for what is appended."""

    def __init__(self, content: list[Any], send: Callable[[Any], object]) -> None:
        super().__init__(content)
        self._send = send

    def append(self, value: Any) -> None:
        super().append(value)
        with contextlib.suppress(Exception):  # no pair
            self._send(value)

    def extend(self, values: Any) -> None:
        for value in values:
            self.append(value)

    def __iadd__(self, values: Any) -> _Sent:  # type: ignore[misc]
        self.extend(values)
        return self


class _SentDict(dict[Any, Any]):
    """A dictionary that calls a function for what is set."""

    def __init__(self, content: dict[Any, Any], send: Callable[[Any, Any], object]) -> None:
        super().__init__(content)
        self._send = send

    def __setitem__(self, name: Any, value: Any) -> None:
        super().__setitem__(name, value)
        self._send(name, value)


def take_terminal() -> None:
    """Let the process group of this process read the terminal, if there is one (tcsetpgrp(3))."""
    with contextlib.suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            if os.tcgetpgrp(terminal) != os.getpgrp():
                os.tcsetpgrp(terminal, os.getpgrp())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(terminal)


def _are_warnings_recorded() -> bool:
    """Return whether pytest records warnings; otherwise they are printed, which the process inside does itself."""
    show = getattr(warnings, "_showwarnmsg_impl", None)
    in_context = getattr(sys.flags, "context_aware_warnings", False)  # since Python 3.14
    return bool(in_context) or not isinstance(show, types.FunctionType)


def _identities(properties: list[tuple[str, object]]) -> list[tuple[str, int]]:
    return [(str(name), id(value)) for name, value in properties]


def _text_in_memory(stream: Any) -> str | None:
    """Take what pytest has captured in memory; return None if it captures in a file that both processes write to."""
    if "CaptureIO" not in type(stream).__name__:
        return None
    try:
        text = plain(stream.getvalue())
        stream.seek(0)
        stream.truncate()
    except ValueError:
        return None  # the test has closed it
    return text if len(text) <= _MAX_OUTPUT else f"{text[:_MAX_OUTPUT]}\n[{len(text) - _MAX_OUTPUT} characters more]\n"


def _is_no_group(excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
    return not isinstance(excinfo.value, BaseExceptionGroup)


def _end_copy(excinfo: Any) -> NoReturn:
    """End a process that the test has forked, and that has returned from it. It has no part in the report."""
    status = 0
    try:
        if excinfo is not None:
            status = 1
            if isinstance(excinfo.value, SystemExit):
                status = excinfo.value.code if isinstance(excinfo.value.code, int) else int(bool(excinfo.value.code))
            else:
                traceback.print_exception(excinfo.value)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 0xFF)
