"""Functions that the tests have called inside. Nothing else is imported with them, and they are found by name."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

__all__ = [
    "OddError",
    "chatter",
    "confuse",
    "crowd",
    "die",
    "fork_twice",
    "identity",
    "leave_behind",
    "links",
    "listen",
    "locked",
    "numbers",
    "raise_it",
    "say",
    "state",
    "status",
    "wait_for",
]

KEPT: list[int] = []


class OddError(Exception):
    """Pickles, but cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def identity(*args: Any, **kwargs: Any) -> Any:
    """Return the arguments."""
    return args, kwargs


def numbers() -> tuple[int, int]:
    """Return the PID and that of the parent."""
    return os.getpid(), os.getppid()


def links(kinds: list[str]) -> dict[str, str]:
    """Return the namespaces."""
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}


def links_together(kinds: list[str], place: str, count: int) -> dict[str, str]:
    """Return the namespaces once so many are there at the same time: later ones may get the numbers of earlier ones."""
    found = links(kinds)
    Path(place, f"here-{found['pid'][5:-1]}").touch()
    while sum(name.startswith("here-") for name in os.listdir(place)) < count:
        time.sleep(0.01)
    return found


def read(*paths: str) -> tuple[str, ...]:
    """Return what is in files."""
    return tuple(Path(path).read_text() for path in paths)


def status() -> str:
    """Return what the kernel says of the process."""
    return Path("/proc/self/status").read_text()


def state(number: int) -> list[int]:
    """Remember something."""
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


def listen(path: str) -> str:
    """Print something, and wait until somebody has heard it."""
    print("can you hear me?")
    return wait_for(path)


def wait_for(path: str) -> str:
    """Wait until a file is there."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return "it is there"


def chatter() -> NoReturn:
    """Print for ever."""
    while True:
        print("x" * 1000)


def raise_it(error: BaseException) -> NoReturn:
    """Raise."""
    raise error


def die(how: int) -> None:
    """End the process: by a signal, or for negative numbers by that exit status."""
    if how < 0:
        os._exit(-how)
    os.kill(os.getpid(), how)
    time.sleep(60)


def confuse() -> None:
    """Do to the standard streams and the directory what one should not."""
    print("before")
    os.chdir("/proc")
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    print("into the void")
    sys.stdout.close()
    sys.stdout = sys.stderr = io.StringIO()
    print("nobody will read this")
    for number in range(3):
        os.close(number)


def fork_twice() -> str:
    """Come back twice."""
    return "child" if os.fork() == 0 else "parent"


def leave_behind(signal_number: int = 0) -> list[int]:
    """Leave a program in a session of its own and a forked child with all descriptors, and perhaps die."""
    program = subprocess.Popen(["setsid", "sleep", "1000"])
    forked = os.fork()
    if forked == 0:
        time.sleep(1000)
        os._exit(0)
    if signal_number:
        os.kill(os.getpid(), signal_number)
    program.returncode = 0  # lest it be complained about
    return [program.pid, forked]


def crowd() -> NoReturn:
    """Start processes until there can be no more."""
    while True:
        program = subprocess.Popen(["sleep", "1000"])
        program.returncode = 0


def threads() -> NoReturn:
    """Start threads until there can be no more."""
    while True:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()


def locked() -> str:
    """Do not let SIGTERM and SIGINT end us, and sleep."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(1000)
    return "woken"


def eat(megabytes: int) -> int:
    """Use so much memory, and be the first to be killed for it: not a caller that shares much with many others."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    return len([bytearray(b"x" * (1 << 20)) for _ in range(megabytes)])


def leave_behind_and_sleep(place: str) -> str:
    """Leave things behind, say in a file that this is done, and ignore what can be ignored."""
    leave_behind()
    Path(place, "begun").touch()
    return locked()


def call(function: Any) -> Any:
    """Call a function without arguments."""
    return function()


def greet() -> str:
    """Print a little."""
    print("hello")
    print("error", file=sys.stderr)
    return "greeted"


def divide() -> float:
    """Raise an ordinary exception."""
    return 1 / 0


def exit_with_3() -> NoReturn:
    """End the process."""
    os._exit(3)


def kill_itself() -> None:
    """End the process by a signal."""
    die(signal.SIGTERM)


def too_much() -> bytearray:
    """Ask for more memory than there can be."""
    return bytearray(1 << 60)


def would_block() -> NoReturn:
    """Raise the error of a descriptor that would block: the number is that of too many processes."""
    raise BlockingIOError(errno.EAGAIN, "nothing there")


def time_out_itself() -> NoReturn:
    """Raise what looks as if the time was over."""
    raise TimeoutError("mine")


def unpicklable() -> Any:
    """Return what cannot travel."""
    return (number for number in range(3))
