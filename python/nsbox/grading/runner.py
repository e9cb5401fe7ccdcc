"""Grading a class: a run of pytest for each submission, some at a time. No submission can stop or change another one.

The processes that run pytest are the grader's own, and have the grader's rights. Only what they start for a submission
is in a sandbox, and ends with them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from nsbox.errors import SpecError
from nsbox.grading.grades import MAX_LINE_BYTES, Grade, Report
from nsbox.grading.text import one_line
from nsbox.start.popen import Popen
from nsbox.start.run import DEVNULL, STDOUT

__all__ = ["EMPTY", "Lab", "grade", "grade_all", "names_of", "test_files"]

EMPTY = "(nothing handed in)"
"""The name of the empty submission, which has to earn no points."""
_LOG_BYTES = 4000
_ALL_PASSED, _SOME_FAILED = 0, 1
"""Exit statuses of pytest (pytest.ExitCode)."""
_END_SECONDS = 20.0
"""The time that pytest has to end its sandboxes after a timeout, before it is killed."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab, and how its tests are run.

    Attributes:
        directory: The directory with its test files.
        seconds: The time for one submission.
        seed: A number on which the seeds of the submissions depend.
        hidden: Further directories that no submission sees.
        arguments: Further arguments for pytest.
    """

    directory: Path
    seconds: float = 120.0
    seed: int = 0
    hidden: Sequence[Path] = ()
    arguments: Sequence[str] = ()


def names_of(submissions: Sequence[Path]) -> dict[str, Path]:
    """Return submissions by their names: those of the files or directories, or the paths where these are the same.

    Raises:
        SpecError: when a submission is given twice.
    """
    names = [path.name for path in submissions]
    found: dict[str, Path] = {}
    for path in submissions:
        name = one_line(path.name if names.count(path.name) == 1 else str(path))
        if path in found.values():
            raise SpecError(f"{name} is given twice")
        # Names that differ in characters that are not shown.
        same = next(count for count in itertools.count(1) if (name if count == 1 else f"{name} ({count})") not in found)
        found[name if same == 1 else f"{name} ({same})"] = path
    return found


def grade_all(
    lab: Lab, submissions: dict[str, Path], workers: int = 1, done: Callable[[Grade], object] | None = None
) -> list[Grade]:
    """Grade submissions, so many at a time, and return the grades in the order of their names.

    Args:
        lab: The lab.
        submissions: The submissions by their names.
        workers: How many are graded at the same time.
        done: Called with each grade as soon as it is known.
    """
    grades: dict[str, Grade] = {}
    waiting = iter(submissions.items())
    with ThreadPoolExecutor(workers) as pool:
        running: set[Future[Grade]] = set()
        try:
            while True:
                while len(running) < workers and (item := next(waiting, None)) is not None:
                    running.add(pool.submit(grade, lab, *item))
                if not running:
                    break
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    one = future.result()
                    grades[one.submission] = one
                    if done is not None:
                        done(one)
        except BaseException:
            _interrupted.set_all(running)
            raise
    return [grades[name] for name in sorted(grades)]


class _Running:
    """The runs of pytest, to end them at once when the grader is interrupted."""

    def __init__(self) -> None:
        self._processes: set[Popen] = set()

    @contextlib.contextmanager
    def of(self, process: Popen) -> Iterator[None]:
        self._processes.add(process)
        try:
            yield
        finally:
            self._processes.discard(process)

    def set_all(self, running: set[Future[Grade]]) -> None:
        for future in running:
            future.cancel()
        for process in list(self._processes):
            process.kill()


_interrupted = _Running()


def test_files(directory: Path) -> list[Path]:
    """Return the test files of a lab: ``test_*.py`` in the directory itself.

    Raises:
        SpecError: when there is none.
    """
    found = sorted(path for path in directory.glob("test_*.py") if path.is_file())
    if not found:
        raise SpecError(f"{directory} has no test file: expected test_*.py")
    return found


def grade(lab: Lab, name: str, path: Path) -> Grade:
    """Grade one submission. Whatever happens, there is a grade; `problem` says that a person has to look at it."""
    begin = time.monotonic()
    report = Report()
    try:
        problem = _run(lab, name, path, report)
    except OSError as error:
        problem = f"pytest could not be run: {error}"
    if report.pending and not problem:
        problem = f"pytest ended before {report.pending[0]}"
    problems = [problem] * bool(problem) + report.problems
    checks = report.checks
    if not checks and not problem:
        problems.append("no test was found")
    return Grade(
        submission=name, checks=checks, problem=one_line("; ".join(problems)), seconds=time.monotonic() - begin
    )


def _run(lab: Lab, name: str, path: Path, report: Report) -> str:
    """Run pytest for a submission and collect its report. Return what went wrong, or an empty text."""
    directory = lab.directory.resolve()
    hidden = [*lab.hidden, Path(tempfile.gettempdir())]
    # Only these: whatever else is below the directory may be work of students, and pytest would run it.
    tests = test_files(directory)
    config = next((one for one in ("pytest.ini", "pytest.toml") if (directory / one).is_file()), None)
    work = tempfile.mkdtemp(prefix="nsbox-grade-")
    reader, writer = os.pipe()
    try:
        command = [
            sys.executable, "-m", "pytest", "-p", "nsbox.pytest_plugin", "-p", "nsbox.grading.lab",
            "-p", "no:cacheprovider", "--tb=short",
            "-c", str(directory / config) if config else os.devnull, f"--rootdir={directory}",
            f"--confcutdir={directory}", f"--basetemp={work}/pytest", f"--submission={os.path.abspath(path)}",
            f"--submission-name={name}", f"--lab-seed={lab.seed}", f"--lab-report={writer}",
            *[f"--lab-hide={place.resolve()}" for place in hidden], *lab.arguments, *map(str, tests),
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": work, "PYTHONHASHSEED": "0"}
        # What else is installed has no part in the points, and takes a second for each submission. A lab names the
        # plugins that it needs in its pytest.ini: addopts = -p NAME.
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        with open(f"{work}/log", "w+b") as log:
            # As for all programs of nsbox, pytest ends when this process does, and its sandboxes with it.
            with Popen(
                command,
                unshare="", cwd=directory, env=environment, stdin=DEVNULL, stdout=log, stderr=STDOUT,
                pass_fds=[writer], start_new_session=True,
            ) as process, _interrupted.of(process):  # fmt: skip
                os.close(writer)
                writer = -1
                in_time = _collect(process, reader, report, lab.seconds)
            log.seek(max(0, log.tell() - _LOG_BYTES))
            return _problem(process, in_time, lab, report, log.read().decode(errors="replace"))
    finally:
        for fd in {reader, writer} - {-1}:
            os.close(fd)
        shutil.rmtree(work, ignore_errors=True)


def _collect(process: Popen, reader: int, report: Report, seconds: float) -> bool:
    """Read the report until pytest has ended; return whether that was in time."""
    lines = _Lines(reader, report)
    deadline = time.monotonic() + seconds
    in_time = True
    pidfd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(reader, select.POLLIN)
        while True:
            ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if reader in ready and not lines.read():
                poll.unregister(reader)
            if pidfd in ready:
                lines.read()
                return in_time
            if time.monotonic() >= deadline:
                # First pytest may end its sandboxes by itself. When it is killed, they end as well.
                process.send_signal(signal.SIGINT if in_time else signal.SIGKILL)
                in_time, deadline = False, time.monotonic() + _END_SECONDS
    finally:
        os.close(pidfd)


class _Lines:
    """The lines of a report, read without waiting."""

    def __init__(self, reader: int, report: Report) -> None:
        os.set_blocking(reader, False)
        self._reader, self._report = reader, report
        self._rest = b""

    def read(self) -> bool:
        """Read what there is; return whether more can follow."""
        while True:
            try:
                data = os.read(self._reader, 1 << 16)
            except BlockingIOError:
                return True
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._report.add(line)
            if not data or len(self._rest) > MAX_LINE_BYTES:
                return False


def _problem(process: Popen, in_time: bool, lab: Lab, report: Report, log: str) -> str:
    """Return what a person has to look at; empty if pytest has run all its tests, whether they passed or failed."""
    where = f", in {report.pending[0]}" if report.pending else ""
    if not in_time:
        return f"timeout after {lab.seconds:g} s{where}"
    code = process.returncode
    if code < 0:
        return f"pytest was killed by signal {-code}{where}"
    if code in (_ALL_PASSED, _SOME_FAILED):
        return ""
    return f"pytest exited with status {code}{where}: {' '.join(log.split()[-60:])}"
