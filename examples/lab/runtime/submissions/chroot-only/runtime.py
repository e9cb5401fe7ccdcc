"""python3 runtime.py ROOT PROGRAM [ARGUMENT...]"""

import ctypes
import os
import platform
import socket
import sys

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 1 << 18, 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source, target, fstype, flags):
    check(libc.mount(source.encode(), target.encode(), fstype.encode(), ctypes.c_ulong(flags), None))


def container(root, program):
    socket.sethostname("container")
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount(root, root, "", MS_BIND)
    os.chdir(root)
    mount("proc", "proc", "proc", 0)
    os.chroot(".")
    os.chdir("/")
    os.execv(program[0], program)


check(libc.unshare(NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET))
child = os.fork()
if child == 0:
    container(sys.argv[1], sys.argv[2:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
