"""Whole notebook kernels in namespaces, started by nbclient through the kernel provisioner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.callers import survivors
from tests.support.census import reap_adopted
from tests.support.far import run_as
from tests.support.forked import Who
from tests.support.needs import needs

PROGRAM = Path(__file__).with_name("support") / "provisioned_kernel.py"
FIRST = "[2, 1, True, ['nsbox-init', 'python', 'ps']]"


def play(who: Who, place: Path, scenario: str, status: int = 0) -> Any:
    """Return the result of a scenario; no process of it may be left, which the census checks as well."""
    bound, work = place / "bound", place / "work"
    for directory in (bound, work):
        directory.mkdir()
        directory.chmod(0o777)
    out = work / "output"

    def run() -> int:
        # Write to a file: a process that is left behind and holds a pipe open would block this test.
        with out.open("w") as file:
            program = [sys.executable, str(PROGRAM), str(work), scenario]
            return subprocess.run(
                program, cwd="/", stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=250, check=False
            ).returncode

    ended = run_as(who, bound, run)
    text = out.read_text()
    assert ended == status, text
    assert survivors() == []
    reap_adopted()
    return json.loads(text.splitlines()[-1]) if status == 0 else None


def named(shown: dict[str, str]) -> str:
    """Return the names of the processes without the version of Python."""
    return (
        shown.get("result", str(shown)).replace(f"python3.{sys.version_info[1]}", "python").replace("python3", "python")
    )


def test_lesson(who: Who, place: Path) -> None:
    """The kernel is the only child of nsbox-init; interrupts reach it; a restarted kernel has none of the old state."""
    found = play(who, place, "lesson")
    assert named(found["first"]) == FIRST
    assert found["transport"] == "tcp"
    assert found["outer"] > 2
    assert found["interrupted"] == {"error": "KeyboardInterrupt"}
    assert int(found["daemon"]["result"]) > 2
    assert "'sleep'" in found["after"]["result"]
    assert named(found["restarted"]) == FIRST
    assert int(found["again"]["result"]) > 2


def test_late_cell(who: Who, place: Path) -> None:
    """After a timeout no process is left, including daemons in another session."""
    found = play(who, place, "late")
    assert found["late"]
    assert not found["alive"]
    assert int(found["daemon"]["result"]) > 2


def test_network(who: Who, place: Path) -> None:
    """Without a network for the client it uses Unix sockets; with TCP ports demanded no kernel is started."""
    needs(who, "mipnu")
    found = play(who, place, "network")
    assert found["look"] == {"result": "[['lo'], 'lab']"}
    assert found["transport"] == "ipc"
    assert found["sockets"] == []
    assert "network namespace" in found["refused"]
    assert not found["started"]


def test_hardened(who: Who, place: Path) -> None:
    """A hardened kernel works, is held, sees the keys of no other kernel, and can be started again."""
    needs(who, "mipUnC")
    found = play(who, place, "hardened")
    held = "['0000000000000000', '1', '2']"
    assert (found["first"], found["again"]) == ({"result": held}, {"result": held})
    # The home, where the notebook is, is another one, in memory.
    assert not found["written"]
    assert found["keys"].get("error") or "kernel-of-another" not in found["keys"]["result"]
    assert found["left"] == ["kernel-of-another.json"]


def test_server(who: Who, place: Path) -> None:
    """A server restarts a kernel that has ended by itself; all that the kernel has left behind has ended with it."""
    needs(who, "mipn")
    found = play(who, place, "served")
    assert found["second"] != found["first"]
    assert (found["works"], found["transport"], found["sockets"]) == ("ok", "ipc", [])


def test_killed_client(who: Who, place: Path) -> None:
    """When the client is killed, the kernel ends with all that it has started."""
    play(who, place, "killed", -signal.SIGKILL)
    assert os.listdir(place / "work" / "data" / "kernels") == ["python3-nsbox"]
