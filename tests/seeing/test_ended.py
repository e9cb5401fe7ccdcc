"""What has ended: every reader raises nsbox's own error, with the reason, and not what some file in /proc gave."""

from __future__ import annotations

import subprocess
import traceback
from collections.abc import Callable
from typing import Any

import nsbox

from tests.support.census import wait_until
from tests.support.forked import Who


def observed(target: Any) -> None:
    with nsbox.observe(of=target):
        pass


def joined(target: Any) -> None:
    with nsbox.setns(target, "mount"):
        pass


READERS: dict[str, Callable[[Any], Any]] = {
    "ps": lambda target: nsbox.ps(of=target),
    "ps, view proc": lambda target: nsbox.ps(of=target, view="proc"),
    "pstree": nsbox.pstree,
    "pstree of": lambda target: nsbox.pstree(of=target),
    "lsns": lambda target: nsbox.lsns(of=target),
    "mounts": nsbox.mounts,
    "ipcs": nsbox.ipcs,
    "snapshot": nsbox.snapshot,
    "observe": observed,
    "compare": nsbox.compare,
    "compare two": lambda target: nsbox.compare(target, target),
    "same_namespace": lambda target: nsbox.same_namespace(target, target, "pid"),
    "namespaces_of": nsbox.namespaces_of,
    "enter": lambda target: nsbox.enter(target, "mount", ["true"]),
    "setns": joined,
}


def errors(target: Any, *left_out: str) -> dict[str, tuple[type[BaseException], str, int]]:
    """Return what each reader raises, and the number of frames in its traceback below this file."""
    found: dict[str, tuple[type[BaseException], str, int]] = {}
    for name in READERS.keys() - set(left_out):
        try:
            READERS[name](target)
        except Exception as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
            found[name] = type(error), str(error), len(frames)
        else:
            found[name] = AssertionError, "no error", 0
    return found


def test_every_reader(who: Who) -> None:
    """Of a shell, a program, a box and a bare PID, all dead, and of a zombie."""

    def act() -> dict[str, Any]:
        found: dict[str, Any] = {}
        shell = nsbox.Shell("mip")
        number = shell.pid
        shell.run("exit 3")
        found["shell"] = errors(shell)
        program = nsbox.Popen(["sleep", "1000"], unshare="mip")
        program.kill()
        program.wait()
        found["program"] = errors(program)
        box = nsbox.Box("mip")
        box.close()
        found["box"] = errors(box)
        assert wait_until(lambda: subprocess.run(["kill", "-0", str(number)], stderr=-3, check=False).returncode != 0)
        found["pid"] = errors(number)
        zombie = subprocess.Popen(["true"])
        assert wait_until(lambda: nsbox.ps(pids=[zombie.pid])[0].state == "Z")
        # What is still known of a zombie is its place in the tree, and no mount namespace.
        found["zombie"] = errors(zombie, "pstree", "namespaces_of", "enter", "setns")
        zombie.wait()
        return found

    found = who(act)
    for name, raised in found.items():
        for reader, (kind, text, frames) in raised.items():
            where = name, reader, kind, text
            if name == "zombie" and kind is AssertionError:
                continue  # root may still read some of its namespaces
            assert issubclass(kind, nsbox.NsboxError), where
            assert "ended" in text or "no such process" in text or "(any more)" in text, where
            if reader not in ("enter", "setns"):
                assert issubclass(kind, nsbox.ProcessEndedError), where
                assert frames <= (4 if reader in ("observe", "same_namespace") else 2), where
    assert found["shell"]["mounts"][1].endswith(" has ended with exit status 3")
    assert found["program"]["ipcs"][1].endswith(" has ended, killed by SIGKILL")
    assert found["box"]["compare"][1].endswith(" has ended, killed by SIGKILL")
    assert "of: no process has the PID " in found["pid"]["lsns"][1]
    assert "it is a zombie until its parent waits for it (wait(2))" in found["zombie"]["mounts"][1]
