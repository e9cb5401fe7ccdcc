"""Titles that processes set for themselves, as setproctitle does: they are shown without what pads them."""

from __future__ import annotations

import subprocess
import sys

import nsbox
import pytest
from nsbox.records.processes import unpadded

from tests.support.forked import Who

SET_TITLE = """
import os, sys, time
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end (proc_pid_stat(5))
with open("/proc/self/mem", "r+b", buffering=0) as memory:
    memory.seek(start)
    memory.write(b"worker: idle".ljust(end - start - 1, bytes([int(sys.argv[1])])) + bytes(1))
print("set", flush=True)
time.sleep(1000)
"""


def test_a_title_is_shown_without_its_padding() -> None:
    """With null bytes, as most programs do, and with blanks."""
    for pad in ("0", "32"):
        command = ["unshare", "-r", sys.executable, "-c", SET_TITLE, pad]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "set\n"
            (record,) = nsbox.ps(pids=[process.pid])
            tree = nsbox.pstree(process.pid, threads=False, ns_changes=False).text(arguments=True)
            (user,) = nsbox.lsns(kinds="user").of_process(process.pid)
            process.kill()
        assert record.command == "worker: idle"
        assert tree.split(",")[0] == record.name
        assert tree == tree.rstrip()
        assert user.command == b"worker: idle"
        assert len(b" ".join(record.cmdline)) > len(b"worker: idle")


@pytest.mark.pure
def test_arguments_stay() -> None:
    """Only what is at the end is padding; a program may have been given empty arguments and blanks."""
    assert unpadded((b"a ", b"", b"b ")) == (b"a ", b"", b"b ")
    assert unpadded((b"title   ",)) == unpadded((b"title", b"", b"")) == (b"title",)
    assert unpadded((b"",)) == unpadded(()) == ()


def test_a_user_sees_it_too(who: Who) -> None:
    """Empty arguments at the end are bytes like those of a padded title."""

    def act() -> str:
        with nsbox.Box("mip") as box, box.Popen(["sh", "-c", "sleep 1000; :", "a b", "", ""]) as process:
            text = box.pstree().text(arguments=True)
            process.kill()
            return text

    assert "sh -c sleep 1000; : a b\n" in who(act) + "\n"
