"""What a marked test records in the objects of plugins: those of Allure, pytest-benchmark and pytest-metadata.

These are in pytest's process. So the process of the test sends it as plain data, and here it is put into
the same objects: only attributes that are listed here, with checked types. None of these plugins is needed.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from nsbox.plugin.channel import ReportError
from nsbox.plugin.report import is_plain_number, plain
from nsbox.plugin.state import fixtures_of

__all__ = ["Recorded"]

_Send = Callable[..., None]


class Recorded:
    """The data of one test in the objects of plugins."""

    def __init__(self, item: pytest.Item) -> None:
        """Find the plugins, before the fork."""
        self._parts: dict[str, _Allure | _Benchmark | _Metadata] = {}
        for kind in (_Allure, _Benchmark, _Metadata):
            part = kind(item)
            if part.is_there:
                self._parts[kind.name] = part

    def keep(self, send: _Send) -> None:
        """In the child, before the test: let each part send what is recorded when it happens, if it can."""
        for name, part in self._parts.items():
            part.keep(_bound(send, name))

    def send(self, send: _Send) -> None:
        """In the child: send what was recorded."""
        for name, part in self._parts.items():
            part.send(_bound(send, name))

    def put(self, name: str, data: Any) -> None:
        """In pytest's process: put data that were sent where they belong.

        Raises:
            ReportError: when they have another form.
        """
        part = self._parts.get(name)
        if part is None or type(data) is not dict:
            raise ReportError("it has data for another plugin")
        part.put(data)


def _bound(send: _Send, name: str) -> Callable[[Any], None]:
    return lambda data: send("recorded", name, plain(data), droppable=True)


class _Metadata:
    """The dictionary of pytest-metadata, which is one for all tests: a test can only add to it."""

    name = "metadata"

    def __init__(self, item: pytest.Item) -> None:
        key = getattr(sys.modules.get("pytest_metadata.plugin"), "metadata_key", None)
        self._present = item.config.stash.get(key, None) if isinstance(key, pytest.StashKey) else None
        self.is_there = type(self._present) is dict
        self._before: dict[str, Any] = {}

    def keep(self, _: Callable[[Any], None]) -> None:
        self._before = dict(self._present or {})

    def send(self, send: Callable[[Any], None]) -> None:
        new = {name: value for name, value in (self._present or {}).items() if name not in self._before}
        if new:
            send(new)

    def put(self, data: dict[str, Any]) -> None:
        for name, value in data.items():
            if self._present is not None:
                self._present.setdefault(name, value)


class _Benchmark:
    """The fixture of pytest-benchmark."""

    name = "benchmark"

    def __init__(self, item: pytest.Item) -> None:
        self._fixture: Any = None
        if (kind := getattr(sys.modules.get("pytest_benchmark.fixture"), "BenchmarkFixture", None)) is not None:
            self._fixture = next((value for _, value in fixtures_of(item) if type(value) is kind), None)
        self.is_there = self._fixture is not None

    def keep(self, _: Callable[[Any], None]) -> None:
        pass

    def send(self, send: Callable[[Any], None]) -> None:
        fixture = self._fixture
        stats = fixture.stats
        send({
            "info": fixture.extra_info,
            "group": fixture.group,
            "has_error": bool(fixture.has_error),
            "skipped": bool(fixture.skipped),
            "iterations": stats and stats.iterations,
            "durations": list(map(float, stats.stats.data)) if stats else [],
        })  # fmt: skip

    def put(self, data: dict[str, Any]) -> None:
        fixture = self._fixture
        info, group, iterations = data.get("info"), data.get("group"), data.get("iterations")
        durations = data.get("durations")
        if (
            type(info) is not dict
            or type(durations) is not list
            or not all(type(one) is float and math.isfinite(one) for one in durations)
            or not (group is None or type(group) is str)
            or not (iterations is None or (type(iterations) is int and iterations > 0))
        ):
            raise ReportError("the data of its benchmark have another form")
        fixture.extra_info.clear()
        fixture.extra_info.update(info)
        fixture.group = group
        fixture.has_error, fixture.skipped = bool(data.get("has_error")), bool(data.get("skipped"))
        # It is sent again after the teardown inside.
        if iterations is not None and durations and fixture.stats is None:
            stats = fixture._make_stats(iterations)
            for duration in durations:
                stats.update(duration)


class _Allure:
    """The result of a test of allure-pytest: steps, attachments, labels, links, parameters and texts."""

    name = "allure"
    _OFTEN = 50
    """So many events are sent as they happen; after that, every so many events."""

    def __init__(self, item: pytest.Item) -> None:
        self._result: Any = None
        kind = getattr(sys.modules.get("allure_pytest.listener"), "AllureListener", None)
        for plugin in item.config.pluginmanager.get_plugins() if kind is not None else ():
            if type(plugin) is kind:
                self._result = plugin.allure_logger.get_test(plugin._cache.get(item.nodeid))
        self.is_there = self._result is not None
        self._events = 0

    def keep(self, send: Callable[[Any], None]) -> None:
        import allure_commons  # noqa: PLC0415 - only if it is used

        manager = allure_commons.plugin_manager
        for plugin in list(manager.get_plugins()):
            # It writes files, which the test may not be able to do.
            if type(plugin).__name__ == "AllureFileLogger":
                manager.unregister(plugin)
        manager.register(_sender(allure_commons.hookimpl, send, self._note))

    def _note(self, send: Callable[[Any], None]) -> None:
        self._events += 1
        if self._events < self._OFTEN or self._events % self._OFTEN == 0:
            self.send(send)

    def send(self, send: Callable[[Any], None]) -> None:
        send({"result": _data_of(self._result, "TestResult")})

    def put(self, data: dict[str, Any]) -> None:
        if "result" in data:
            _fill(self._result, data["result"], "TestResult")
            return
        file_name, body = data.get("file"), data.get("body")
        if type(file_name) is not str or not _ATTACHMENT.fullmatch(file_name) or type(body) is not str:
            raise ReportError("an attachment of Allure has another form")
        import allure_commons  # noqa: PLC0415

        allure_commons.plugin_manager.hook.report_attached_data(body=body.encode("latin-1"), file_name=file_name)


_ATTACHMENT = re.compile(r"[\w-]{1,80}-attachment\.[\w-]{1,40}")
"""The name of a file below the directory of the results: it has no other directory."""
_STEP = ("name", "status", "description", "descriptionHtml", "start", "stop")
_FIELDS: dict[str, tuple[tuple[str, ...], dict[str, str], dict[str, str]]] = {
    "TestResult": (
        ("name", "description", "descriptionHtml"),
        {
            "steps": "TestStepResult", "attachments": "Attachment", "parameters": "Parameter", "labels": "Label",
            "links": "Link",
        },
        {},
    ),
    "TestStepResult": (
        _STEP,
        {"steps": "TestStepResult", "attachments": "Attachment", "parameters": "Parameter"},
        {"statusDetails": "StatusDetails"},
    ),
    "Attachment": (("name", "source", "type"), {}, {}),
    "Parameter": (("name", "value", "excluded", "mode"), {}, {}),
    "Label": (("name", "value"), {}, {}),
    "Link": (("type", "url", "name"), {}, {}),
    "StatusDetails": (("known", "flaky", "message", "trace"), {}, {}),
}  # fmt: skip
"""Of the classes of allure_commons.model2: the simple attributes, lists of objects, and objects."""


def _data_of(value: Any, kind: str) -> dict[str, Any]:
    simple, lists, objects = _FIELDS[kind]
    data: dict[str, Any] = {name: getattr(value, name, None) for name in simple}
    data |= {name: [_data_of(one, of) for one in getattr(value, name, ())] for name, of in lists.items()}
    data |= {name: _data_of(one, of) for name, of in objects.items() if (one := getattr(value, name, None)) is not None}
    return data


def _fill(value: Any, data: Any, kind: str) -> None:
    simple, lists, objects = _FIELDS[kind]
    if type(data) is not dict:
        raise ReportError("the data of Allure have another form")
    for name in simple:
        one = data.get(name)
        if not (type(one) is str or is_plain_number(one)) or (kind == "Attachment" and not _is_attachment(data)):
            raise ReportError("the data of Allure have another form")
        setattr(value, name, one)
    for name, of in lists.items():
        some = data.get(name)
        if type(some) is not list:
            raise ReportError("the data of Allure have another form")
        setattr(value, name, [_made(one, of) for one in some])
    for name, of in objects.items():
        if name in data:
            setattr(value, name, _made(data[name], of))


def _is_attachment(data: dict[str, Any]) -> bool:
    return type(data.get("source")) is str and _ATTACHMENT.fullmatch(data["source"]) is not None


def _made(data: Any, kind: str) -> Any:
    from allure_commons import model2  # noqa: PLC0415

    value = getattr(model2, kind)()
    _fill(value, data, kind)
    return value


def _sender(hookimpl: Any, send: Callable[[Any], None], note: Callable[[Callable[[Any], None]], None]) -> Any:
    """Return a plugin for Allure's hooks, in the process of the test, that sends attachments and results."""

    class Sender:
        @hookimpl  # type: ignore[untyped-decorator]
        def report_attached_data(self, body: Any, file_name: str) -> None:
            content = body.encode() if isinstance(body, str) else bytes(body)
            send({"file": file_name, "body": content.decode("latin-1")})

        @hookimpl  # type: ignore[untyped-decorator]
        def report_attached_file(self, source: Any, file_name: str) -> None:
            with open(source, "rb") as file:
                send({"file": file_name, "body": file.read().decode("latin-1")})

        @hookimpl(trylast=True)  # type: ignore[untyped-decorator]
        def stop_step(self) -> None:
            note(send)

        attach_data = attach_file = add_label = stop_step

    return Sender()
