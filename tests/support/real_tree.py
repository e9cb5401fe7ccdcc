"""A program: build a tree of real processes with everything that is hard to draw, become its root, and stay.

It is run as PID 1 of new PID and mount namespaces, as root, and prints ``ready`` when the tree is complete.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

LIBC = ctypes.CDLL(None, use_errno=True)
NEW = {
    "time": 0x80, "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
    "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip
PR_SET_NAME = 15
SYS_EXIT = {"x86_64": 60}.get(os.uname().machine, 93)

HARD_NAMES = (b"a) R 1 (b", b"new\nline")
"""lsns before util-linux 2.39 stops at these. Nor does it see namespaces without processes, but for ancestors."""

done_fd = -1


def call_myself(name: bytes) -> None:
    """Set the name of the calling thread (PR_SET_NAME(2const))."""
    LIBC.prctl(PR_SET_NAME, ctypes.c_char_p(name))


def unshare(*kinds: str) -> None:
    """Move the calling thread into new namespaces."""
    if LIBC.unshare(sum(NEW[kind] for kind in kinds)) != 0:
        raise OSError(ctypes.get_errno(), f"unshare {kinds}")


def child(name: bytes, *acts: Callable[[], object]) -> int:
    """Start a process that does this and stays; return when it has done it, or has ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        call_myself(name)
        global done_fd  # noqa: PLW0603 - of this process, which has just been forked
        done_fd = writing
        for act in acts:
            act()
        os.write(writing, b".")
        while True:
            signal.pause()
    os.close(writing)
    # A child that ends or executes another program sends nothing, but closes its end.
    os.read(reading, 1)
    os.close(reading)
    return pid


def thread(name: bytes, *acts: Callable[[], object]) -> None:
    """Start a thread in this process that does this and stays; return when it has done it."""
    done = threading.Event()

    def run() -> None:
        call_myself(name)
        for act in acts:
            act()
        done.set()
        threading.Event().wait()

    threading.Thread(target=run, daemon=True).start()
    done.wait()


def child_until(contents: str, file: str, name: bytes, *acts: Callable[[], object]) -> None:
    """Start a process that ends or executes another program; return when its file in /proc shows that."""
    path = f"/proc/{child(name, *acts)}/{file}"
    while True:
        with open(path, errors="replace") as opened:
            if contents in opened.read():
                return
        time.sleep(0.001)


def end_first_thread() -> None:
    """End the thread that the process began with, and no other (_exit(2), C library/kernel differences)."""
    os.write(done_fd, b".")
    LIBC.syscall(SYS_EXIT, 0)


def innermost() -> None:
    """Become the parent of the first process of a PID namespace, which has a child."""
    child(b"init", lambda: child(b"innermost"))


def leave_an_ancestor() -> None:
    """Enter a user namespace, then a user namespace in it that alone is in use, and unshare a PID namespace there."""
    unshare("user")
    for file, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
        with open(f"/proc/self/{file}", "w") as opened:
            opened.write(text)
    unshare("user", "pid")


def main() -> None:
    """Build the tree."""
    # In a process group of its own: pstree prints the number of a group outside, 0, as an empty text.
    os.setsid()
    call_myself(b"root")
    for _ in range(3):
        child(b"twin", lambda: child(b"leaf"), lambda: child(b"leaf"))
    child(b"twin", lambda: child(b"leaf"), lambda: child(b"other"))
    for name in (b"sp ace", b"caf\xc3\xa9", b"back\\slash", b"", b"{braces}", b"x", b"X", b"x-y", b"x_y", b"x0",
                 b"\x01\x7f\xff", b"exactly-15-long", *(HARD_NAMES if "hard" in sys.argv else ())):  # fmt: skip
        child(name, lambda: child(b"below"))
    child(b"threads", *[lambda: thread(b"worker")] * 3, lambda: thread(b"named"), lambda: child(b"kid"))
    if "hard" in sys.argv:
        child(b"thread ns", *[lambda: thread(b"worker")] * 2, lambda: thread(b"moved", lambda: unshare("uts", "ipc")))
    for kind in NEW:
        child(b"new " + kind.encode(), partial(unshare, kind), lambda: child(b"in"), lambda: child(b"in"))
    child(b"new all", lambda: unshare(*NEW), lambda: child(b"init", lambda: child(b"deep"), lambda: child(b"deep")))
    for _ in range(2):
        child(b"alike", lambda: unshare("uts"))
    child(b"nested", lambda: unshare("pid", "mount"), lambda: child(b"init", lambda: unshare("pid"), innermost))
    child(b"group", os.setsid, lambda: child(b"member"), lambda: child(b"leader", lambda: os.setpgid(0, 0)))
    child(b"setuid", lambda: os.setuid(1000), lambda: child(b"same"))
    stop = ["sh", "-c", "kill -STOP $$", "two words", "caf\xe9"]
    child_until(") T ", "stat", b"user", lambda: os.setuid(65534), lambda: os.execv("/bin/sh", stop))
    child_until(") T ", "stat", b"other", lambda: os.execv("/bin/sh", stop))
    child_until(") Z ", "stat", b"zombie", lambda: os._exit(0))
    child_until(") Z ", "stat", b"zombie uts", lambda: unshare("uts"), lambda: os._exit(0))
    child_until(
        ") Z ", "stat", b"leaderless", *[lambda: thread(b"worker")] * 2, lambda: child(b"kid"), end_first_thread
    )
    if "ancestor" in sys.argv:
        child(b"ancestor", leave_an_ancestor, lambda: child(b"init"))
    print("ready", flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main()
