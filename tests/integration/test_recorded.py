"""What marked tests record with other plugins is what they record without the marker, and no soft assertion is lost."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from tests.integration.suites import Suite
from tests.support.forked import Who

VERSION = "recording"


def test_soft_assertions(place: Path, who: Who) -> None:
    """Failures that pytest-check and pytest-assume collect fail the test, and are expected where it says so."""
    lines = []
    for marked in (False, True):
        suite = Suite(place / str(marked), who, VERSION, "recorded")
        outcomes = suite.run("test_soft.py", "-rA", marked=marked)
        assert suite.status == 1
        lines.append((outcomes, sorted(re.findall(r"^(?:PASSED|XFAIL|XPASS|FAILED|SKIPPED) .*", suite.text, re.M))))
    assert lines[0] == lines[1]
    assert len([line for line in lines[1][1] if line.startswith("FAILED")]) == 10


def test_recorded(place: Path, who: Who) -> None:
    """Allure, pytest-benchmark, pytest-json-report, pytest-html, pytest-metadata, and what hooks of the suite read."""
    found = []
    for marked in (False, True):
        suite = Suite(place / str(marked), who, VERSION, "recorded")
        outcomes = suite.run(
            "test_recorded.py", "--alluredir=allure", "--benchmark-json=benchmark.json", "--html=report.html",
            "--self-contained-html", "--json-report", "--json-report-file=report.json", marked=marked,
        )  # fmt: skip
        crashed = outcomes.pop("test_recorded.test_allure_crashes")
        assert crashed.word == ("failed" if marked else "skipped")
        found.append((outcomes, *recorded(suite.path)))
    for unmarked, marked_one in zip(*found, strict=True):
        assert marked_one == unmarked
    steps = allure_of(suite.path)["test_recorded#test_allure_crashes"]["steps"]
    assert [step["name"] for step in steps] == ["before the crash"]


def recorded(path: Path) -> tuple[Any, ...]:
    """Return what the plugins have written, without times."""
    benchmarks = json.loads((path / "benchmark.json").read_text())["benchmarks"]
    tests = json.loads((path / "report.json").read_text())["tests"]
    page = json.loads(html.unescape(re.search(r'data-jsonblob="([^"]*)"', (path / "report.html").read_text())[1]))  # type: ignore[index]
    allure = allure_of(path)
    del allure["test_recorded#test_allure_crashes"]
    attachments = sorted(file.read_bytes() for file in (path / "allure").glob("*-attachment.*"))
    return (
        [(one["name"], one["extra_info"], one["stats"]["rounds"], one["stats"]["iterations"]) for one in benchmarks],
        [(one["nodeid"], one.get("metadata")) for one in tests],
        {name: [one["extras"] for one in some] for name, some in page["tests"].items() if "crashes" not in name},
        page["environment"].get("from a test"),
        allure,
        attachments,
    )


_TIMES = {"start", "stop", "uuid", "source", "historyId", "testCaseId", "trace"}


def allure_of(path: Path) -> dict[str, Any]:
    """Return Allure's results by test, without times and random names."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("name") in ("thread", "host"):
                return None
            return {name: cleaned(one) for name, one in value.items() if name not in _TIMES}
        return [cleaned(one) for one in value] if isinstance(value, list) else value

    results = [json.loads(file.read_text()) for file in (path / "allure").glob("*-result.json")]
    return {result["fullName"]: cleaned(result) for result in results}
