"""Processes whose namespaces are joined: made by unshare(1) and by nsbox, by root and by an ordinary user."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.census import wait_until
from tests.support.forked import USER
from tests.support.rootfs import Rootfs

__all__ = ["KINDS", "running"]

_WAIT = "echo ready; exec sleep 1000"
# Only for those with a UTS namespace of their own: otherwise it would change the machine's host name.
_NAMED = f"hostname lab 2> /dev/null; {_WAIT}"

KINDS = {
    "all": ["-mipunCTf", "--mount-proc", "--boottime=100"],
    "mapped": ["-rmipunCTf", "--mount-proc"],
    "users": ["-rmipunCTf", "--mount-proc"],
    "seven": ["--map-user=7", "--map-group=8", "-ui"],
    "plain": None,
    "rooted": None,
    "box": None,
}
"""The kinds of targets, with the options of unshare(1) for those that it makes."""


@contextlib.contextmanager
def running(kind: str) -> Iterator[int]:
    """Return the PID of a process of that kind."""
    if os.geteuid() != 0:
        pytest.skip("processes of several users can only be made by root")
    options = KINDS[kind]
    if kind == "box":
        with nsbox.Box(unshare="mipun", hostname="lab") as box, box.Popen(["sleep", "1000"]) as process:
            try:
                yield process.pid
            finally:
                process.kill()
        return
    if kind == "rooted":
        with tempfile.TemporaryDirectory(prefix="nsbox-test-") as place:
            Path(place).chmod(0o755)
            rootfs = Rootfs.make(Path(place))
            with nsbox.Popen(["sleep", "1000"], unshare="mu", cwd="/data", **rootfs.options()) as process:
                try:
                    yield process.pid
                finally:
                    process.kill()
        return
    whose: dict[str, Any] = {}
    if kind in ("users", "seven"):
        whose = {"user": USER, "group": USER, "extra_groups": []}
    command = ["sh", "-c", _WAIT] if options is None else ["unshare", *options, "sh", "-c", _NAMED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/usr", **whose) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == b"ready\n"
            pid = started.pid
            if options is not None and any("f" in option for option in options if not option.startswith("--")):
                pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
            # A census contains the names of processes: this process has its final name now.
            wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
            started.kill()
            started.wait()
            # Where the test process adopts orphans, it becomes the parent of unshare's child.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
