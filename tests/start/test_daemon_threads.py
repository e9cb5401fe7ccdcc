"""Threads that still use nsbox when the interpreter ends do not abort the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.census import descendants, reap_adopted, wait_until

PROGRAM = """
import sys, threading, time, nsbox
box = nsbox.Box("mip")
def loop(use):
    while True:
        try:
            use()
        except Exception:
            pass
def scope():
    with nsbox.unshare("uts"):
        pass
def opened():
    with box.open("/proc/self/status") as file:
        file.read()
uses = dict(
    run=lambda: nsbox.run(["true"], unshare=""),
    pipes=lambda: nsbox.run(["true"], unshare="", capture_output=True),
    wait=lambda: nsbox.Popen(["sleep", "1000"], unshare="").wait(),
    error=lambda: nsbox.run(["true"], unshare="m", mount_proc="/nonexistent"),
    box=lambda: box.run(["true"]),
    open=opened,
    ps=nsbox.ps,
    scope=scope,
)
use = uses[sys.argv[1]]
for _ in range(8):
    threading.Thread(target=loop, args=(use,), daemon=True).start()
time.sleep(0.1)
print("end")
"""


def nothing_is_left() -> bool:
    """Reap what has ended, and return whether that is all."""
    reap_adopted()
    return not descendants()


@pytest.mark.parametrize("use", ["run", "pipes", "wait", "error", "box", "open", "ps", "scope"])
def test_the_interpreter_ends(use: str) -> None:
    """The process exits with 0, several times in a row: the abort depended on where the threads were."""
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, use], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
    # What the threads had started ends after its caller.
    assert wait_until(nothing_is_left)
