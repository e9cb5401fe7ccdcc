"""A whole class, and what is left of it: ``python -m tests.grading.whole_class [root|user [COUNT HOSTILE]]``.

The right points are those of the table of the lab. After the class there is nothing more than before: no process,
mount, file, cgroup or descriptor; and the memory of the grader has not grown since the first tenth of the class.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nsbox
from nsbox.grading.grades import Grade
from nsbox.grading.runner import Lab, grade_all, names_of

from tests.support.census import adopt_orphans, reaped_all, wait_until
from tests.support.far import become, open_place
from tests.support.forked import Who, in_child
from tests.support.lab_class import HOSTILE, copy_lab, write_class

__all__ = ["Outcome", "grade_class", "graded_as"]

WORKERS = 2
ORDINARY = ("right", "right-in-shell", "always-three", "nothing", "first-two", "no-newline", "daemon")
MAX_GROWTH_BYTES = 4 << 20
"""How much the memory of the grader may grow from the first tenth of a class to its end: reports are kept."""


@dataclass(frozen=True)
class Outcome:
    """What a class has come to.

    Attributes:
        complaints: What is wrong.
        figures: Lines for a report.
    """

    complaints: list[str]
    figures: list[str]


def names_of_class(count: int, hostile: int) -> list[str]:
    """Return the submissions of a class, in which hostile ones are among the others."""
    attacks = itertools.islice(itertools.cycle(HOSTILE), hostile)
    ordinary = itertools.islice(itertools.cycle(ORDINARY), count - hostile)
    every = max(1, count // max(hostile, 1))
    names: list[str] = []
    for index in range(count):
        source = attacks if index % every == 0 else ordinary
        names.append(next(source, None) or next(ordinary, None) or next(attacks))
    return names


def grade_class(count: int, hostile: int) -> Outcome:
    """Grade a class in this process, and compare what there is before and after."""
    adopt_orphans()
    place = Path(tempfile.mkdtemp(prefix="nsbox-class-"))
    # Where its temporary files are, is looked at afterwards.
    tempfile.tempdir = str(place / "tmp")
    os.mkdir(tempfile.tempdir)
    memory: list[int] = []
    try:
        lab = Lab(directory=copy_lab("hostile", place), seconds=300)
        deserved = write_class("hostile", place / "class", names_of_class(count, hostile))
        # The descriptor of nsbox-init, which each process opens once.
        nsbox.run(["true"], unshare="")
        before = _found()
        begin = time.monotonic()

        def done(_: Grade) -> None:
            memory.append(_resident())

        grades = grade_all(lab, names_of(sorted((place / "class").iterdir())), WORKERS, done)
        seconds = time.monotonic() - begin
        complaints = [
            f"{grade.submission}: {grade.points:g} points, and deserves {deserved[grade.submission]:g}; {grade.problem}"
            for grade in grades
            if grade.points != deserved[grade.submission] or grade.problem
        ]
        complaints += [] if len(grades) == count else [f"{len(grades)} of {count} were graded"]
        complaints += [] if wait_until(reaped_all) else ["processes are left"]
        complaints += [f"{what}: more than before: {sorted(more)}" for what, more in _more(before, _found()) if more]
        complaints += [f"left in the temporary directory: {name}" for name in os.listdir(place / "tmp")]
        growth = memory[-1] - memory[len(memory) // 10]
        if growth > MAX_GROWTH_BYTES:
            complaints.append(f"the memory of the grader has grown by {growth >> 10} KiB")
        right = sum(grade.points == deserved[grade.submission] for grade in grades)
        return Outcome(
            complaints,
            [
                f"user {os.geteuid()}: {len(grades)} submissions, {hostile} of them hostile, {WORKERS} at a time",
                f"right points: {right} of {count}",
                f"time: {seconds:.0f} s, {seconds / count:.2f} s for each",
                f"memory of the grader: {memory[0] >> 10} KiB after the first, {memory[len(memory) // 10] >> 10} after "
                f"a tenth, {memory[-1] >> 10} at the end",
                f"descriptors: {len(before['descriptors'])} before, {len(_found()['descriptors'])} after",
            ],
        )
    finally:
        tempfile.tempdir = None
        shutil.rmtree(place, ignore_errors=True)


def graded_as(who: Who, workplace: Path, count: int, hostile: int) -> Outcome:
    """Grade a class as root, or as an ordinary user. Only for a child, as there is no way back."""
    if (change := become(who, workplace)) is not None:
        change()
    return grade_class(count, hostile)


def _resident() -> int:
    """Return how much memory of this process is in use (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _found() -> dict[str, set[str]]:
    """Return what could be left behind, by kind."""
    cgroups = (path for path in Path("/sys/fs/cgroup").rglob("nsbox*") if path.is_dir())
    return {
        "descriptors": set(os.listdir("/proc/self/fd")) - {_listing()},
        "mounts": set(Path("/proc/self/mountinfo").read_text().splitlines()),
        "cgroups": set(map(str, cgroups)),
        "files in /dev/shm": {name for name in os.listdir("/dev/shm") if name.startswith(("zeros-", "more-"))},
        "files in /": {name for name in os.listdir("/") if name.startswith(("zeros-", "more-", "results.json"))},
    }


def _listing() -> str:
    """Return the number of the descriptor by which a directory is listed: the lowest free one."""
    fd = os.open("/", os.O_RDONLY)
    os.close(fd)
    return str(fd)


def _more(before: dict[str, set[str]], after: dict[str, set[str]]) -> list[tuple[str, set[str]]]:
    return [(kind, after[kind] - before[kind]) for kind in before]


if __name__ == "__main__":
    name, count, hostile = [*sys.argv[1:], *("root", "200", "40")[len(sys.argv) - 1 :]]
    with open_place() as workplace:
        outcome: Outcome = in_child(lambda: graded_as(Who(name), workplace, int(count), int(hostile)))
    print("\n".join(outcome.figures))
    if outcome.complaints:
        sys.exit("\n".join(outcome.complaints))
