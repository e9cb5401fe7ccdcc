"""Try to take over every process of nsbox-init, while it is one: those that enter the box, those that are started.

It runs until its standard input is closed. It opens first and asks for the name afterwards: a process that is called
nsbox-init then was nsbox-init when its file was opened, as it gets another name only at its exec.
"""

import ctypes
import os
import select

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
PIDFD_OPEN, PIDFD_GETFD, SETNS = 434, 438, {"x86_64": 308, "aarch64": 268}[os.uname().machine]
PROCESS_VM_READV = {"x86_64": 310, "aarch64": 270}[os.uname().machine]


class Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


found: set[str] = set()
looked = 0


def name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def report(pid: int, what: str) -> None:
    if name_of(pid) == "nsbox-init" and what not in found:
        found.add(what)
        print("OUT", what, "of process", pid, flush=True)


def try_files(pid: int) -> None:
    for name, flags in [
        ("mem", os.O_RDWR), ("mem", os.O_RDONLY), ("exe", os.O_RDONLY), ("exe", os.O_WRONLY), ("exe", os.O_RDWR),
        ("cwd", os.O_RDONLY), ("root", os.O_RDONLY), ("maps", os.O_RDONLY), ("environ", os.O_RDONLY),
        ("ns/mnt", os.O_RDONLY), ("ns/user", os.O_RDONLY), ("syscall", os.O_RDONLY), ("stack", os.O_RDONLY),
        ("auxv", os.O_RDONLY), ("pagemap", os.O_RDONLY), ("mountinfo", os.O_RDONLY),
    ]:  # fmt: skip
        # The table of mounts is nothing that is hidden from root of the box.
        if name == "mountinfo":
            continue
        try:
            fd = os.open(f"/proc/{pid}/{name}", flags)
        except OSError:
            continue
        try:
            # Without the right to trace a process its files of memory open, and are empty.
            if name not in ("maps", "environ", "auxv", "pagemap", "syscall", "stack") or os.read(fd, 1):
                report(pid, f"{name} with flags {flags}")
        except OSError:
            pass
        os.close(fd)
    try:
        # The numbers alone say nothing.
        for number in os.listdir(f"/proc/{pid}/fd"):
            fd = os.open(f"/proc/{pid}/fd/{number}", os.O_PATH)
            report(pid, f"descriptor {number}")
            os.close(fd)
    except OSError:
        pass


def try_calls(pid: int) -> None:
    if libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0:
        report(pid, "ptrace")
        libc.ptrace(PTRACE_DETACH, pid, None, None)
    pidfd = libc.syscall(PIDFD_OPEN, pid, 0)
    if pidfd >= 0:
        for number in range(3, 16):
            fd = libc.syscall(PIDFD_GETFD, pidfd, number, 0)
            if fd >= 0:
                report(pid, f"descriptor {number} by pidfd_getfd")
                os.close(fd)
        os.close(pidfd)
    room = ctypes.create_string_buffer(8)

    local = Iovec(ctypes.addressof(room), 8)
    for address in (0x400000, 0x200000, 0x10000):
        remote = Iovec(address, 8)
        if libc.syscall(PROCESS_VM_READV, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) > 0:
            report(pid, "process_vm_readv")


print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and name_of(int(entry)) == "nsbox-init":
            looked += int(entry) != 1
            try_files(int(entry))
            try_calls(int(entry))
print("looked at", looked)
