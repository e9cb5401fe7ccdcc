"""A marked test has the outcome, the report and the side effects of an unmarked one, but for five differences."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.samples import CONFTEST, SAMPLES
from tests.support.forked import Who
from tests.support.inner_pytest import Inner

DIFFERENCES = {
    "Arguments of an exception that are no plain data are texts in hooks, and lone surrogates are escaped: all that "
    "arrives is data.": r"test_doctests|test_surrogates|test_requests_unknown",
    "The traceback of what fails outside of the test's own call, in a finalizer or as a warning, begins inside: the "
    "frames of pytest's hooks are in another process.": r"test_two_failing_finalizers|test_requests_broken_teardown"
    r"|test_unraisable_error|test_thread_error",
    "A fixture that the test requests by itself ends with the test, whatever its scope: it was made inside.":
        r"test_wide_fixtures",
    "What the test changes in Python's memory is not seen by fixtures and later tests: the process is another one.":
        r"test_memory.py::test_(changes|sees)",
    "Threads that the test leaves end with it, and its handlers for the end of the process run: the process ends.":
        r"test_memory.py::test_(at_exit|thread)",
}  # fmt: skip
"""Each with its reason, and the samples that show it; docs/pytest.md lists them."""

Event = list[Any]


def python_with_pytest_8() -> str:
    """Return the Python of the virtual environment with pytest 8.4 and pytest-subtests, which the Makefile makes."""
    python = Path(sys.prefix) / "integration/plain8/bin/python"
    assert python.exists(), "there is no environment with pytest 8: make .venv/integrated"
    return str(python)


class Recorder:
    """Runs the samples, unmarked and marked, and returns what was recorded."""

    def __init__(self, place: Path, who: Who, version: int) -> None:
        self.inner = Inner(place, who)
        self.record = place / "record"
        self.version = version
        if version == 8:
            self.inner.command = [python_with_pytest_8(), "-m", "pytest", "-p", "nsbox.pytest_plugin"]
            self.inner.environment["PYTHONPATH"] = str(Path(__file__).parents[2] / "python")

    def run(self, kinds: str, *arguments: str, **samples: str) -> tuple[list[Event], pytest.RunResult]:
        """Run samples in the namespaces, or unmarked; return the events, and the result."""
        self.record.write_text("")
        self.record.chmod(0o666)
        self.inner.environment |= {"NSBOX_RECORD": str(self.record), "NSBOX_MARK": kinds}
        self.inner.write(conftest=CONFTEST, **{f"test_{name}": text for name, text in samples.items()})
        options = ["--doctest-modules", f"--junitxml={self.inner.path / 'junit.xml'}"]
        if self.version == 8:
            # pytest-subtests gives hooks an ExceptionInfo without a value.
            options.append("--deselect=test_subtests.py::TestCase::test_skips")
        result = self.inner.run(*options, *arguments)
        return [json.loads(line) for line in self.record.read_text().splitlines()], result


def shown_by(event: Event) -> str:
    """Return the reason of the difference that an event may show; empty if it has to be the same."""
    text = json.dumps(event)
    return next((reason for reason, samples in DIFFERENCES.items() if re.search(samples, text)), "")


def compared(events: list[Event]) -> list[str]:
    """Return the events that have to be the same."""
    return [json.dumps(event) for event in events if event[0] not in ("finish", "stats") and not shown_by(event)]


def outcomes(events: list[Event], reason: str) -> list[Event]:
    """Return the outcomes of the tests that show a difference, which are the same."""
    return [event[2:5] for event in events if event[0] == "logreport" and shown_by(event) == reason]


@pytest.mark.parametrize(
    ("version", "kinds", "arguments"),
    [(9, "pid", []), (9, "uts", ["--capture=sys"]), (8, "pid mount", []), (9, "pid net", ["-n", "1"])],
    ids=["pytest 9", "capture in memory", "pytest 8", "xdist"],
)
def test_the_same(place: Path, who: Who, version: int, kinds: str, arguments: list[str]) -> None:
    """Every report, warning and hook is the same, in the same order, as root and as an ordinary user."""
    recorder = Recorder(place, who, version)
    if arguments == ["-n", "1"] and not recorder.inner.starts_pythons():
        pytest.skip("this Python cannot start another one as this user")
    # With xdist, the order of what a worker and its controller record is not fixed, and an unmarked test whose
    # exception has a surrogate ends the worker, which cannot send it.
    with_xdist = arguments == ["-n", "1"]
    options = [*arguments, *(["--deselect=test_exceptions.py::test_surrogates"] if with_xdist else [])]
    unmarked, first = recorder.run("", *options, **SAMPLES)
    xml = xml_of(place)
    marked, second = recorder.run(kinds, *options, **SAMPLES)
    order = sorted if with_xdist else list
    assert order(compared(marked)) == order(compared(unmarked))
    assert len(compared(unmarked)) > 1500
    assert xml_of(place) == xml
    for reason, where in DIFFERENCES.items():
        # Only tests that look for the differences have another outcome.
        own = "memory" in where
        assert own or order(outcomes(marked, reason)) == order(outcomes(unmarked, reason))
        assert outcomes(marked, reason)
    assert len(DIFFERENCES) <= 5
    assert first.ret == second.ret == pytest.ExitCode.TESTS_FAILED


def xml_of(place: Path) -> list[str]:
    """Return the properties and attributes in JUnit's XML."""
    text = (place / "junit.xml").read_text()
    cases = re.findall(r'<testcase classname="([^"]*)" name="([^"]*)"(?: assertions="([^"]*)")?', text)
    return [*map(str, cases), *re.findall(r"<property [^>]*>", text)]
