"""Seccomp filters that make chosen system calls fail, as a container's do. Only for a child: they cannot be removed."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass

from tests.support import libc

__all__ = ["Deny", "Kill", "install"]

_NUMBERS = {
    "x86_64": {
        "capset": 126, "clone": 56, "clone3": 435, "execveat": 322, "ioctl": 16, "memfd_create": 319, "mount": 165,
        "pidfd_open": 434, "prctl": 157, "setdomainname": 171, "sethostname": 170, "setsid": 112, "unshare": 272,
        "openat": 257, "socket": 41, "setresuid": 117, "close_range": 436, "setgroups": 116, "umask": 95,
        "pidfd_send_signal": 424, "execve": 59,
        "fchdir": 81, "fsconfig": 431, "fsmount": 432, "fsopen": 430, "mount_setattr": 442, "move_mount": 429,
        "open_tree": 428, "openat2": 437, "pivot_root": 155, "prlimit64": 302, "umount2": 166, "setns": 308,
        "keyctl": 250, "seccomp": 317, "landlock_create_ruleset": 444,
    },
    "aarch64": {
        "capset": 91, "clone": 220, "clone3": 435, "execveat": 281, "ioctl": 29, "memfd_create": 279, "mount": 40,
        "pidfd_open": 434, "prctl": 167, "setdomainname": 162, "sethostname": 161, "setsid": 157, "unshare": 97,
        "openat": 56, "socket": 198, "setresuid": 147, "close_range": 436, "setgroups": 159, "umask": 166,
        "pidfd_send_signal": 424, "execve": 221,
        "fchdir": 50, "fsconfig": 431, "fsmount": 432, "fsopen": 430, "mount_setattr": 442, "move_mount": 429,
        "open_tree": 428, "openat2": 437, "pivot_root": 41, "prlimit64": 261, "umount2": 39, "setns": 268,
        "keyctl": 219, "seccomp": 277, "landlock_create_ruleset": 444,
    },
}[platform.machine()]  # fmt: skip

# Instructions of classic BPF (linux/bpf_common.h) and return values of a filter (seccomp(2)).
_LOAD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_MODE_FILTER = 2
_ARGUMENTS = 16
"""Offset of the arguments in struct seccomp_data, eight bytes each, the low half first on both machines."""


@dataclass(frozen=True)
class Deny:
    """Make a system call fail: always, or when an argument has a value, or any of some bits.

    Attributes:
        name: The system call.
        errno: The error number it fails with.
        argument: The index of the argument that is compared, if any.
        equals: The value that it must have.
        bits: The bits of which at least one must be set.
    """

    name: str
    errno: int
    argument: int | None = None
    equals: int | None = None
    bits: int | None = None

    def instructions(self) -> list[tuple[int, int, int, int]]:
        """Return (code, jump if true, jump if false, operand) of each instruction."""
        verdict = (_RETURN, 0, 0, _ERRNO | self.errno)
        number = (_LOAD, 0, 0, 0)
        if self.argument is None:
            return [number, (_JUMP_EQUAL, 0, 1, _NUMBERS[self.name]), verdict]
        argument = (_LOAD, 0, 0, _ARGUMENTS + 8 * self.argument)
        test = (_JUMP_SET, 0, 1, self.bits) if self.equals is None else (_JUMP_EQUAL, 0, 1, self.equals)
        assert test[3] is not None
        return [number, (_JUMP_EQUAL, 0, 3, _NUMBERS[self.name]), argument, (*test[:3], test[3]), verdict]


@dataclass(frozen=True)
class Kill:
    """Kill the process for a system call, as systemd's SystemCallFilter= does."""

    name: str

    def instructions(self) -> list[tuple[int, int, int, int]]:
        """Return (code, jump if true, jump if false, operand) of each instruction."""
        return [(_LOAD, 0, 0, 0), (_JUMP_EQUAL, 0, 1, _NUMBERS[self.name]), (_RETURN, 0, 0, _KILL_PROCESS)]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(*rules: Deny | Kill) -> None:
    """Install the rules for this thread and all that it will start."""
    instructions = [line for rule in rules for line in rule.instructions()] + [(_RETURN, 0, 0, _ALLOW)]
    code = b"".join(struct.pack("HBBI", *line) for line in instructions)
    program = _Program(len(instructions), code)
    if os.geteuid() != 0:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    libc.prctl(libc.PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))
