"""Run a real command and nsbox's command of the same name under the same conditions, and return the results."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from nsbox.cli import main

from tests.support import libc
from tests.support.forked import Who, become_user, fork

__all__ = ["Ended", "ours", "theirs"]


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: The exit status, negative for a signal.
        output: What it printed, with the numbers that differ every time replaced.
        error: What it printed to standard error.
    """

    status: int
    output: str
    error: str


def theirs(who: Who, *arguments: str, command: str = "unshare") -> Ended:
    """Return how the real command ended."""

    def run() -> NoReturn:
        # nsbox's command does this before its exec, too.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command, [command, *arguments])

    return _ended(who, run)


def ours(who: Who, *arguments: str, command: str = "unshare") -> Ended:
    """Return how nsbox's command ended, in this interpreter: another user could not start it."""
    return _ended(who, lambda: main([command, *arguments]))


def _ended(who: Who, run: Callable[[], int]) -> Ended:
    (reader, writer), (error_reader, error_writer) = os.pipe(), os.pipe()
    pid = fork()
    if pid == 0:
        _child(who, run, writer, error_writer)
    os.close(writer)
    os.close(error_writer)
    with open(reader, "rb") as out, open(error_reader, "rb") as err:
        output, error = out.read().decode(), err.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(status, _steady(output, pid), error)


def _child(who: Who, run: Callable[[], int], writer: int, error_writer: int) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(writer, 1)
    os.dup2(error_writer, 2)
    # Separate from pytest's capture, and from what is in the buffers of this process.
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    # Python puts it into its own environment in the C locale (PEP 538); no shell has it.
    os.environ.pop("LC_CTYPE", None)
    status = 99
    try:
        if not who.is_root:
            become_user(directory=".")
        # As after an exec.
        libc.prctl(libc.PR_SET_DUMPABLE, 1)
        status = run()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 98
    except BaseException as error:
        os.write(2, repr(error).encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _steady(text: str, pid: int) -> str:
    """Replace numbers that differ every time by names, in the lines that have such numbers."""

    def name(found: re.Match[str]) -> str:
        line = re.sub(rf"\b{pid}\b", "COMMAND", found[0])
        line = re.sub(rf"\b{os.getpid()}\b", "RUNNER", line)
        return re.sub(r"^pids: (?!1 )\d+", "pids: CHILD", line)

    text = re.sub(r"^(pids|session): .*", name, text, flags=re.MULTILINE)
    return re.sub(r"(pipe|socket):\[\d+\]", r"\1", text)
