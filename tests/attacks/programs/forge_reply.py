"""Take the socket and the pipe of the Python that runs calls in this box, read its request, and reply in its place.

The arguments are the format of a header, and the replies in hexadecimal: a letter and the content of each.
"""

import ctypes
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
PIDFD_OPEN, PIDFD_GETFD = 434, 438
header, replies = sys.argv[1], [bytes.fromhex(one) for one in sys.argv[2:]]


def workers() -> Iterator[tuple[int, list[int]]]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if int(pid) != os.getpid() and b"-c" in words:
            program = words.index(b"-c") + 1
            if b"nsbox.remote.worker" in words[program]:
                yield int(pid), [int(word) for word in words[program + 1 : program + 3]]


def stolen() -> tuple[int, socket.socket, int]:
    """Return the PID of a worker, which is stopped, its socket, and its pipe for replies."""
    while True:
        for pid, numbers in workers():
            os.kill(pid, signal.SIGSTOP)
            pidfd = libc.syscall(PIDFD_OPEN, pid, 0)
            fds = [libc.syscall(PIDFD_GETFD, pidfd, number, 0) for number in numbers]
            if min(fds) < 0:
                os.kill(pid, signal.SIGCONT)
                sys.exit("pidfd_getfd: " + os.strerror(ctypes.get_errno()))
            return pid, socket.socket(fileno=fds[0]), fds[1]
        time.sleep(0.001)


def exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


print("ready", flush=True)
pid, connection, pipe = stolen()
_, *token, length = struct.unpack(header, exactly(struct.calcsize(header)))
exactly(length)
for reply in replies:
    os.write(pipe, struct.pack(header, reply[:1], *token, len(reply) - 1) + reply[1:])
print("OUT replied", flush=True)
os.kill(pid, signal.SIGCONT)
