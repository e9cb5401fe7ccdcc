"""The tree of `real_tree`, running in PID and mount namespaces of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nsbox.seeing.processes import ps

__all__ = ["ancestor_box", "box", "plain_box"]


@pytest.fixture(scope="module")
def box() -> Iterator[int]:
    """Build the tree; return the PID of its first process."""
    with _running("hard", "ancestor") as pid:
        yield pid


@pytest.fixture(scope="module")
def plain_box() -> Iterator[int]:
    """Build the tree without the names and namespaces that some versions of lsns cannot handle or do not see."""
    with _running() as pid:
        yield pid


@pytest.fixture(scope="module")
def ancestor_box() -> Iterator[int]:
    """Build the tree of `plain_box` with a namespace that is kept alive by a descendant."""
    with _running("ancestor") as pid:
        yield pid


@contextlib.contextmanager
def _running(*arguments: str) -> Iterator[int]:
    if os.geteuid() != 0:
        pytest.skip("a tree with several users can only be made by root")
    program = Path(__file__).with_name("real_tree.py")
    namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = ["unshare", *namespaces, sys.executable, "-S", str(program), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            (init,) = [process for process in ps() if process.ppid == running.pid]
            yield init.pid
        finally:
            running.kill()
            running.wait()
            # Its child dies with it. Where the test process adopts orphans, it must reap that child.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(init.pid, 0)
