"""The system calls that the tests need and Python 3.11 does not have, with exceptions instead of -1."""

from __future__ import annotations

import ctypes
import os

__all__ = ["PR_SET_CHILD_SUBREAPER", "PR_SET_NO_NEW_PRIVS", "mount", "prctl", "syscall", "unshare"]

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

MS_RDONLY = 0x1
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SHARED = 0x100000

_LIBC = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Call unshare(2): move this thread."""
    _checked(_LIBC.unshare(ctypes.c_int(flags)), "unshare")


def prctl(option: int, value: int, pointer: object = None) -> int:
    """Call prctl(2)."""
    third = ctypes.c_ulong(0) if pointer is None else pointer
    zero = ctypes.c_ulong(0)
    return _checked(_LIBC.prctl(ctypes.c_int(option), ctypes.c_ulong(value), third, zero, zero), "prctl")


def mount(source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Call mount(2)."""
    *texts, options = [None if text is None else os.fsencode(text) for text in (source, target, fstype, data)]
    _checked(_LIBC.mount(*texts, ctypes.c_ulong(flags), options), f"mount({target})")


def syscall(number: int, *arguments: int) -> int:
    """Call syscall(2) with plain numbers."""
    return _checked(_LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)), f"syscall {number}")


def raise_permitted_capabilities() -> None:
    """Make every permitted capability effective (capset(2), version 3)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    _checked(_LIBC.capget(header, data), "capget")
    data[0], data[3] = data[1], data[4]
    _checked(_LIBC.capset(header, data), "capset")
