"""Terminal sessions of handouts as tests, a test for each step: for `nsbox.pytest_plugin`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from nsbox.transcript import CheckedStep, Session, Step, read

__all__ = ["TranscriptFile"]


class NotAsWrittenError(Exception):
    """The result of a step differs from the handout; the argument is the `CheckedStep`."""


class TranscriptFile(pytest.File):
    """A file with a terminal session, which is started before its first test and closed after its last."""

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
        """Return the result of a step. The steps before it are run first, even if their tests were not selected."""
        assert self._session is not None
        while len(self._results) <= index:
            self._results.append(self._session.run(self.steps[len(self._results)]))
        return self._results[index]


class StepItem(pytest.Item):
    """A step of a session."""

    def __init__(self, *, index: int, step: Step, **keywords: object) -> None:
        """Represent one step of the session."""
        super().__init__(**keywords)  # type: ignore[arg-type]
        self.index = index
        self.step = step

    def runtest(self) -> None:
        """Run the step, and compare the result."""
        assert isinstance(self.parent, TranscriptFile)
        result = self.parent.result(self.index)
        if result.outcome == "skipped":
            pytest.skip(f"line {self.step.line} of {self.path.name} is marked to be skipped")
        if result.outcome != "passed":
            raise NotAsWrittenError(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Show the step with the difference, without a traceback."""
        if isinstance(excinfo.value, NotAsWrittenError):
            return str(excinfo.value.args[0])
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[os.PathLike[str], int, str]:
        """Return the file and the line of the step."""
        return Path(self.path), self.step.line - 1, self.name
