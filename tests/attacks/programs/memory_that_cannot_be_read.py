"""Make a process whose command line cannot be read: whoever tries waits for the lock of its memory (mmap_lock).

The process maps a file of a file system that never replies to a read. Another process reads that memory through
/proc/PID/mem, which holds the lock meanwhile. Then the first asks for the lock by mmap(2), and all that come later
wait behind it. The argument is an empty directory. When all this is done, a line is printed.
"""

import ctypes
import os
import struct
import sys
import time
from collections.abc import Callable

IN_HEADER = struct.Struct("<IIQQIIII")
OUT_HEADER = struct.Struct("<IiQ")
INIT_OUT = struct.Struct("<IIIIHHIIHHI7I")
FUSE_LOOKUP, FUSE_FORGET, FUSE_GETATTR, FUSE_OPEN, FUSE_READ, FUSE_INIT, FUSE_BATCH_FORGET = 1, 2, 3, 14, 15, 26, 42
NOSUID_NODEV, ENOSYS = 6, 38
PROT_READ, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 0x20
SIZE = 1 << 20

library = ctypes.CDLL(None, use_errno=True)
library.mmap.restype = ctypes.c_void_p
library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


def attributes(node: int) -> bytes:
    """Return those of the directory, or of the file in it."""
    size, mode = (0, 0o40755) if node == 1 else (SIZE, 0o100644)
    return struct.pack("<6Q10I", node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)


def serve(fd: int) -> None:
    """Reply to all requests but reads."""
    while True:
        request = os.read(fd, 1 << 17)
        _, operation, unique, node, *_ = IN_HEADER.unpack_from(request)
        error, body = 0, b""
        if operation in (FUSE_READ, FUSE_FORGET, FUSE_BATCH_FORGET):
            continue
        if operation == FUSE_INIT:
            body = INIT_OUT.pack(7, 31, 0, 0, 0, 0, 4096, 0, 0, 0, 0, *[0] * 7)
        elif operation == FUSE_LOOKUP:
            body = struct.pack("<4Q2I", 2, 0, 1000, 1000, 0, 0) + attributes(2)
        elif operation == FUSE_GETATTR:
            body = struct.pack("<Q2I", 1000, 0, 0) + attributes(node)
        elif operation == FUSE_OPEN:
            body = struct.pack("<Q2I", 1, 0, 0)
        else:
            error = -ENOSYS
        os.write(fd, OUT_HEADER.pack(OUT_HEADER.size + len(body), error, unique) + body)


def start(function: Callable[[], object]) -> int:
    """Run a function in a child."""
    pid = os.fork()
    if pid == 0:
        function()
        os._exit(0)
    return pid


def state(task: str) -> str:
    """Return the state of a thread (proc_pid_stat(5))."""
    with open(f"/proc/{task}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while not condition():
        time.sleep(0.01)


def victim() -> None:
    """Map the file, say where, and ask for the lock when the memory is being read."""
    # A process that waits for a reply which only it could give would never end.
    os.close(fuse)
    file = os.open(f"{sys.argv[1]}/file", os.O_RDONLY)
    address = library.mmap(None, SIZE, PROT_READ, MAP_PRIVATE, file, 0)
    os.write(mapped[1], struct.pack("<Q", address))
    os.read(being_read[0], 1)
    library.mmap(None, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)


def reader() -> None:
    """Read the memory."""
    os.close(fuse)
    memory = os.open(f"/proc/{victim_pid}/mem", os.O_RDONLY)
    os.pread(memory, 8, address)


fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
if library.mount(b"silent", os.fsencode(sys.argv[1]), b"fuse", NOSUID_NODEV, options.encode()) != 0:
    sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
start(lambda: serve(fuse))
mapped, being_read = os.pipe(), os.pipe()
victim_pid = start(victim)
(address,) = struct.unpack("<Q", os.read(mapped[0], 8))
reader_pid = start(reader)


def waits_for_the_file() -> bool:
    """Whether the reader is in the kernel, in the wait for a reply."""
    with open(f"/proc/{reader_pid}/wchan") as file:
        return file.read() in ("request_wait_answer", "folio_wait_bit_common", "0") and state(str(reader_pid)) in "SD"


until(waits_for_the_file)
os.write(being_read[1], b"x")
until(lambda: state(str(victim_pid)) == "D")
print(victim_pid, flush=True)
time.sleep(1000)
