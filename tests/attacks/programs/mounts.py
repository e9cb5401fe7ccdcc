"""Undo mounts: HIDDEN is a directory under an empty tmpfs, READ_ONLY a directory that is bound read-only."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable

hidden, read_only = sys.argv[1:3]
LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MNT_DETACH = 1, 32, 4096, 8192, 16384, 2
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


def path(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def mount(source: str | None, target: str, kind: str | None, flags: int) -> bool:
    return bool(LIBC.mount(path(source), path(target), path(kind), ctypes.c_ulong(flags), None) == 0)


def unmount(target: str, flags: int = 0) -> bool:
    return bool(LIBC.umount2(path(target), flags) == 0)


def seen() -> str:
    """Whether something is visible or writable that must not be."""
    if os.path.exists(f"{hidden}/secret"):
        return "read"
    try:
        with open(f"{read_only}/written", "w"):
            return "write"
    except OSError:
        return ""


def attempt(name: str, function: Callable[[], object]) -> None:
    """Each in a child, so that none changes what the next one finds."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            function()
        if what := seen():
            print("OUT", name, what, flush=True)
        os._exit(0)
    os.waitpid(child, 0)


def move() -> None:
    mount(hidden, "/mnt", None, MS_MOVE)


def inside_again() -> None:
    """In a new mount namespace of a new user namespace, of which this process is root."""
    if LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0:
        unmount(hidden)
        unmount(hidden, MNT_DETACH)
        mount(None, read_only, None, MS_REMOUNT | MS_BIND)
        mount("/", "/mnt", None, MS_BIND)
        if os.path.exists(f"/mnt{hidden}/secret"):
            print("OUT non-recursive bind", flush=True)


def init_namespace() -> None:
    for pid in (1, os.getppid()):
        fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
        if LIBC.setns(fd, CLONE_NEWNS) == 0:
            unmount(hidden)
            unmount(hidden, MNT_DETACH)
            mount(None, read_only, None, MS_REMOUNT | MS_BIND)


def through_links() -> None:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.path.exists(f"/proc/{pid}/root{hidden}/secret"):
                print("OUT /proc/PID/root", flush=True)
        except OSError:
            pass


attempt("umount", lambda: unmount(hidden))
attempt("umount -l", lambda: unmount(hidden, MNT_DETACH))
attempt("remount", lambda: mount(None, read_only, None, MS_REMOUNT | MS_BIND))
attempt("umount read-only", lambda: unmount(read_only, MNT_DETACH))
attempt("move", move)
attempt("unshare -Um", inside_again)
attempt("setns", init_namespace)
attempt("/proc/PID/root", through_links)
if mount("tmpfs", "/mnt", "tmpfs", 0):
    print("OUT mount")
