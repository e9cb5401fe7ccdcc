"""Mount a FUSE file system on a path, and wait for a reply of it that this very process would have to send.

A thread looks a path up. The process reads the request, so that not even SIGKILL ends the wait, and keeps the device
open in the thread that waits. Only an abort of the connection ends it. Arguments: the path, and what is done besides:

- `cover`: mount another file system over it;
- `nested`: leave the wait to a process in a user and a mount namespace of its own, where the mount is locked;
- `exit`: leave the wait to a child, and exit.
"""

import ctypes
import os
import struct
import sys
import threading

IN_HEADER = struct.Struct("<IIQQIIII")
OUT_HEADER = struct.Struct("<IiQ")
INIT_OUT = struct.Struct("<IIIIHHIIHHI7I")
FUSE_INIT, FUSE_LOOKUP = 26, 1
NOSUID_NODEV = 6
LONGEST_REQUEST = 1 << 17
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000

library = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Exit if a call has failed."""
    if result != 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


path, *how = sys.argv[1:]
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
check(library.mount(b"own", os.fsencode(path), b"fuse", NOSUID_NODEV, options.encode()), "mount")
_, operation, unique, *_ = IN_HEADER.unpack_from(os.read(fd, LONGEST_REQUEST))
assert operation == FUSE_INIT
body = INIT_OUT.pack(7, 31, 0, 0, 0, 0, 4096, 0, 0, 0, 0, *[0] * 7)
os.write(fd, OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique) + body)
if "exit" in how:
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os.read(reader, 1)
        os._exit(3)
if "nested" in how:
    check(library.unshare(CLONE_NEWNS | CLONE_NEWUSER), "unshare")
directory = os.open(path, os.O_PATH | os.O_DIRECTORY)
if "cover" in how:
    check(library.mount(b"none", os.fsencode(path), b"tmpfs", 0, None), "cover")
threading.Thread(target=os.path.exists, args=[f"/proc/self/fd/{directory}/file"]).start()
_, operation, *_ = IN_HEADER.unpack_from(os.read(fd, LONGEST_REQUEST))
assert operation == FUSE_LOOKUP
print("waiting", flush=True)
if "exit" in how:
    os.write(writer, b"x")
threading.Event().wait()
