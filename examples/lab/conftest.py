"""The lab: which submissions there are, how each is run, and the table of scores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from arena import Arena

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our option."""
    parser.addoption(
        "--submissions", type=Path, default=HERE / "submissions", help="a directory with a file for each student"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Announce our marker."""
    config.addinivalue_line("markers", "points(number): what a test is worth")
    config.addinivalue_line("markers", "xdist_group(name): tests that one process of xdist runs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask for each test with each submission. What belongs to a submission runs in the same process of xdist."""
    if "submission" in metafunc.fixturenames:
        files = sorted(metafunc.config.getoption("submissions").glob("*.txt"))
        parameters = [pytest.param(file, id=file.stem, marks=pytest.mark.xdist_group(file.stem)) for file in files]
        metafunc.parametrize("submission", parameters, scope="module")


@pytest.fixture(scope="module")
def arena(submission: Path, request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Run a submission; what it has made lives until the last of its tests."""
    # Whose files these are, and those of the lab itself, is nobody's business but the grader's.
    arena = Arena([HERE, submission.parent, Path(os.getcwd()), request.config.rootpath])
    try:
        arena.type(submission.read_text(encoding="utf-8", errors="surrogateescape").splitlines())
        yield arena
    finally:
        arena.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Write the points into the report, from which JUnit's XML and the table below have them."""
    report = yield
    marker = item.get_closest_marker("points")
    if report.when == "call" and marker and hasattr(item, "callspec"):
        (worth,) = marker.args
        name = item.callspec.params["submission"].stem
        item.user_properties += [("submission", name), ("points", worth if report.passed else 0), ("of", worth)]
        report.user_properties = list(item.user_properties)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what each submission has earned."""
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
