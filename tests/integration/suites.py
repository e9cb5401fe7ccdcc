"""Sample projects that are run by another pytest, with other plugins, and the outcomes of their tests."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.forked import Who
from tests.support.inner_pytest import Inner

__all__ = ["Outcome", "Suite"]

HOME = Path(__file__).parents[2] / ".venv" / "integration"
PROJECTS = Path(__file__).parent / "projects"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a test as in JUnit's XML.

    Attributes:
        word: ``"passed"``, ``"failed"``, ``"error"`` or ``"skipped"``; several for a test that fails in its teardown.
        message: The first line of the reason.
        properties: What was recorded by record_property.
    """

    word: str
    message: str = ""
    properties: tuple[tuple[str, str], ...] = field(default=())


class Suite:
    """A copy of a project in a directory that every user may use, run with one version of pytest."""

    def __init__(self, place: Path, who: Who, version: str, project: str) -> None:
        python = HOME / version / "bin" / "python"
        if not python.exists():
            pytest.fail(f"{python} is missing; make {HOME.parent.name}/integrated")
        self.path = place / project
        place.mkdir(exist_ok=True)
        shutil.copytree(PROJECTS / project, self.path, ignore=shutil.ignore_patterns("__pycache__"))
        (self.path / "pytest.ini").write_text("[pytest]\n")
        for path in (self.path, *self.path.iterdir()):
            path.chmod(0o777 if path.is_dir() else 0o644)
        self._inner = Inner(self.path, who)
        self._inner.command = [str(python), "-m", "pytest"]
        self._inner.environment.pop("PYTHONPATH", None)

    def limit_descriptors(self, count: int) -> None:
        """Have the runs begin with this limit of open descriptors, as ``ulimit -n`` does."""
        self._inner.command = ["prlimit", f"--nofile={count}:{count}", *self._inner.command]

    def run(
        self, *arguments: str, marked: bool = True, shuffled: bool = False, limit: float = 250
    ) -> dict[str, Outcome]:
        """Run the tests, and return their outcomes; the text of the run is in `text`, its exit status in `status`.

        Args:
            *arguments: Further arguments of pytest.
            marked: Whether nsbox's plugin is used. Without it, its markers have no effect.
            shuffled: Whether pytest-randomly is used.
            limit: Seconds after which the run is killed.
        """
        more = [*([] if marked else ["-p", "no:nsbox"]), *([] if shuffled else ["-p", "no:randomly"])]
        report = self.path / "report.xml"
        report.unlink(missing_ok=True)
        result = self._inner.run(*more, f"--junitxml={report}", "-o", "junit_family=xunit1", *arguments, limit=limit)
        self.text, self.status = "\n".join(result.outlines), result.ret
        found: dict[str, list[Outcome]] = {}
        for case in ET.parse(report).iter("testcase"):
            found.setdefault(f"{case.get('classname')}.{case.get('name')}", []).append(_outcome(case))
        return {name: _together(outcomes) for name, outcomes in found.items()}


def _together(outcomes: list[Outcome]) -> Outcome:
    """Return the outcome of a test that was run several times, or has subtests with reports of their own."""
    words, messages = (sorted({getattr(one, name) for one in outcomes} - {""}) for name in ("word", "message"))
    return Outcome(" ".join(words), "; ".join(messages), outcomes[0].properties)


def _outcome(case: ET.Element) -> Outcome:
    ends = [child for child in case if child.tag in ("failure", "error", "skipped")]
    word = " ".join({"failure": "failed"}.get(child.tag, child.tag) for child in ends) or "passed"
    message = ends[0].get("message", "").partition("\n")[0] if ends else ""
    properties = tuple((one.get("name", ""), one.get("value", "")) for one in case.iter("property"))
    return Outcome(word, message, properties)
