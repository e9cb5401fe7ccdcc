"""Functions that tests call inside a box. The module imports nothing else, and its functions are pickled by name."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

__all__ = [
    "OddError",
    "PickledError",
    "announce_and_wait",
    "chatter",
    "confuse",
    "crowd",
    "die",
    "fork_twice",
    "identity",
    "leave_behind",
    "linger",
    "links",
    "locked",
    "numbers",
    "raise_it",
    "say",
    "siblings",
    "state",
    "status",
    "wait_for",
]

KEPT: list[int] = []


class OddError(Exception):
    """Pickles, but cannot be unpickled: its constructor takes other arguments than it keeps."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class PickledError(Exception):
    """Pickles, and is no data, as it has a function that would run in the caller."""

    def __str__(self) -> str:
        return f"{self.args[0]}"


def identity(*args: Any, **kwargs: Any) -> Any:
    """Return the arguments."""
    return args, kwargs


def numbers() -> tuple[int, int]:
    """Return the PID and the parent PID."""
    return os.getpid(), os.getppid()


def links(kinds: list[str]) -> dict[str, str]:
    """Return the namespaces of this process."""
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}


def links_together(kinds: list[str], place: str, count: int) -> dict[str, str]:
    """Return the namespaces once `count` processes exist together: later ones may reuse inodes of ended ones."""
    found = links(kinds)
    Path(place, f"here-{found['pid'][5:-1]}").touch()
    while sum(name.startswith("here-") for name in os.listdir(place)) < count:
        time.sleep(0.01)
    return found


def read(*paths: str) -> tuple[str, ...]:
    """Return the contents of files."""
    return tuple(Path(path).read_text() for path in paths)


def status() -> str:
    """Return this process's /proc/self/status."""
    return Path("/proc/self/status").read_text()


def state(number: int) -> list[int]:
    """Append to a global list and return it."""
    KEPT.append(number)
    return KEPT


def say(text: str) -> None:
    """Print in five ways."""
    print(text, "print")
    print(text, "error", file=sys.stderr)
    sys.stdout.write(f"{text} without newline ")
    sys.stdout.flush()
    os.write(1, f"{text} write\n".encode())
    subprocess.run(["sh", "-c", f"echo {text} program; echo {text} program error >&2"], check=True)
    print(text, "ünïcödé \U0001f40d")


def announce_and_wait(path: str) -> str:
    """Print something, and wait until the reader has created the file."""
    print("waiting for the reader")
    return wait_for(path)


def wait_for(path: str) -> str:
    """Wait until a file exists."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return "it is there"


def chatter() -> NoReturn:
    """Print for ever."""
    while True:
        print("x" * 1000)


def raise_it(error: BaseException) -> NoReturn:
    """Raise the given error."""
    raise error


def die(how: int) -> None:
    """End the process: by a signal, or for negative numbers by that exit status."""
    if how < 0:
        os._exit(-how)
    os.kill(os.getpid(), how)
    time.sleep(60)


def confuse() -> None:
    """Redirect and close the standard streams and change the directory, as a function should not."""
    print("before")
    os.chdir("/proc")
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    print("into the void")
    sys.stdout.close()
    sys.stdout = sys.stderr = io.StringIO()
    print("into a stream that is discarded")
    for number in range(3):
        os.close(number)


def fork_twice() -> str:
    """Fork, so that the call returns twice."""
    return "child" if os.fork() == 0 else "parent"


def leave_behind(signal_number: int = 0) -> list[int]:
    """Start a program in a new session and a forked child that keeps all descriptors; then perhaps die."""
    program = subprocess.Popen(["setsid", "sleep", "1000"])
    forked = os.fork()
    if forked == 0:
        time.sleep(1000)
        os._exit(0)
    if signal_number:
        os.kill(os.getpid(), signal_number)
    program.returncode = 0  # this prevents the ResourceWarning
    return [program.pid, forked]


def crowd() -> NoReturn:
    """Start processes until the limit is reached."""
    while True:
        program = subprocess.Popen(["sleep", "1000"])
        program.returncode = 0


def threads() -> NoReturn:
    """Start threads until the limit is reached."""
    while True:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()


def locked() -> str:
    """Ignore SIGTERM and SIGINT, and sleep."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(1000)
    return "woken"


def eat(megabytes: int) -> int:
    """Use this much memory, and be the first process that the kernel kills for it, rather than the caller."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    return len([bytearray(b"x" * (1 << 20)) for _ in range(megabytes)])


def leave_behind_and_sleep(place: str) -> str:
    """Start daemons, create a file when this is done, and ignore all signals that can be ignored."""
    leave_behind()
    Path(place, "begun").touch()
    return locked()


def call(function: Any) -> Any:
    """Call a function without arguments."""
    return function()


def greet() -> str:
    """Print a line."""
    print("hello")
    print("error", file=sys.stderr)
    return "greeted"


def divide() -> float:
    """Raise an ordinary exception."""
    return 1 / 0


def exit_with_3() -> NoReturn:
    """End the process with status 3."""
    os._exit(3)


def kill_itself() -> None:
    """End the process by a signal."""
    die(signal.SIGTERM)


def too_much() -> bytearray:
    """Ask for more memory than the machine has."""
    return bytearray(1 << 60)


def would_block() -> NoReturn:
    """Raise EAGAIN, as a read that would block does. Too many processes give the same error number."""
    raise BlockingIOError(errno.EAGAIN, "nothing there")


def time_out_itself() -> NoReturn:
    """Raise an error that looks like a timeout."""
    raise TimeoutError("mine")


def unpicklable() -> Any:
    """Return an object that cannot be pickled."""
    return (number for number in range(3))


def write_much(count: int) -> int:
    """Write this many bytes to standard output, and return the number."""
    sys.stdout.write("x" * count)
    sys.stdout.flush()
    return count


def write_bytes(data: bytes) -> None:
    """Write these bytes to standard output."""
    os.write(1, data)


def host_name(_: object = None) -> str:
    """Return the host name."""
    return os.uname().nodename


def raise_unless(path: str) -> None:
    """Raise an exception until a file exists."""
    if not os.path.exists(path):
        raise ValueError("not there")


def nested(number: int) -> int:
    """Call a function in an executor of this process."""
    import nsbox

    with nsbox.Executor(1) as executor:
        return executor.submit(abs, number).result()


class Kept:
    """An object that can be referred to weakly."""

    def __init__(self, number: int) -> None:
        self.number = number


def siblings(number: int) -> list[bool]:
    """Make children of the parent of this process (clone(2), CLONE_PARENT): one that ends, one that stays, and so on.

    Returns:
        Whether the kernel has made each of them.
    """
    return [_sibling(index % 2) > 0 for index in range(number)]


def _sibling(stays: int) -> int:
    clone, clone_parent, sigchld = {"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x8000, 17
    libc = ctypes.CDLL(None)
    pid: int = libc.syscall(clone, clone_parent | sigchld, 0, 0, 0, 0)
    if pid == 0:
        # Not dumpable: an ordinary user outside may not read its links in /proc.
        libc.prctl(4, 0, 0, 0, 0)
        while stays:
            signal.pause()
        os._exit(0)
    return pid


def linger(seconds: int) -> int:
    """Send a socket that lingers when its last descriptor is closed, over each Unix socket of this process.

    Its other end, which a child keeps open, does not read (socket(7), SO_LINGER).

    Returns:
        The number of Unix sockets that have taken it.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    sender.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sender.send(bytes(1 << 16))
    if os.fork() == 0:
        os.setsid()
        sender.close()
        time.sleep(seconds)
        os._exit(0)
    receiver.close()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", sender.fileno()))]
    taken = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as found:
            if found.family == socket.AF_UNIX:
                found.sendmsg([b"x"], rights)
                taken += 1
    with contextlib.suppress(BlockingIOError):
        sender.close()
    return taken
