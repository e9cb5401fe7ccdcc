"""Capabilities that this process has or can get."""

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)
with open("/proc/self/status") as file:
    for line in file:
        if line.startswith("Cap") and int(line.split()[1], 16):
            print("OUT", line.split(":")[0])
        if line.startswith("NoNewPrivs") and line.split()[1] == "0":
            print("OUT an exec can grant privileges")
PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_SET_KEEPCAPS = 27, 28, 8
if LIBC.prctl(PR_GET_SECUREBITS) != 0b11101111:
    print("OUT securebits are not locked")
if LIBC.prctl(PR_SET_SECUREBITS, 0) == 0 or LIBC.prctl(PR_SET_KEEPCAPS, 1) == 0:
    print("OUT securebits can be changed")
for change in (lambda: os.setuid(1), lambda: os.setgroups([]), lambda: os.chroot("/"), lambda: os.nice(-5)):
    try:
        change()
    except OSError:
        continue
    print("OUT a change that takes a capability")
