"""`nsbox ps` and `nsbox pstree` as commands, and the table against the real ps(1) of procps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nsbox.cli import main
from nsbox.records.processes import NamespaceIds
from nsbox.seeing.processes import ps
from nsbox.seeing.tree import ProcessTree, pstree

from tests.support import records
from tests.support.real_box import box

__all__ = ["box"]

NSBOX = [sys.executable, "-m", "nsbox"]


@pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed (Debian package procps)")
def test_the_same_as_ps(box: int) -> None:
    columns = ["pid", "ppid", "pgid", "sid", "ruid", "euid", "nlwp", "ni", "rss", "vsz", "stat", "comm"]
    # ps runs in the box, but its parent is outside: no group and no session inside, and the last PID.
    command = ["nsenter", f"--target={box}", "--mount", "--pid", "ps", "-e", "--no-headers"]
    command += [part for column in columns[:-1] for part in ("-o", f"{column}=")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[:-1]
    expected = [line.split() for line in output]
    for row in expected:
        if row[columns.index("stat")].startswith("Z"):
            row[columns.index("ni")] = "-"
    processes = ps(of=box)
    stats = {line.split()[1]: line.split() for line in str(processes).splitlines()[1:]}
    found = []
    for process in processes:
        assert process.uids is not None
        numbers = [process.pid, process.ppid, process.pgid, process.sid, *process.uids[:2], process.thread_count]
        sizes = [process.rss // 1024, process.vsize // 1024]
        # For processes that have ended, ps may have no value.
        nice = "-" if process.state == "Z" else process.nice
        found.append([*map(str, numbers), str(nice), *map(str, sizes), stats[str(process.pid)][9]])
    assert found == expected


@pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed (Debian package procps)")
def test_the_same_columns_as_ps_aux(box: int) -> None:
    """All of its columns but the commands, whose unusual characters ps shows differently, and %CPU, which changes."""
    columns = ["user", "pid", "ppid", "pmem", "vsz", "rss", "tname", "stat", "start_time", "bsdtime"]
    command = ["nsenter", f"--target={box}", "--mount", "--pid", "ps", "-e", "--no-headers"]
    command += [part for column in columns for part in ("-o", f"{column}=")]
    for _ in range(20):
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[:-1]
        header, *rows = (line.split() for line in str(ps(of=box)).splitlines())
        chosen = [
            header.index(name) for name in ["USER", "PID", "PPID", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME"]
        ]
        ours, theirs = [[row[column] for column in chosen] for row in rows], [line.split() for line in output]
        # Times and resident memory may change between the two reads.
        if ours == theirs:
            break
    assert ours == theirs


def test_a_reader_that_closes_its_pipe(box: int) -> None:
    """Before `head` it ends as every command: no traceback, and it does not hang."""
    for command in ("ps", "pstree -S -p"):
        script = f"{' '.join(NSBOX)} {command} --of {box} | head -n 3"
        # The output is larger than a pipe, so that it is still being written when the reader closes.
        many = f"for i in 1 2 3 4 5 6 7 8 9 10; do {script}; done"
        result = subprocess.run(["bash", "-c", many], capture_output=True, text=True, check=True)
        assert len(result.stdout.splitlines()) == 30
        assert result.stderr == ""


def test_a_closed_pipe_gives_a_status() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run([*NSBOX, "ps"], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a PID namespace without a user namespace")
def test_a_new_pid_namespace_with_the_old_proc() -> None:
    """Step 2.2 of the exercise before the mount: the host's processes, every time; ps of procps fails at times."""
    for _ in range(5):
        command = ["unshare", "--pid", "--fork", *NSBOX, "ps", "aux"]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        pids = [line.split()[1] for line in result.stdout.splitlines()[1:]]
        assert str(os.getpid()) in pids
        assert result.stderr == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a PID namespace without a user namespace")
def test_a_new_pid_namespace_with_its_own_proc() -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", *NSBOX, "ps", "aux"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    header, *rows = result.stdout.splitlines()
    assert header.split() == [
        "USER",
        "PID",
        "PPID",
        "%CPU",
        "%MEM",
        "VSZ",
        "RSS",
        "TTY",
        "STAT",
        "START",
        "TIME",
        "COMMAND",
    ]
    assert [row.split()[1] for row in rows] == ["1"]


def test_a_look_inside(box: int) -> None:
    """Only processes inside, with their PIDs inside; by PID or by any object that has one."""
    inside = ps(of=box)
    assert inside[0].pid == 1
    assert inside[0].ppid == 0
    (outside,) = ps(pids=[box])
    assert [process.pid for process in ps(of=outside)] == [process.pid for process in inside]
    assert pstree(of=outside).root.name == "root"


def test_namespaces_of_every_kind_are_marked(box: int) -> None:
    marks = {node.name: set(node.changes) for node in pstree(of=box).walk()}
    for kind in ("mount", "cgroup", "uts", "ipc", "user", "net"):
        assert marks[f"new {kind}"] == {kind}
    # The process that unshares these stays in its own; its children are in the new one.
    assert marks["new pid"] == marks["new time"] == set()
    assert marks["new all"] == {"mount", "cgroup", "uts", "ipc", "user", "net"}


def test_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    me = os.getpid()
    for arguments in (["-p", str(me)], ["-p", f"{me},99999999999999"], [str(me)], ["aux", "-p", str(me)]):
        assert main(["ps", *arguments]) == 0
        assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["PID", str(me)]
    assert main(["pstree", "-p", str(me)]) == 0
    assert f"({me})" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["ps", "-p", "99999999999"], 1, ""),
        (["ps", "-p", "x"], 2, "nsbox ps: not a PID: 'x'"),
        (["ps", "--of", "999999999"], 1, "nsbox ps: of: no process has the PID 999999999"),
        (["pstree", "999999999"], 0, "nsbox pstree: Process 999999999 not found."),
        (["pstree", "-s", "999999999"], 1, "nsbox pstree: Process 999999999 not found."),
        (["pstree", "no such user"], 1, "nsbox pstree: No such user name: no such user"),
        (["pstree", "1x"], 2, "nsbox pstree: '1x' is neither a PID nor the name of a user"),
        (["pstree", "--nonsense"], 2, "usage: nsbox pstree"),
        (["nonsense"], 2, "nsbox: unknown command 'nonsense'"),
        ([], 2, ""),
        (["ps", "--help"], 0, ""),
        (["--help"], 0, ""),
        (["--version"], 0, ""),
    ],
    ids=str,
)
def test_status(arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == status
    errors = capsys.readouterr().err
    assert errors.startswith(message)
    assert bool(errors) == bool(message)
    assert "Traceback" not in errors


def test_output_in_ascii() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = ["sh", "-c", f"{' '.join(NSBOX)} ps | cat; {' '.join(NSBOX)} pstree -U | cat", "caf\xe9 \N{SNOWMAN}"]
    result = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert result.stderr == b""
    assert result.stdout.isascii()


def test_no_external_program_is_needed(tmp_path: Path) -> None:
    result = subprocess.run([*NSBOX, "pstree"], capture_output=True, env={"PATH": str(tmp_path)}, check=True)
    assert result.stdout


def test_a_forest_of_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As pstree prints nothing where the caller may read no namespace."""
    tree = ProcessTree([records.process(1, 0, namespaces=NamespaceIds(*[None] * 8))])
    monkeypatch.setattr("nsbox.cli.pstree.read", lambda _: tree)
    assert main(["pstree", "-N", "net"]) == 0
    assert capsys.readouterr().out == ""
