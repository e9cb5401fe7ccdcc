"""The exercise works on this kernel: each check, as root and as an ordinary user, on a terminal and in a pipe."""

from __future__ import annotations

import io
import os
import pty
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import nsbox
import pytest
from nsbox.exercise.steps import Exercise, StepSkippedError

from tests.support.forked import USER, as_user
from tests.support.needs import needs_root

CHECKS = 24
ROOT = Path(__file__).parents[2]


def shown(text: str) -> None:
    """Check that the whole exercise was shown, in 80 columns."""
    lines = text.splitlines()
    assert lines[-1] == f"{CHECKS} checks passed.", text
    assert [line for line in lines if len(line) > 80] == []
    assert sum(line.startswith("   ok ") for line in lines) == CHECKS


def test_here() -> None:
    """In this process."""
    out = io.StringIO()
    assert Exercise(out).run() == 0
    shown(out.getvalue())


@needs_root
def test_where_processes_are_limited() -> None:
    """Where RLIMIT_NPROC is reached before pid_max, the step says so, instead of a false story about PIDs."""

    def use_up_pids() -> tuple[str, str]:
        resource.setrlimit(resource.RLIMIT_NPROC, (100, 100))
        out = io.StringIO()
        with pytest.raises(StepSkippedError) as caught:
            Exercise(out).use_up_pids()
        return str(caught.value), out.getvalue()

    # A user whom no other test uses.
    reason, text = as_user(use_up_pids, 90_000 + os.getpid() % 10_000)
    assert reason == "here another limit is reached before pid_max: RLIMIT_NPROC is 100, and 100 are in use"
    assert "PIDs were still free" in " ".join(text.split())
    assert "no PID was free" not in text


def test_command_piped() -> None:
    """``nsbox demo | cat`` prints no colours."""
    result = subprocess.run([sys.executable, "-m", "nsbox", "demo"], capture_output=True, text=True, check=True)
    assert "\x1b" not in result.stdout
    shown(result.stdout)


def test_command_on_a_terminal() -> None:
    """On a terminal it prints colours, and none when NO_COLOR is set."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "nsbox", "demo"], stdout=theirs) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # EIO: the other side is closed
                break
            text += part
    os.close(ours)
    assert process.returncode == 0
    assert b"\x1b[32mok " in text


def readable_python() -> str:
    """Return an interpreter that every user may execute; this one may not be."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        version = "import sys; sys.exit(sys.version_info < (3, 11))"
        try:
            subprocess.run([candidate, "-c", version], check=True, user=USER, group=USER, extra_groups=[], cwd="/")
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("no Python 3.11 or newer on this machine can be executed by an ordinary user")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_ordinary_user(place: Path) -> None:
    """Without privileges a user namespace is added, and the output says so."""
    python = readable_python()
    shutil.copytree(Path(nsbox.__file__).parent, place / "nsbox", ignore=shutil.ignore_patterns("__pycache__"))
    place.chmod(0o755)
    environment = {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath, "HOME": "/"}
    result = subprocess.run(
        [python, "-m", "nsbox", "demo"],
        capture_output=True, text=True, check=False, user=USER, group=USER, extra_groups=[], cwd="/", env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    shown(result.stdout)
    assert "A new user namespace was added" in result.stdout


def test_forbidden_namespaces() -> None:
    """If namespaces cannot be made, it prints the reason, and continues with the rest."""
    limits = "for kind in user mnt pid ipc; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done"
    command = f"{limits}; exec {sys.executable} -m nsbox demo"
    result = nsbox.run(["sh", "-c", command], unshare="U", capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "user.max_pid_namespaces" in result.stdout
    assert "8 steps skipped" in result.stdout


def test_example() -> None:
    """The Python example of thirty lines does the same."""
    command = [sys.executable, str(ROOT / "examples" / "exercise_2.py")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "inside, $$ is 1" in text
    assert "PID namespace has lost its PID 1" in text
    assert "then no free PID: EAGAIN" in text
