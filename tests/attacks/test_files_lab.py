"""Hostile submissions of the lab in examples/lab are graded in bounded time, and get no points that they forge."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support.census import reaped_all, wait_until
from tests.support.forked import Who
from tests.support.inner_pytest import Inner

LAB = Path(__file__).parents[2] / "examples" / "lab"

FORGED_PROC = """
unshare -mipf
mkdir -p /tmp/proc/1/ns
printf 'Name:\\tbash\\nNSpid:\\t1\\n' > /tmp/proc/1/status; ln -s /proc/self/ns/pid /tmp/proc/1/ns/pid
mount --rbind /tmp/proc /proc
true
"""
ENDLESS_FILES = """
unshare -mipf
mkdir -p /tmp/proc/1/ns
ln -s /dev/zero /tmp/proc/1/status; mkfifo /tmp/proc/1/stat; mkfifo /tmp/proc/1/ns/pid; mkfifo /tmp/proc/self
mount --rbind /tmp/proc /proc
"""
SUBMISSIONS = {
    "forged-proc": (FORGED_PROC, 8),  # all but the proc
    "endless-files": (ENDLESS_FILES, 8),
    "right": ("unshare -mipf\nmount -t proc none /proc\n", 10),
}


@pytest.mark.limit(600)
def test_hostile_submissions(who: Who, place: Path) -> None:
    """What a submission puts in the place of /proc gives no points; one that is no file of a student is an error."""
    submissions = place / "lab" / "class"
    shutil.copytree(LAB, place / "lab", ignore=shutil.ignore_patterns("__pycache__", "submissions"))
    submissions.mkdir()
    for name, (text, _) in SUBMISSIONS.items():
        (submissions / f"{name}.txt").write_text(text.lstrip())
    (submissions / "link.txt").symlink_to("/dev/zero")
    os.mkfifo(submissions / "fifo.txt")
    with (submissions / "sparse.txt").open("w") as file:
        file.truncate(10 << 30)
    (submissions / "long.txt").write_text("sleep 1000\n" * 101)
    ini = place / "lab" / "pytest.ini"
    ini.write_text(ini.read_text().replace("addopts =", f"addopts = --submissions={submissions}"))
    os.chmod(place, 0o777)
    result = Inner(place, who).run("--tb=line", "lab", limit=500)
    found = re.findall(r"^(\S+) +(\d+) of 10$", result.stdout.str(), re.MULTILINE)
    assert {name: int(points) for name, points in found} == {name: points for name, (_, points) in SUBMISSIONS.items()}
    for name in ("link", "fifo", "sparse", "long"):
        assert re.search(rf"^ERROR .*{name}", result.stdout.str(), re.MULTILINE), name
    assert wait_until(reaped_all)
