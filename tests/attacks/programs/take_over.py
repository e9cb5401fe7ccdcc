"""Try to take over every process that is not its own, until standard input ends.

The arguments: a process outside, whose children are tried first of all; and an address in its memory. What is there is
overwritten if the memory of one of those children turns out to be that of the process.
"""

import ctypes
import errno
import os
import select
import sys

MARK, OVERWRITTEN = b"the caller's own variable 7128", b"overwritten by a program inside"[:30]
PTRACE_SEIZE = 0x4206
PIDFD_GETFD = 438

libc = ctypes.CDLL(None, use_errno=True)
outside, address = [*map(int, sys.argv[1:]), 0, 0][:2]
# In a proc of an outer PID namespace PIDs are others, also this one's own: only files can be opened by them there.
own = int(os.readlink("/proc/self"))
got: set[str] = set()
attempts = 0


def name_of(pid: int) -> str:
    """Return the name of a process, or nothing if it has ended."""
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return ""


def take(what: str, pid: int) -> None:
    """Report it once for each kind of process. What belongs to one that has ended is worth nothing."""
    name = name_of(pid)
    line = f"{what} of {name}"
    if name and line not in got:
        got.add(line)
        print("OUT", line, flush=True)


def memory(pid: int) -> None:
    """Open the memory of a process, and overwrite the caller's variable, if that is in there."""
    try:
        fd = os.open(f"/proc/{pid}/mem", os.O_RDWR)
    except OSError:
        return
    take("memory", pid)
    try:
        if address and os.pread(fd, len(MARK), address) == MARK:
            os.pwrite(fd, OVERWRITTEN, address)
            print("OUT a variable of the caller", flush=True)
    except OSError:
        pass
    os.close(fd)


def descriptor(pid: int) -> None:
    """Copy a descriptor of a process. EBADF means that this is allowed, and that it has no such descriptor."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    ctypes.set_errno(0)
    copied = libc.syscall(ctypes.c_long(PIDFD_GETFD), pidfd, 3, 0)
    if copied >= 0:
        os.close(copied)
    os.close(pidfd)
    if copied >= 0 or ctypes.get_errno() == errno.EBADF:
        take("descriptors", pid)


def trace(pid: int) -> None:
    """Become the tracer of a process of nsbox, until this program ends. Any other could not be reaped meanwhile."""
    if name_of(pid).startswith("nsbox") and libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0:
        take("trace", pid)


def found(turn: int) -> list[int]:
    """Return the children of the process outside, and now and then all processes."""
    if turn % 100 and children >= 0:
        return [int(pid) for pid in os.pread(children, 4096, 0).split()]
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


children = os.open(f"/proc/{outside}/task/{outside}/children", os.O_RDONLY) if outside else -1
print("ready", flush=True)
turn = 0
while turn % 100 or not select.select([0], [], [], 0)[0]:
    for pid in found(turn):
        if pid != own:
            attempts += 1
            memory(pid)
            if own == os.getpid():
                descriptor(pid)
                if turn % 4 == 3:
                    trace(pid)
    turn += 1
print("attempts", attempts, flush=True)
