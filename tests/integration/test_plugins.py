"""Marked tests with the plugins of pytest that many projects use: they end as the same tests without the marker.

The unmarked run is that of the same files without the plugin of nsbox.
"""

from __future__ import annotations

import json
from pathlib import Path

import nsbox
import pytest

from tests.integration.suites import Suite
from tests.support.census import descendants, reaped_all, wait_until
from tests.support.forked import Who

VERSIONS = pytest.mark.parametrize(
    ("who", "version"),
    # The version does not depend on the user, so only root's runs are repeated with the older one.
    [("root", "pytest8"), ("root", "pytest9"), ("user", "pytest9")],
    indirect=["who"],
)

MODES = ("load", "loadscope", "loadfile", "loadgroup", "worksteal", "each")
"""The modes of pytest-xdist."""


def words(outcomes: object) -> dict[str, int]:
    """Return how often each outcome is there."""
    assert isinstance(outcomes, dict)
    found: dict[str, int] = {}
    for outcome in outcomes.values():
        found[outcome.word] = found.get(outcome.word, 0) + 1
    return found


@VERSIONS
def test_xdist(place: Path, who: Who, version: str) -> None:
    """pytest-xdist distributes the tests in each of its modes."""
    suite = Suite(place, who, version, "modes")
    unmarked = suite.run(marked=False)
    assert words(unmarked) == {"passed": 12, "failed": 5, "skipped": 2}
    # As root each mode is tried with one of the versions.
    for mode in MODES[::2] if who.is_root == (version == "pytest9") else MODES[1::2]:
        arguments = ("-n", "2", "--dist", mode) if mode != "each" else ("--tx", "2*popen", "--dist", "each")
        marked = suite.run(*arguments)
        # loadgroup adds the group to the name.
        assert {name.partition("@")[0]: outcome for name, outcome in marked.items()} == unmarked, mode
        assert suite.text.count("FutureWarning: from inside") >= 1


@VERSIONS
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout(place: Path, who: Who, version: str, method: str) -> None:
    """pytest-timeout ends a test that hangs, with what it has started, by an exception or by ending the process."""
    suite = Suite(place, who, version, "timeouts")
    # The thread ends the process, which xdist replaces.
    outcomes = suite.run(f"--timeout-method={method}", *(("-n", "1") if method == "thread" else ()))
    assert words(outcomes) == {"passed": 2, "failed" if method == "signal" else "error": 1}
    (hangs,) = (outcome for name, outcome in outcomes.items() if "test_hangs" in name)
    assert {"signal": "Timeout (>1.0s)", "thread": "worker 'gw0' crashed"}[method] in f"{hangs.message} {suite.text}"
    assert wait_until(lambda: not [one for one in nsbox.ps(pids=descendants()) if one.command == "sleep 4761"])
    assert wait_until(reaped_all)


@VERSIONS
def test_asyncio_and_anyio(place: Path, who: Who, version: str) -> None:
    """The tests are coroutines, with fixtures that are generators, and both plugins are there."""
    suite = Suite(place, who, version, "coroutines")
    unmarked = suite.run(marked=False)
    assert words(unmarked) == {"passed": 8, "failed": 3}
    assert suite.run() == unmarked


@VERSIONS
@pytest.mark.parametrize("parallel", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_cov(place: Path, who: Who, version: str, parallel: tuple[str, ...]) -> None:
    """pytest-cov counts what marked tests have run, without any configuration."""
    suite = Suite(place, who, version, "covered")
    lines = []
    for marked in (False, True):
        outcomes = suite.run("--cov=calculator", "--cov-branch", "--cov-report=json", *parallel, marked=marked)
        assert words(outcomes) == {"passed": 2, "failed": 1}
        found = json.loads((suite.path / "coverage.json").read_text())["files"]["calculator.py"]
        lines.append((found["executed_lines"], found["missing_lines"], found["executed_branches"]))
    assert lines[0] == lines[1]
    assert lines[0][1] == [13, 21]
    assert not [path.name for path in suite.path.iterdir() if path.name.startswith(".coverage.")]


@VERSIONS
def test_rerunfailures(place: Path, who: Who, version: str) -> None:
    """pytest-rerunfailures runs failed tests again, each time in a new process."""
    seen = []
    for marked in (False, True):
        suite = Suite(place / str(marked), who, version, "flaky")
        seen.append((suite.run("--reruns", "2", marked=marked), suite.text.count("RERUN"), suite.status))
        assert "6 rerun" in suite.text
    assert seen[0] == seen[1]
    # A run that is repeated is one that has passed in JUnit's XML.
    assert words(seen[0][0]) == {"passed": 4, "failed passed": 1}


@VERSIONS
def test_randomly(place: Path, who: Who, version: str) -> None:
    """pytest-randomly gives the same order and the same random numbers."""
    suite = Suite(place, who, version, "shuffled")
    unmarked, marked, other = (
        suite.run(f"--randomly-seed={seed}", marked=marked, shuffled=True)
        for seed, marked in ((7, False), (7, True), (8, True))
    )
    assert list(marked.items()) == list(unmarked.items())
    assert list(other) != list(marked)


@VERSIONS
def test_subtests(place: Path, who: Who, version: str) -> None:
    """The subtests of pytest 9 and of pytest-subtests, and those of unittest."""
    suite = Suite(place, who, version, "parts")
    unmarked = suite.run(marked=False)
    assert words(unmarked) == {"passed": 3}
    assert suite.run() == unmarked


def test_oldest(place: Path, who: Who) -> None:
    """The oldest pytest that the extra allows, without any other plugin."""
    suite = Suite(place, who, "oldest", "oldest")
    outcomes = suite.run()
    assert words(outcomes) == {"passed": 3, "failed": 1, "skipped": 2}
    assert outcomes["test_oldest.test_passes"].properties == (("points", "3"),)
