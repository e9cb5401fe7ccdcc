"""No command and no shell can keep a caller waiting beyond its timeout."""

from __future__ import annotations

import os
import signal
import subprocess

import nsbox
import pytest

from tests.support.census import wait_until
from tests.support.forked import Who


@pytest.mark.parametrize("within", ["namespaces", "a box"])
def test_endless_output(who: Who, within: str) -> None:
    """A command that never stops writing ends with its timeout; the shell is ready for the next command."""

    def use() -> tuple[bool, str]:
        with nsbox.Box("mip") as box, box.shell() if within == "a box" else nsbox.Shell("mip") as shell:
            with pytest.raises(subprocess.TimeoutExpired) as caught:
                shell.run("yes", timeout=0.5)
            return (caught.value.output or "").startswith("y\ny\n"), shell.run("echo alive").stdout

    assert who(use) == (True, "alive\n")


def test_endless_output_that_is_passed_on(who: Who) -> None:
    """The same if the output is passed on while the command runs."""

    def use() -> str:
        pieces: list[str] = []
        with nsbox.Shell("mip") as shell:
            with pytest.raises(subprocess.TimeoutExpired):
                shell.run("yes", timeout=0.5, output=pieces.append)
            return "".join(pieces)[:4]

    assert who(use) == "y\ny\n"


def test_endless_output_that_ignores_interrupts(who: Who) -> None:
    """A command that ignores Ctrl-C and never stops writing is killed."""

    def use() -> str:
        with nsbox.Shell("mip") as shell:
            with pytest.raises(subprocess.TimeoutExpired):
                shell.run("(trap '' INT; while :; do echo y; done)", timeout=0.5)
            return shell.run("echo alive").stdout if shell.alive else "killed"

    assert who(use) in ("alive\n", "killed")


def test_closed_terminal(who: Who) -> None:
    """A shell that closes its terminal and runs on is killed after the timeout."""

    def use() -> bool:
        with nsbox.Shell("mip") as shell:
            with pytest.raises(subprocess.TimeoutExpired):
                shell.run("exec sleep 1000 <&- >&- 2>&-", timeout=0.5)
            return shell.alive

    assert who(use) is False


def test_killed_shell_is_not_alive(who: Who) -> None:
    """A shell that was killed from outside is not alive, and says so before a command is typed."""

    def use() -> int | None:
        with nsbox.Shell("mip") as shell:
            signal.pidfd_send_signal(shell.pidfd, signal.SIGKILL)
            assert wait_until(lambda: not shell.alive)
            with pytest.raises(nsbox.ClosedError):
                shell.run("echo")
            return shell.returncode

    assert who(use) == -signal.SIGKILL


def test_the_terminal_of_a_shell_that_exits(who: Who) -> None:
    """A shell that has exited and was not closed leaves no descriptor."""

    def use() -> bool:
        nsbox.Shell("mip").exit()
        before = sorted(os.listdir("/proc/self/fd"))
        shell = nsbox.Shell("mip")
        shell.run("exit")
        del shell
        return sorted(os.listdir("/proc/self/fd")) == before

    assert who(use)


def test_output_limit_kills(who: Who) -> None:
    """After too much output the command is interrupted; the error has the output up to the limit."""

    def use() -> tuple[int, str]:
        with nsbox.Shell("mip") as shell:
            with pytest.raises(nsbox.OutputLimitError, match="more than 10000 bytes") as caught:
                shell.run("yes", timeout=None, max_output=10_000)
            assert caught.value.cmd == "yes"
            return len(caught.value.output), shell.run("echo alive").stdout

    assert who(use) == (10_000, "alive\n")


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 5000])
def test_output_limit_truncates(length: int) -> None:
    """The rest is dropped; exactly the limit is not too much. The status and the next command are not affected."""
    with nsbox.Shell("mip") as shell:
        limit = nsbox.OutputLimit(100, "truncate")
        result = shell.run(f"head -c {length} /dev/zero | tr '\\0' x; (exit 3)", max_output=limit)
        assert (result.stdout, result.returncode) == ("x" * min(length, 100), 3)
        assert result.truncated == (length > 100)
        assert not shell.run("echo", max_output=limit).truncated


def test_a_signal_handler_that_raises_an_oserror(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed on, and not taken for the end of the terminal."""

    def interrupted(*_: object) -> bytes:
        raise TimeoutError("raised by a signal handler")

    with nsbox.Shell("pU") as shell:
        shell._type("echo typed\n")
        with monkeypatch.context() as patch:
            patch.setattr(os, "read", interrupted)
            with pytest.raises(TimeoutError, match="by a signal handler"):
                shell._read(None)
