"""Mount a FUSE file system on each path given, reply to nothing but FUSE_INIT, and print a line when all are mounted.

The protocol is that of /dev/fuse (fuse(4), include/uapi/linux/fuse.h).
"""

import ctypes
import os
import select
import struct
import sys

IN_HEADER = struct.Struct("<IIQQIIII")
OUT_HEADER = struct.Struct("<IiQ")
INIT_OUT = struct.Struct("<IIIIHHIIHHI7I")
FUSE_INIT = 26
NOSUID_NODEV = 6
LONGEST_REQUEST = 1 << 17

library = ctypes.CDLL(None, use_errno=True)


def mount(path: str) -> int:
    """Mount one, and return its descriptor of /dev/fuse."""
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    if library.mount(b"silent", os.fsencode(path), b"fuse", NOSUID_NODEV, options.encode()) != 0:
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    request = os.read(fd, LONGEST_REQUEST)
    _, operation, unique, *_ = IN_HEADER.unpack_from(request)
    assert operation == FUSE_INIT
    body = INIT_OUT.pack(7, 31, 0, 0, 0, 0, 4096, 0, 0, 0, 0, *[0] * 7)
    os.write(fd, OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique) + body)
    return fd


fds = [mount(path) for path in sys.argv[1:]]
print("mounted", flush=True)
while True:
    # A request that was read and gets no reply keeps the process that made it in the kernel, also after SIGKILL.
    for fd in select.select(fds, [], [])[0]:
        os.read(fd, LONGEST_REQUEST)
