"""The command `nsbox run`."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.needs import needs_root
from tests.support.rootfs import Rootfs

RUN = [sys.executable, "-m", "nsbox", "run"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run([*RUN, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_default() -> None:
    """By default mount, ipc and pid namespaces are new, with a proc that shows them, and an init."""
    done = run("sh", "-c", "echo $$ $PPID; tr '\\0' ' ' < /proc/1/cmdline; exit 7")
    assert done.returncode == 7
    pid, parent = done.stdout.splitlines()[0].split()
    assert (parent, pid != "1") == ("1", True)
    assert "nsbox-init" in done.stdout


@needs_root
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["true"], 0), (["false"], 1), (["/nonexistent"], 127), (["/etc/passwd"], 126), ([], 1), (["--bogus"], 1),
        (["--fork", "true"], 1), (["-m", "--root=/srv", "true"], 127), (["--root=/nonexistent", "true"], 1),
        (["--uts=/tmp/x", "true"], 1),
        (["--timeout=abc", "true"], 1), (["--timeout=-1", "true"], 1), (["--help"], 0), (["--version"], 0),
        (["sh", "-c", "kill -TERM $$"], -signal.SIGTERM), (["sh", "-c", "kill -KILL $$"], -signal.SIGKILL),
        (["--timeout=0.2", "sleep", "30"], 124), (["-r", "-w", "/usr", "sh", "-c", 'test "$(id -u):$PWD" = 0:/usr'], 0),
        (["-S", "5", "-G", "6", "sh", "-c", 'test "$(id -u):$(id -G)" = 5:6'], 0),
        (["-u", "sh", "-c", "test ! -e /proc/1/root/nonexistent"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_status(arguments: list[str], status: int) -> None:
    """The status is the program's, or 1, 124, 126, 127; a signal that ends the program ends the command too."""
    done = run(*arguments)
    assert done.returncode == status, done.stderr
    assert bool(done.stderr) is (status in (1, 124, 126, 127) and arguments != ["false"])


def test_help_lists_only_what_works() -> None:
    """Options of unshare(1) that have no meaning here are not offered, and a namespace takes no file."""
    text = run("--help").stdout
    assert "--mount " in text
    assert not [line for line in text.splitlines() if "=FILE" in line or "not supported" in line]


def test_a_timeout_is_reported() -> None:
    """The message names the limit, in seconds."""
    done = run("--timeout=0.2", "sleep", "30")
    assert (done.returncode, done.stdout) == (124, "")
    assert done.stderr == "nsbox run: killed after 0.2 s, with everything that it has started\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_forwarded(number: signal.Signals) -> None:
    """The program receives the signal, and its handler decides."""
    script = f"trap 'echo had it; exit 9' {number.name[3:]}; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen([*RUN, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "had it\n"
    assert process.returncode == 9


def test_a_signal_while_it_starts() -> None:
    """The signal is forwarded as soon as the program exists."""
    for delay in (0.02, 0.05, 0.08, 0.11):
        with subprocess.Popen([*RUN, "sleep", "30"]) as process:
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
        # Before Python has started, the signal itself ends the command; afterwards the program's death does.
        assert process.returncode == -signal.SIGTERM


def test_nothing_is_left_behind() -> None:
    """No process is left, also if the command is killed."""
    script = "setsid sleep 1000 & echo ready; sleep 1000"
    with subprocess.Popen([*RUN, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
        # The daemon keeps the pipe open as well: end of file means that all have ended.
        assert process.stdout.read() == ""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break


@needs_root
def test_root(place: Path) -> None:
    """With --root the program is looked up in it, and /proc is that of the new PID namespace."""
    rootfs = Rootfs.make(place)
    binds = "; ".join(
        f"mount --bind {os.fsdecode(bind.source)} {rootfs.path}{os.fsdecode(bind.source)}" for bind in rootfs.mounts
    )
    look = "pwd; cat /etc/marker; echo /proc/[0-9]*"
    options = [f"--root={rootfs.path}", "-mp", "--mount-proc", "-w/tmp"]
    script = f"{binds}; {shlex.join([*RUN, *options, 'sh', '-c', look])}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "/tmp\nin the box\n/proc/1 /proc/2\n", done.stderr


def test_environment() -> None:
    """--clear-env and --whitelist-env select the variables."""
    os_path = os.environ["PATH"]
    assert run("--clear-env", "/usr/bin/env").stdout == ""
    assert run("--whitelist-env=PATH", "env").stdout == f"PATH={os_path}\n"


@needs_root
def test_ranges() -> None:
    """--map-users and --map-groups map ranges."""
    done = run(
        "-mp", "--map-users=0:0:5", "--map-groups=0:0:7", "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map"
    )
    assert [line.split() for line in done.stdout.splitlines()] == [["0", "0", "5"], ["0", "0", "7"]], done.stderr


def test_max_output() -> None:
    """More bytes than allowed, on either stream, kill everything; or the rest is dropped."""
    for stream in ("1", "2"):
        done = run("--max-output", "5", "sh", "-c", f"exec >&{stream}; printf 123456; sleep 1000")
        assert done.returncode == 125
        assert (done.stdout, done.stderr)[stream == "2"].startswith("12345")
        assert "has written more than 5 bytes; everything was killed" in done.stderr
        assert "6" not in done.stdout
    done = run("--max-output", "5,truncate", "sh", "-c", "yes 2> /dev/null | head -c 5000000; echo end >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "y\ny\ny")
    assert "has written more than 5 bytes; the rest was dropped" in done.stderr
    done = run("--max-output", "9", "sh", "-c", "cat; printf out; printf err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out", "err")
    for wrong in ("x", "-1", "5,cut", ""):
        assert run("--max-output", wrong, "true").returncode == 1


def test_max_output_of_what_nobody_reads() -> None:
    """If the reader of the output has gone, the program gets SIGPIPE, as without the option."""
    command = shlex.join([*RUN, "--max-output", "100000000", "yes"])
    done = subprocess.run(f"{command} | head -n 1", shell=True, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "y\n"


def test_max_output_and_a_timeout() -> None:
    """Both together: the timeout kills a program that writes little."""
    done = run("--max-output", "100", "--timeout", "0.3", "sh", "-c", "echo early; sleep 1000")
    assert (done.returncode, done.stdout) == (124, "early\n")


def test_options_of_spec() -> None:
    """--option gives any option of `nsbox.Spec`, as JSON or plain text."""
    script = "ulimit -n; cat /proc/sys/kernel/hostname"
    options = ["--option", 'rlimits={"nofile": 77}', "--option", "hostname=lab", "-u"]
    assert run(*options, "sh", "-c", script).stdout == "77\nlab\n"
    mounts = '[{"type": "tmpfs", "target": "/mnt"}, {"type": "bind", "source": "/usr", "target": "/mnt/usr"}]'
    assert "bin" in run("-mp", "--option", f"mounts={mounts}", "ls", "/mnt/usr").stdout
    for wrong, text in (("nonsense=1", "no option"), ("nonsense", "NAME=VALUE"), ("mounts=1", "expected a list"),
                        ("fork=maybe", "fork: ")):  # fmt: skip
        done = run("--option", wrong, "true")
        assert done.returncode == 1
        assert text in done.stderr


def test_help_fits() -> None:
    """No line of the help is longer than 80 characters."""
    assert max(map(len, run("--help").stdout.splitlines())) <= 80
