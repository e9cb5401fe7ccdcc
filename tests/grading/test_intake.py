"""What is taken in of a submission: regular files and directories, up to a limit, and nothing else."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from nsbox.grading import intake
from nsbox.grading.intake import RefusedError, take_in

pytestmark = pytest.mark.pure


def test_a_file(tmp_path: Path) -> None:
    """It is in a directory of its own, under its name."""
    (tmp_path / "lab.sh").write_text("true\n")
    assert take_in(tmp_path / "lab.sh", tmp_path / "copy") == []
    assert (tmp_path / "copy" / "lab.sh").read_text() == "true\n"


def test_a_directory(tmp_path: Path) -> None:
    """Modes are those that others can use, set-user-ID is gone, and links lead nowhere."""
    source = tmp_path / "work"
    (source / "below").mkdir(parents=True)
    (source / "below" / "run").write_text("#!/bin/sh\n")
    (source / "below" / "run").chmod(0o4700)
    (source / "secret").symlink_to("/etc/shadow")
    (source / "below" / "up").symlink_to("..")
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(source / "socket"))
        left_out = take_in(source, tmp_path / "copy")
    assert sorted(left_out) == ["below/up (a link)", "fifo (a FIFO)", "secret (a link)", "socket (a socket)"]
    copied = [path for path in (tmp_path / "copy").rglob("*") if not path.is_dir()]
    assert copied == [tmp_path / "copy" / "below" / "run"]
    assert copied[0].stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("kind", ["link", "fifo", "missing", "device"])
def test_no_file_at_all(tmp_path: Path, kind: str) -> None:
    """A link in the place of a submission is refused, and a FIFO is not waited for."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / kind
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(RefusedError):
        take_in(path, tmp_path / "copy")


def test_holes(tmp_path: Path) -> None:
    """A file with holes is as large as it looks."""
    with (tmp_path / "sparse").open("w") as file:
        file.truncate(10 << 30)
    with pytest.raises(RefusedError, match="bytes, at sparse"):
        take_in(tmp_path / "sparse", tmp_path / "copy")


def test_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are those of all files together."""
    monkeypatch.setattr(intake, "MAX_FILES", 5)
    monkeypatch.setattr(intake, "MAX_BYTES", 10)
    many, large, deep = tmp_path / "many", tmp_path / "large", tmp_path / "deep"
    many.mkdir()
    large.mkdir()
    for index in range(6):
        (many / str(index)).touch()
        if index < 3:
            (large / str(index)).write_text("x" * 4)
    (deep / "/".join("a" * 21)).mkdir(parents=True)
    with pytest.raises(RefusedError, match="more than 5 files"):
        take_in(many, tmp_path / "1")
    with pytest.raises(RefusedError, match="more than 10 bytes"):
        take_in(large, tmp_path / "2")
    monkeypatch.setattr(intake, "MAX_FILES", 500)
    with pytest.raises(RefusedError, match="levels deep"):
        take_in(deep, tmp_path / "3")
