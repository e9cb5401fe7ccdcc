"""The pytest plugin of a lab: ``pytest -p nsbox.grading.lab LAB --submission FILE``, and what `nsbox grade` runs.

| in the test file | what it does |
| --- | --- |
| ``@pytest.mark.points(3)`` | the points for a test that passes |
| ``credit(2)``, a fixture | gives this test so many points, whether it passes or fails; the last call counts |
| ``raise PartialCredit(2, "why")`` | fails with so many points; any exception with an attribute ``credit`` does |
| ``@pytest.mark.requires("test_a")`` | not run, and no points, unless these tests have earned all their points |
| ``@pytest.mark.visibility("hidden")`` | when students see the test: also ``after_due_date``, ``after_published`` |
| ``@pytest.mark.limits(seconds=5, memory="64M")`` | the limits of the sandbox: `SandboxLimits` |
| ``@pytest.mark.sandbox(namespaces=True)`` | programs may make namespaces; other options are those of `nsbox.Box` |
| ``submission``, a fixture | the submission in a new sandbox: `Submission` |
| ``open_submission``, a fixture | makes sandboxes that several tests share: a context manager |
| ``seed``, a fixture | a number that stays the same for a submission |
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from nsbox.grading.attempt import Attempt
from nsbox.grading.grades import VISIBILITIES, Check, check_line
from nsbox.grading.intake import RefusedError, take_in
from nsbox.grading.sandbox import SandboxLimits
from nsbox.grading.submission import Submission, opened

__all__ = ["PartialCredit", "credit", "open_submission", "seed", "submission"]

_STDERR_CHARACTERS = 500
_MARKERS = (
    "points(number): the points for a test that passes",
    "requires(*tests): not run, and no points, unless these tests of the module have earned all their points",
    "visibility(when): when students see the test: visible, hidden, after_due_date or after_published",
    "limits(**limits): the limits of the sandbox: seconds, cpu, memory, output, file, processes",
    "sandbox(namespaces=False, **options): the sandbox; other options are those of nsbox.Box",
)


class PartialCredit(AssertionError):  # noqa: N818 - a result, as pytest.Skip
    """Fails a test that has earned a part of its points."""

    def __init__(self, credit: float, why: str) -> None:
        """Keep the points, and why they are not all."""
        super().__init__(why)
        self.credit = credit


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("nsbox-lab", "grading a submission")
    group.addoption("--submission", type=Path, help="the file or directory of the submission")
    group.addoption("--submission-name", help="its name; by default that of the file")
    group.addoption("--lab-seed", type=int, default=0, help="a number on which the seeds of the submissions depend")
    group.addoption("--lab-hide", type=Path, action="append", default=[], help="a directory that no submission sees")
    group.addoption("--lab-report", type=int, metavar="FD", help="the descriptor for the points; nsbox grade uses it")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and begin the report."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    config.pluginmanager.register(_Grading(config), "nsbox-grading")


class _Grading:
    """The submission, and the points of each test."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._report = config.getoption("lab_report")
        self._full: dict[str, bool] = {}
        """For each test of a module, by both its names: whether all of its runs have earned all points."""
        self._failed: set[str] = set()
        self._alive: list[Submission] = []
        if self._report is not None:
            # Programs that tests start, and children in which they run, cannot write the report.
            os.set_inheritable(self._report, False)
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        if self._report is not None:
            with contextlib.suppress(OSError):
                os.close(self._report)
            self._report = None

    @property
    def _labs(self) -> set[Path]:
        """The directories whose test files pytest was asked to run."""
        asked = (Path(argument.partition("::")[0]).absolute() for argument in self._config.args)
        return {path if path.is_dir() else path.parent for path in asked}

    # The submission

    @property
    def path(self) -> Path:
        found: Path | None = self._config.getoption("submission")
        if found is None:
            raise pytest.UsageError("no submission is given: --submission FILE, or nsbox grade LAB SUBMISSIONS...")
        return Path(os.path.abspath(found))

    @property
    def name(self) -> str:
        return str(self._config.getoption("submission_name") or self.path.name)

    @property
    def seed(self) -> int:
        text = f"{self._config.getoption('lab_seed')}/{self.name}"
        return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:4], "big")

    @property
    def hidden(self) -> list[Path]:
        """The directories that no submission sees: the lab, the submissions, and where pytest runs."""
        places = [*self._labs, self._config.rootpath, self._config.invocation_params.dir, self.path.parent]
        return [path for path in (*places, *self._config.getoption("lab_hide")) if str(path) != "/"]

    @contextlib.contextmanager
    def open(
        self, source: Path, left_out: list[str], limits: SandboxLimits, namespaces: bool, options: dict[str, Any]
    ) -> Iterator[Submission]:
        arguments = (self.name, source, left_out, self.hidden, self.seed, limits, namespaces)
        with opened(*arguments, **options) as made:
            self._alive.append(made)
            try:
                yield made
            finally:
                self._alive.remove(made)

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Never collect a file of a submission, which pytest would run in this process."""
        for lab in self._labs:
            is_own = collection_path.parent == lab and collection_path.is_file()
            if lab in collection_path.parents and not is_own:
                return True
        return None

    # The points

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Report all tests before the first one runs."""
        for item in session.items:
            self._write(Check(name=_name(item), of=_points(item), visibility=_visibility(item)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a test whose requirements have not earned all their points."""
        item.stash[_ATTEMPTS] = sum(len(one.attempts) for one in self._alive)
        for marker in item.iter_markers("requires"):
            for name in marker.args:
                key = f"{item.nodeid.partition('::')[0]}::{name}"
                if not self._full.get(key, False):
                    item.stash[_BLOCKED] = True
                    pytest.skip(f"not run: {name} has not earned all its points")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add the points to the report, as properties, and what there is to see if it failed."""
        report = yield
        credit = getattr(call.excinfo.value, "credit", None) if call.excinfo is not None else None
        if call.when == "call" and isinstance(credit, int | float) and not isinstance(credit, bool):
            item.user_properties.append((_CREDIT, float(credit)))
            report.user_properties = list(item.user_properties)
        if call.when == "teardown":
            if report.failed:
                self._write(Check(name=_name(item), outcome="error", message=f"in the teardown: {_message(report)}"))
        elif call.when == "call" or not report.passed:
            # A fixture that fails without an assertion is the grader's to look at.
            is_own = call.excinfo is None or isinstance(call.excinfo.value, AssertionError | pytest.fail.Exception)
            check = item.stash[_CHECK] = self._check(item, report, call.when == "call" or is_own)
            if check.evidence:
                report.sections.append(("what there was to see", check.evidence))
            properties: list[tuple[str, object]] = [
                ("submission", self.name), ("points", check.points), ("of", check.of),
                *[("verdict", str(attempt["verdict"])) for attempt in check.attempts],
            ]  # fmt: skip
            # Those of a test in namespaces of its own are in its report alone.
            report.user_properties = [*report.user_properties, *properties]
            item.user_properties += properties
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the tests of which a part has failed: the report of the whole test may be that of one that passed."""
        if report.failed and report.when == "call":
            self._failed.add(report.nodeid)

    def _check(self, item: pytest.Item, report: pytest.TestReport, is_own: bool) -> Check:
        of = _points(item)
        passed = report.passed and report.when == "call" and item.nodeid not in self._failed
        outcome = "passed" if passed else "failed" if is_own else "error"
        if report.skipped:
            outcome = "blocked" if item.stash.get(_BLOCKED, False) else "skipped"
        points = of if passed else 0.0
        for name, value in report.user_properties:
            if name == _CREDIT and isinstance(value, int | float):
                points = float(value)
        points = max(0.0, min(points, of)) if report.when == "call" else 0.0
        attempts = [attempt for one in self._alive for attempt in one.attempts][item.stash.get(_ATTEMPTS, 0) :]
        return Check(
            name=_name(item), of=of, points=points, visibility=_visibility(item), seconds=report.duration,
            outcome=outcome,
            message="" if passed else "\n".join([*_complaints(attempts), _message(report) or "a part of it failed"]),
            evidence="\n".join(one.evidence() for one in self._alive) if report.failed else "",
            attempts=tuple(attempt.to_dict() for attempt in attempts),
        )  # fmt: skip

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Report the points before the sandbox ends."""
        check = item.stash.get(_CHECK, None)
        if check is None:
            return
        full = check.points >= check.of and check.outcome == "passed"
        module = item.nodeid.partition("::")[0]
        for name in {item.name, getattr(item, "originalname", None) or item.name}:
            key = f"{module}::{name}"
            self._full[key] = self._full.get(key, True) and full
        self._write(check)

    def _write(self, check: Check) -> None:
        if self._report is None:
            return
        line = check_line(check)
        while line:
            line = line[os.write(self._report, line) :]


_CREDIT = "credit"
_CHECK = pytest.StashKey[Check]()
_ATTEMPTS = pytest.StashKey[int]()
_BLOCKED = pytest.StashKey[bool]()


def _name(item: pytest.Item) -> str:
    return item.nodeid


def _points(item: pytest.Item) -> float:
    marker = item.get_closest_marker("points")
    if marker is None:
        return 0.0
    match marker.args:
        case (int() | float() as points,) if not isinstance(points, bool) and 0 <= points < float("inf"):
            return float(points)
    raise pytest.UsageError(f"{item.nodeid}: points: expected a number from 0, got {marker.args!r}")


def _visibility(item: pytest.Item) -> str:
    marker = item.get_closest_marker("visibility")
    if marker is None:
        return "visible"
    if len(marker.args) != 1 or marker.args[0] not in VISIBILITIES:
        raise pytest.UsageError(f"{item.nodeid}: visibility: expected one of {', '.join(VISIBILITIES)}")
    return str(marker.args[0])


def _complaints(attempts: list[Attempt]) -> list[str]:
    """Return how the last program that failed has ended, and the end of what it has written to standard error."""
    failed = [attempt for attempt in attempts if not attempt.ok][-1:]
    return [text for one in failed for text in (str(one), one.stderr[-_STDERR_CHARACTERS:].strip()) if text]


def _message(report: pytest.TestReport) -> str:
    """Return why a test failed: the text of its exception, without the code of the test."""
    longrepr = report.longrepr
    crash = getattr(longrepr, "reprcrash", None)
    if crash is not None:
        return str(crash.message)
    if isinstance(longrepr, tuple):
        return str(longrepr[2]).removeprefix("Skipped: ")
    return str(longrepr or "")


# Fixtures


def _grading(request: pytest.FixtureRequest) -> _Grading:
    found = request.config.pluginmanager.get_plugin("nsbox-grading")
    assert isinstance(found, _Grading)
    return found


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """A number that is the same for each run of this submission; programs of it find it in ``$SEED``."""
    return _grading(request).seed


@pytest.fixture(scope="session")
def _taken(request: pytest.FixtureRequest) -> Iterator[tuple[Path, list[str]]]:
    grading = _grading(request)
    with tempfile.TemporaryDirectory(prefix="nsbox-submission-") as directory:
        try:
            left_out = take_in(grading.path, Path(directory, "files"))
        except RefusedError as error:
            pytest.fail(f"refused: {error}", pytrace=False)
        yield Path(directory, "files"), left_out


@pytest.fixture(scope="session")
def open_submission(
    request: pytest.FixtureRequest, _taken: tuple[Path, list[str]]
) -> Callable[..., AbstractContextManager[Submission]]:
    """Make sandboxes that several tests share: a function that returns a context manager.

    >>> with open_submission(seconds=5, namespaces=True) as submission: ...

    Its arguments are those of the markers ``limits`` and ``sandbox`` together.
    """
    grading = _grading(request)
    names = SandboxLimits.__dataclass_fields__.keys()

    def make(*, namespaces: bool = False, **options: Any) -> AbstractContextManager[Submission]:
        limits = SandboxLimits(**{name: options.pop(name) for name in list(options) if name in names})
        return grading.open(*_taken, limits, namespaces, options)

    return make


@pytest.fixture
def submission(
    request: pytest.FixtureRequest, open_submission: Callable[..., AbstractContextManager[Submission]]
) -> Iterator[Submission]:
    """The submission in a sandbox of this test. The markers ``limits`` and ``sandbox`` change it."""
    options: dict[str, Any] = {}
    for name in ("sandbox", "limits"):
        # The closest marker comes first, and wins.
        for marker in reversed(list(request.node.iter_markers(name))):
            options |= marker.kwargs
    with open_submission(**options) as made:
        yield made


@pytest.fixture
def credit(request: pytest.FixtureRequest) -> Callable[[float], None]:
    """Give this test so many points, whether it passes or fails: ``credit(2)``. The last call counts."""

    def give(points: float) -> None:
        # A property, as it also arrives from a test that runs in namespaces of its own.
        request.node.user_properties.append((_CREDIT, float(points)))

    return give
