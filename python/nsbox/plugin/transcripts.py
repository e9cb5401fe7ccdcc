"""Terminal sessions in handouts as tests, one for each step: for `nsbox.pytest_plugin`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from nsbox.transcript import CheckedStep, Session, Step, read

__all__ = ["TranscriptFile"]


class NotAsWrittenError(Exception):
    """A step did something else than what is written; the argument is its `CheckedStep`."""


class TranscriptFile(pytest.File):
    """A file with a terminal session; the session lives as long as tests of it are run."""

    _session: Session | None = None

    def collect(self) -> Iterable[pytest.Item]:
        """Return a test for each step."""
        self.steps = read(self.path).steps
        self._results: list[CheckedStep] = []
        for index, step in enumerate(self.steps):
            first = step.command.partition("\n")[0]
            yield StepItem.from_parent(self, name=f"{step.line} {first}", index=index, step=step)

    def setup(self) -> None:
        """Start the session."""
        self._session = Session()
        self._results.clear()

    def teardown(self) -> None:
        """End it."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def result(self, index: int) -> CheckedStep:
        """Return what a step did. Those before it are run first, whether or not they were asked for."""
        assert self._session is not None
        while len(self._results) <= index:
            self._results.append(self._session.run(self.steps[len(self._results)]))
        return self._results[index]


class StepItem(pytest.Item):
    """A step of a session."""

    def __init__(self, *, index: int, step: Step, **keywords: object) -> None:
        """Remember which one."""
        super().__init__(**keywords)  # type: ignore[arg-type]
        self.index = index
        self.step = step

    def runtest(self) -> None:
        """Type it, and compare."""
        assert isinstance(self.parent, TranscriptFile)
        result = self.parent.result(self.index)
        if result.outcome == "skipped":
            pytest.skip(f"line {self.step.line} of {self.path.name} is marked so")
        if result.outcome != "passed":
            raise NotAsWrittenError(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Show the step with the difference, and nothing of Python."""
        if isinstance(excinfo.value, NotAsWrittenError):
            return str(excinfo.value.args[0])
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[os.PathLike[str], int, str]:
        """Say where it is."""
        return Path(self.path), self.step.line - 1, self.name
