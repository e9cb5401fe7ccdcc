"""A shell that is PID 1, controlled from Python through a terminal."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.census import descendants, wait_until
from tests.support.forked import Who, in_child
from tests.support.interrupt import interrupted

SHELLS = [path for path in (shutil.which("bash"), shutil.which("dash")) if path]


@pytest.fixture(params=SHELLS, ids=lambda path: Path(path).name)
def program(request: pytest.FixtureRequest) -> str:
    """Each installed shell; at least one exists, as sh."""
    return str(request.param)


def typed(program: str, *commands: str, **options: Any) -> list[nsbox.ShellResult]:
    """Type commands into a new shell and return the results."""
    with nsbox.Shell(shell=program, **options) as shell:
        return [shell.run(command) for command in commands]


def test_is_pid_1(who: Who, program: str) -> None:
    """The shell is PID 1, as after unshare -mipf."""
    (result,) = who(lambda: typed(program, "echo $$"))
    assert (result.stdout, result.returncode, result.pid) == ("1\n", 0, 1)


def test_mount_proc(who: Who, program: str) -> None:
    """/proc shows the host until a proc of the new PID namespace is mounted, which is not visible outside."""
    before = Path("/proc/self/mountinfo").read_text()
    listing = "echo /proc/[0-9]*"
    outer, mount, inner = who(lambda: typed(program, listing, "mount -t proc none /proc", listing))
    assert len(outer.stdout.split()) > len(inner.stdout.split())
    assert mount.returncode == 0
    assert inner.stdout.split()[0] == "/proc/1"
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.parametrize(
    ("command", "stdout", "returncode"),
    [
        ("true", "", 0),
        ("false", "", 1),
        ("printf abc", "abc", 0),
        ("echo a\necho b >&2", "a\nb\n", 0),
        ("(exit 7)", "", 7),
        ("# a comment", "", 0),
        ('echo "no!history"', "no!history\n", 0),
        ("", "", 0),
        ("printf '\\351'", "\udce9", 0),
        ("printf 'x\\ny\\n'", "x\ny\n", 0),
        ("kill -9 $(sh -c 'echo $PPID') 2>/dev/null; echo alive", "alive\n", 0),
    ],
)
def test_output_is_exact(program: str, command: str, stdout: str, returncode: int) -> None:
    """The output of a command is exact, with or without a final newline, and contains nothing else."""
    (result,) = typed(program, command)
    assert (result.stdout, result.returncode) == (stdout, returncode)


def test_state_lasts(program: str) -> None:
    """All commands run in one shell."""
    results = typed(program, "x=5; cd /", "echo $x $PWD")
    assert results[1].stdout == "5 /\n"


def test_nested_shell_is_followed(program: str) -> None:
    """The PID with each result shows which shell has executed the command."""
    outer, nested, back = typed(
        program, "mount -t proc none /proc", "sh -c 'exec sh -i'\necho $$", "exit 3", unshare="mip"
    )
    assert (outer.pid, back.pid) == (1, 1)
    assert nested.pid not in (1, None)
    assert back.returncode == 3


def test_two_pids(who: Who) -> None:
    """The shell has one PID inside and another outside."""

    def act() -> tuple[int, int, str]:
        with nsbox.Shell("mip") as shell:
            return shell.pid, shell.pid_inside, Path(f"/proc/{shell.pid}/status").read_text()

    outside, inside, status = who(act)
    assert inside == 1
    assert f"NSpid:\t{outside}\t1\n" in status


def test_without_fork_it_is_broken(who: Who, program: str) -> None:
    """Without fork the second command cannot be started, and the result says that memory is not the reason."""
    own, first, second = who(lambda: typed(program, "echo $$", "uname", "uname", fork=False))
    assert own.stdout.strip() != "1"
    assert (first.returncode, first.explanation) == (0, None)
    assert "ork" in second.stdout
    assert second.explanation is not None
    assert "PID 1" in second.explanation


def test_exit(program: str) -> None:
    """The exit status is the shell's, and nothing is left."""
    shell = nsbox.Shell(shell=program)
    shell.run("sleep 600 &")
    pid = shell.pid
    assert shell.exit() == 0
    assert not shell.alive
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(nsbox.ClosedError):
        shell.run("true")
    assert shell.exit() == 0


def test_exit_typed(program: str) -> None:
    """If a command ends the shell, the error has the exit status."""
    with nsbox.Shell(shell=program) as shell:
        result = shell.run("exit 4")
        assert (result.returncode, result.pid, shell.returncode) == (4, None, 4)


@pytest.mark.parametrize("command", ["echo begun; sleep 600", "cat", "if true"])
def test_timeout_interrupts(program: str, command: str) -> None:
    """A timeout interrupts the command, as Ctrl-C does, and the shell lives on."""
    with nsbox.Shell(shell=program) as shell:
        # On a busy machine the command may not start within the first timeouts.
        for seconds in (0.3, 3, 30):
            with pytest.raises(subprocess.TimeoutExpired) as caught:
                shell.run(command, timeout=seconds)
            if "begun" in str(caught.value.output) or not command.startswith("echo"):
                break
        assert ("begun" in str(caught.value.output)) == command.startswith("echo")
        assert shell.run("echo on").stdout == "on\n"


def test_timeout_kills_what_cannot_be_interrupted() -> None:
    """A shell that ignores Ctrl-C is killed with all that it has started."""
    with nsbox.Shell() as shell:
        with pytest.raises(subprocess.TimeoutExpired):
            shell.run("trap '' INT; while :; do :; done", timeout=0.3)
        assert not shell.alive


def test_interrupt_keeps_the_shell() -> None:
    """KeyboardInterrupt interrupts the command and is raised in the caller."""

    def act() -> str:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with nsbox.Shell() as shell:
            # The shell has a child only while the command runs.
            with pytest.raises(KeyboardInterrupt), interrupted(lambda: len(descendants(shell.pid)) == 1):
                shell.run("sleep 600")
            return shell.run("echo on").stdout

    assert in_child(act) == "on\n"


def test_check() -> None:
    """With check=True a failing command raises an error."""
    with nsbox.Shell() as shell, pytest.raises(subprocess.CalledProcessError) as caught:
        shell.run("echo said; exit_with() { return 9; }; exit_with", check=True)
    assert (caught.value.returncode, caught.value.output) == (9, "said\n")


@pytest.mark.parametrize("command", ["a\0b", "x" * 4096])
def test_commands_beyond_the_terminals_limits(command: str) -> None:
    """Commands that exceed a terminal's limits are refused before anything is typed."""
    with nsbox.Shell() as shell:
        with pytest.raises(nsbox.SpecError, match="command"):
            shell.run(command)
        assert shell.run("echo on").stdout == "on\n"


def test_init_makes_no_sense() -> None:
    """init= is refused, as the shell itself is PID 1."""
    with pytest.raises(nsbox.SpecError, match="init"):
        nsbox.Shell(init=True)


def test_missing_program() -> None:
    """A missing program raises the error of subprocess, and no terminal is left."""
    with pytest.raises(FileNotFoundError, match="no-such-shell"):
        nsbox.Shell(shell="/no-such-shell")


@pytest.mark.parametrize("end", [lambda shell: shell.__del__(), lambda shell: os.kill(shell.pid, signal.SIGKILL)])
def test_forgotten_or_killed(end: Callable[[nsbox.Shell], object]) -> None:
    """The shell ends with its object, and the object notices that the shell has ended."""
    shell = nsbox.Shell()
    pid = shell.pid
    if end.__code__.co_names == ("__del__",):
        with pytest.warns(ResourceWarning, match="was not closed"):
            end(shell)
    else:
        end(shell)
        assert shell.run("echo never").pid is None
        shell.exit()
    del shell
    gc.collect()
    assert wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_output_is_passed_on_while_it_runs(who: Who, program: str) -> None:
    """Output is passed on before the command ends, in whole characters, without the marks."""

    def watched() -> tuple[list[str], str, bool]:
        pieces: list[str] = []
        with nsbox.Shell(shell=program) as shell:

            def note(piece: str) -> None:
                pieces.append(piece)
                if "".join(pieces) == "first\n":
                    # Only this callback can end the command now.
                    Path(fifo).write_text("go\n")

            fifo = f"/tmp/nsbox-test-{os.getpid()}-fifo"
            os.mkfifo(fifo)
            try:
                result = shell.run(
                    f"echo first; read line < {fifo}; printf '\\303'; printf '\\244%s' $line", output=note
                )
            finally:
                os.unlink(fifo)
            return pieces, result.stdout, shell.run("echo over", output=note).stdout == "over\n"

    pieces, stdout, goes_on = who(watched)
    assert pieces[0] == "first\n"
    assert "".join(pieces) == stdout + "over\n" == "first\nägoover\n"
    assert goes_on


def test_an_interrupt_kills_a_command_that_ignores_it(who: Who, program: str) -> None:
    """The shell keeps its directory, and a late mark is not taken for one of the next command."""

    def interrupted() -> tuple[list[str], list[str]]:
        with nsbox.Shell(shell=program) as shell:
            shell.run("cd /usr")
            for command in ("sleep 1000", "sh -c 'trap \"\" INT; sleep 1000; sleep 1000'", "cat"):
                with pytest.raises(subprocess.TimeoutExpired):
                    shell.run(command, timeout=0.3)
            left = [process.name for process in nsbox.ps() if process.ppid == shell.pid]
            return left, [shell.run(command).stdout for command in ("pwd", "echo a", "echo b")]

    assert who(interrupted) == ([], ["/usr\n", "a\n", "b\n"])


def test_more_input_than_the_terminal_buffers(who: Who) -> None:
    """A long script is typed while its output is read, so that neither side blocks the other."""

    def use() -> list[str]:
        with nsbox.Shell("mip") as shell:
            return shell.run("\n".join(f"echo {number} {'x' * 200}" for number in range(2000))).stdout.splitlines()

    assert who(use) == [f"{number} {'x' * 200}" for number in range(2000)]


def test_timeout_before_everything_is_typed(who: Who) -> None:
    """Input that the terminal has buffered is discarded, and the shell can be used."""

    def use() -> str:
        with nsbox.Shell("mip") as shell:
            for _ in range(2):
                with pytest.raises(subprocess.TimeoutExpired):
                    shell.run("sleep 1000 < /dev/null\n" + "echo no\n" * 3000, timeout=0.5)
            return shell.run("echo yes").stdout

    assert who(use) == "yes\n"


def test_with_many_descriptors() -> None:
    """More than 1023 descriptors work, unlike with select(2)."""

    def use() -> str:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1100, 1100))
        kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(1060)]
        with nsbox.Shell("mip") as shell:
            assert max(kept) < shell._terminal.fileno()
            return shell.run("echo yes").stdout

    assert in_child(use) == "yes\n"
