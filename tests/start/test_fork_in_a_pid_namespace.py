"""A child of fork does not take what its parent has started for its own, even if both are PID 1 of a PID namespace."""

from __future__ import annotations

import ctypes
import os
import sys

import nsbox
from nsbox import _core, raw

from tests.support.forked import Who, in_child

PROGRAM = """
import os, sys, nsbox
assert os.getpid() == 1
box = nsbox.Box("mip")
popen = nsbox.Popen(["sleep", "1000"], unshare="mip")
shell = nsbox.Shell("mip")
executor = nsbox.Executor(1)
executor.submit(int, "3").result()
with nsbox.unshare("pid"):
    pid = os.fork()
    if pid == 0:
        assert os.getpid() == 1
        refused = []
        for use in (lambda: box.run(["true"]), lambda: executor.submit(int), popen._child.wait, lambda: box.events):
            try:
                use()
            except (nsbox.ClosedError, ChildProcessError) as error:
                refused.append(type(error).__name__)
        print(refused, box._handle.is_own, popen._child.is_own, shell.alive, flush=True)
        del box, popen, shell
        sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(box.alive, popen.poll(), shell.run("echo $$").stdout.strip(), executor.submit(int, "4").result())
executor.shutdown()
shell.exit()
popen.kill()
box.close()
"""


def test_both_are_pid_1() -> None:
    """The child can use nothing of its parent, ends by itself, and leaves everything running."""
    program = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    result = nsbox.run(program, init=False, mount_proc=True, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "['ClosedError', 'ClosedError', 'ChildProcessError', 'ClosedError'] False False False",
        "7",
        "True None 1 4",
    ]


def test_the_number_of_a_process(who: Who) -> None:
    """Every copy of a process has another number than those that it is a copy of: by fork(2) and by clone3(2)."""

    def use() -> tuple[bool, bool, bool]:
        ours = _core.this_process()
        child = in_child(lambda: (_core.this_process(), in_child(_core.this_process)))
        same = _core.this_process() == ours
        reader, writer = os.pipe()
        pid, _ = raw.clone3()
        if pid == 0:
            os.write(writer, str(_core.this_process()).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        cloned = int(os.read(reader, 100))
        os.close(reader)
        os.close(writer)
        return same, len({ours, *child}) == 3, cloned != ours

    assert who(lambda: in_child(use)) == (True, True, True)


def test_a_fork_of_the_c_library() -> None:
    """A fork that Python does not know of is told apart, too."""
    ours = _core.this_process()
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        os._exit(_core.this_process() == ours)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
