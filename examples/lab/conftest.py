"""The lab: find the submissions, run each in a sandbox, and print the table of scores."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox import Sandbox

HERE = Path(__file__).parent
MAX_SUBMISSION_BYTES = 64 << 10
MAX_LINES = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option --submissions."""
    parser.addoption(
        "--submissions", type=Path, default=HERE / "submissions", help="a directory with a file for each student"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line("markers", "points(number): the points for a test that passes")
    config.addinivalue_line("markers", "xdist_group(name): tests that the same process of xdist runs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with each submission. All tests of a submission run in the same process of xdist."""
    if "submission" in metafunc.fixturenames:
        files = sorted(metafunc.config.getoption("submissions").glob("*.txt"))
        parameters = [pytest.param(file, id=file.stem, marks=pytest.mark.xdist_group(file.stem)) for file in files]
        metafunc.parametrize("submission", parameters, scope="module")


@pytest.fixture(scope="module")
def sandbox(submission: Path, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Run a submission; its processes and namespaces exist until the last of its tests."""
    # A submission must not see the other submissions, nor the tests.
    sandbox = Sandbox([HERE, submission.parent, Path(os.getcwd()), request.config.rootpath])
    try:
        sandbox.type(_lines_of(submission))
        yield sandbox
    finally:
        sandbox.close()


def _lines_of(submission: Path) -> list[str]:
    """Read a submission. A student could hand in a link to a device, a FIFO, or a file without end.

    Raises:
        ValueError: when it is no regular file, or too long.
    """
    fd = os.open(submission, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"{submission.name} is no regular file")
        text = file.read(MAX_SUBMISSION_BYTES + 1)
    lines = text.decode("utf-8", errors="surrogateescape").splitlines()
    if len(text) > MAX_SUBMISSION_BYTES or len(lines) > MAX_LINES:
        raise ValueError(f"{submission.name} has more than {MAX_SUBMISSION_BYTES} bytes, or {MAX_LINES} lines")
    return lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Add the points to the report, for JUnit's XML and for the table of scores."""
    report = yield
    marker = item.get_closest_marker("points")
    if report.when == "call" and marker and hasattr(item, "callspec"):
        (points,) = marker.args
        name = item.callspec.params["submission"].stem
        item.user_properties += [("submission", name), ("points", points if report.passed else 0), ("of", points)]
        report.user_properties = list(item.user_properties)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the points of each submission."""
    scores: dict[str, list[int]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            found = dict(report.user_properties)
            if report.when == "call" and "submission" in found:
                earned = scores.setdefault(found["submission"], [0, 0])
                earned[0] += found["points"]
                earned[1] += found["of"]
    if scores:
        terminalreporter.section("scores")
    for name, (points, of) in sorted(scores.items()):
        terminalreporter.line(f"{name:24} {points:3} of {of}")
