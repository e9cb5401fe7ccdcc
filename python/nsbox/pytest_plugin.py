"""The pytest plugin: fixtures that make boxes and shells, and tests that run in namespaces of their own.

    @pytest.mark.unshare("pid mount net", mount_proc=True)
    def test_port_80_is_free():
        ...                             # runs in a child, inside new namespaces

    def test_daemon(box):
        box.run(["my-daemon", "--background"], check=True)
        assert box.run(["pgrep", "my-daemon"]).returncode == 0

pytest loads this module in every run, so nothing of nsbox is imported before a test needs it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from nsbox.box.box import Box
    from nsbox.start.shell import Shell

__all__ = ["box", "box_factory", "netns", "shell"]

_MARKERS = (
    "unshare(*namespaces, **options): run the test itself inside new namespaces, those of nsbox.Box(..., **options)",
    "box(*namespaces, **options): what the fixture box makes; by default mount, ipc and pid namespaces and a new proc",
    "shell(*namespaces, **options): what the fixture shell makes; by default mount, ipc and pid namespaces",
    "needs_namespaces(*namespaces, **options): skip the test, with the reason, where these cannot be made; "
    "by default those of its other markers and of its fixtures",
)
_FIXTURES = {"box", "box_factory", "shell", "netns"}
_MARKS = ("unshare", "box", "shell", "needs_namespaces")


_AT_START: dict[int, os.stat_result] = {}
"""The descriptors that pytest has when it loads plugins: later it captures the standard streams, and fixtures run."""
with contextlib.suppress(OSError):  # without /proc no namespaces can be made either
    for _fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # that of the directory itself
            _AT_START[_fd] = os.fstat(_fd)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("nsbox", "Linux namespaces")
    group.addoption(
        "--nsbox",
        choices=("skip", "require"),
        help="what to do with tests whose namespaces cannot be made here (needs_namespaces): by default they are "
        "skipped; with 'require' they fail",
    )
    group.addoption(
        "--fail-on-leak",
        action="store_true",
        help="fail tests that leave processes behind; without it, those left in namespaces of nsbox are only reported",
    )

    parser.addini(
        "nsbox_transcripts",
        "files with terminal sessions that are run as tests, a test for each command (nsbox check): patterns",
        type="args",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the terminal sessions that the configuration names."""
    patterns = parent.config.getini("nsbox_transcripts")
    if not any(map(file_path.match, patterns)):
        return None
    from nsbox.plugin.transcripts import TranscriptFile

    return TranscriptFile.from_parent(parent, path=file_path)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    if config.getoption("fail_on_leak"):
        from nsbox.plugin.leaks import Watch

        config.pluginmanager.register(Watch(), "nsbox-leaks")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Return what this machine allows, if the command line has the option --nsbox."""
    return _verdict() if config.getoption("nsbox") else None


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Return what this machine allows, if a collected test uses namespaces. Otherwise nothing is examined."""
    return None if config.getoption("nsbox") or not any(map(_is_ours, items)) else _verdict()


def _is_ours(item: pytest.Item) -> bool:
    return any(map(item.get_closest_marker, _MARKS)) or not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _verdict() -> str:
    from nsbox.diagnosis.doctor import doctor

    return f"nsbox: {doctor().verdict}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose namespaces cannot be made here."""
    if item.get_closest_marker("needs_namespaces") is None:
        return
    from nsbox.plugin import needs

    needs.skip_if_refused(item, needs.those_of(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Run a test with the marker ``unshare`` in a child in new namespaces."""
    __tracebackhide__ = True
    marker = item.get_closest_marker("unshare")
    if marker is None:
        return (yield)
    from nsbox.plugin.unshare import replaced

    with replaced(item, marker, _AT_START):
        return (yield)


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport | None:
    """Return the report that the child of such a test has sent, if any."""
    if item.get_closest_marker("unshare") is None:
        return None
    from nsbox.plugin.replay import prepared_report

    return prepared_report(item, call)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the processes that tests have left behind."""
    properties: dict[str, list[tuple[str, object]]] = {}
    reports = [one for some in terminalreporter.stats.values() for one in some if getattr(one, "user_properties", ())]
    if not reports:
        return
    from nsbox.plugin.leaks import shown

    for report in reports:
        properties.setdefault(report.nodeid, []).extend(report.user_properties)
    leaks = {nodeid: lines for nodeid, some in properties.items() if (lines := shown(some))}
    if leaks:
        terminalreporter.section("processes left behind")
    for nodeid, processes in leaks.items():
        terminalreporter.line(nodeid)
        for process in processes:
            terminalreporter.line(f"    {process}")


@pytest.fixture
def box_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., Box]]:
    """Make any number of boxes by ``box_factory("pid mount net", hostname="a", ...)``; see `nsbox.Box`.

    They end with the test, the last one first.
    """
    from nsbox.plugin import fixtures

    yield from fixtures.boxes(request)


@pytest.fixture
def box(request: pytest.FixtureRequest, box_factory: Callable[..., Box]) -> Box:
    """A box with new namespaces (`nsbox.Box`), by default ``Box("mip", mount_proc=True)``.

    The marker ``box`` sets others: ``@pytest.mark.box("pid net", loopback=False)``.
    """
    __tracebackhide__ = True
    args, options = _marked(request, "box", mount_proc=True)
    return box_factory(args, **options)


@pytest.fixture
def netns(box_factory: Callable[..., Box]) -> Box:
    """A box with a network of its own, which has only the loopback interface, and that is up.

    It has a PID namespace too, so that no server outlives the test.
    """
    __tracebackhide__ = True
    return box_factory("mpn", mount_proc=True)


@pytest.fixture
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """A shell that is PID 1 (`nsbox.Shell`), by default ``Shell("mip")``, which is ``unshare -mipf``.

    The marker ``shell`` sets others: ``@pytest.mark.shell("mip", fork=False)``.
    """
    __tracebackhide__ = True
    from nsbox.plugin import fixtures

    args, options = _marked(request, "shell")
    yield from fixtures.shell(request, args, options)


def _marked(request: pytest.FixtureRequest, name: str, **default: Any) -> tuple[Any, dict[str, Any]]:
    marker = request.node.get_closest_marker(name)
    if marker is None:
        return "mip", default
    return marker.args or "mip", dict(marker.kwargs)
