"""Look for processes outside of the own namespaces that can be traced: their memory, their descriptors, their files.

It uncovers the /proc below the new one first, where processes of other PID namespaces are seen. The first argument is
the mount namespace of the tests, as /proc/self/ns/mnt shows it: in that one nothing may be unmounted.
"""

import contextlib
import ctypes
import os
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
PIDFD_OPEN, PIDFD_GETFD = 434, 438
MNT_DETACH = 2
KINDS = ("user", "pid", "mnt", "ipc", "uts", "net")

if os.readlink("/proc/self/ns/mnt") != sys.argv[1]:
    libc.umount2(b"/proc", MNT_DETACH)


def links(pid: int | str) -> list[str]:
    return [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS]


def is_elsewhere(pid: int) -> bool:
    """Return whether a process is in another namespace. To see that takes the right to trace it."""
    try:
        return links(pid) != OWN
    except OSError:
        return False


def try_everything(pid: int) -> None:
    done = []
    for name, flags in [("mem", os.O_RDWR), ("mem", os.O_RDONLY), ("cwd", os.O_RDONLY), ("root", os.O_RDONLY)]:
        try:
            os.close(os.open(f"/proc/{pid}/{name}", flags))
            done.append(name)
        except OSError:
            pass
    with contextlib.suppress(OSError):
        done += [f"fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    if libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0:
        done.append("ptrace")
        libc.ptrace(PTRACE_DETACH, pid, None, None)
    pidfd = libc.syscall(PIDFD_OPEN, pid, 0)
    if pidfd >= 0:
        for number in range(20):
            fd = libc.syscall(PIDFD_GETFD, pidfd, number, 0)
            if fd >= 0:
                done.append(f"pidfd_getfd {number}")
                os.close(fd)
        os.close(pidfd)
    if done and pid not in found:
        found.add(pid)
        with open(f"/proc/{pid}/comm") as file:
            print("OUT", file.read().strip(), *done[:6], flush=True)


found: set[int] = set()
OWN = links("self")
end = time.monotonic() + 1
while time.monotonic() < end:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and is_elsewhere(int(entry)):
            try_everything(int(entry))
print("looked at", sum(map(str.isdigit, os.listdir("/proc"))), "processes")
