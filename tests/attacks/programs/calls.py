"""Make the system calls that have led out of sandboxes, with arguments that the kernel refuses, or that do no harm.

A call that is let through fails with another error than a filter's, or succeeds.
"""

import ctypes
import errno
import os
import platform

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
# x86_64, aarch64; None where an architecture does not have it.
NUMBERS = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "iopl": (172, None),
    "ioperm": (173, None),
    "clone3": (435, 435),
}
FLAGS = {
    "CLONE_NEWNS": 0x20000,
    "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000,
    "CLONE_NEWIPC": 0x8000000,
    "CLONE_NEWUTS": 0x4000000,
    "CLONE_NEWCGROUP": 0x2000000,
}
# UNSHARE_EMPTY_MNTNS, CLONE_NEWTIME, and one that means nothing yet: EINVAL or success from the kernel.
OTHER_FLAGS = {"empty mounts": 0x100000, "CLONE_NEWTIME": 0x80, "unknown": 0x1}
TIOCSTI, TIOCLINUX, UPPER = 0x5412, 0x541C, 1 << 32
CLONE, UNSHARE, IOCTL, PERSONALITY, PTRACE = (56, 272, 16, 135, 101) if X86 else (220, 97, 29, 92, 117)


TWO, ZEROS = (ctypes.c_int * 2)(), (ctypes.c_ulong * 2)(0, 0)
PAIR, LIMITS = ctypes.addressof(TWO), ctypes.addressof(ZEROS)


def call(number: int, *arguments: int) -> int:
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return 0 if result >= 0 else ctypes.get_errno()


def refused(number: int) -> bool:
    return number in (errno.EPERM, errno.ENOSYS)


# Bad descriptors, addresses and flags: the kernel, if it is asked, refuses them with EBADF, EFAULT, EINVAL or ENOENT;
# for some it returns EPERM, as this process has no capability. Those are tried without `harden` by a process with all.
for name, numbers in NUMBERS.items():
    number = numbers[0 if X86 else 1]
    if number is not None and not refused(call(number, -1, -1, -1, -1, -1, -1)):
        print("OUT", name)

for name, flag in FLAGS.items():
    for upper in (0, UPPER):
        child = os.fork()
        if child == 0:
            os._exit(0 if call(UNSHARE, flag | upper) == 0 else 1)
        if os.waitpid(child, 0)[1] == 0:
            print("OUT unshare", name)
    # With flags that the kernel always refuses, with EINVAL (clone(2)): CLONE_THREAD without CLONE_SIGHAND.
    if not refused(call(CLONE, flag | 0x10000, 0, 0, 0, 0)):
        print("OUT clone", name)

for name, flag in OTHER_FLAGS.items():
    child = os.fork()
    if child == 0:
        os._exit(1 if call(UNSHARE, flag) == errno.EPERM else 0)
    if os.waitpid(child, 0)[1] == 0:
        print("OUT unshare", name)

# TIOCCONS, TIOCSETD, USERFAULTFD_IOC_NEW, KVM_CREATE_VM
for request in (TIOCSTI, TIOCLINUX, 0x541D, 0x5423, 0xAA00, 0xAE01):
    for upper in (0, UPPER, -1 << 32):
        # No descriptor is 99: EBADF from the kernel.
        if call(IOCTL, 99, request | upper, 0) != errno.EPERM:
            print("OUT ioctl", hex(request | upper))
# ADDR_NO_RANDOMIZE
if call(PERSONALITY, 0x40000) == 0:
    print("OUT personality")
# PTRACE_TRACEME
child = os.fork()
if child == 0:
    os._exit(0 if call(PTRACE, 0, 0, 0, 0) == 0 else 1)
if os.waitpid(child, 0)[1] == 0:
    print("OUT ptrace")
# FAN_REPORT_FID: what an ordinary user may watch
if call(300 if X86 else 262, 0x200, 0) == 0:
    print("OUT fanotify_init")
# AF_KEY, AF_PACKET, AF_RDS, AF_CAN, AF_TIPC, AF_BLUETOOTH, AF_ALG, AF_VSOCK, AF_XDP, and one that does not exist: a
# kernel without them has another error.
for family in (15, 17, 21, 29, 30, 31, 38, 40, 44, 99):
    for number in (41, 53) if X86 else (198, 199):
        for upper in (0, UPPER):
            if call(number, family | upper, 1, 0, PAIR) != errno.EPERM:
                print("OUT socket of family", family)
# NETLINK_XFRM, SELINUX, AUDIT, FIB_LOOKUP, CONNECTOR, NETFILTER, KOBJECT_UEVENT, CRYPTO
for protocol in (6, 7, 9, 10, 11, 12, 15, 21):
    if call(41 if X86 else 198, 16, 3, protocol) != errno.EPERM:
        print("OUT netlink protocol", protocol)
for family, protocol in ((1, 0), (2, 0), (16, 0), (16, 4), (16, 16)):
    assert call(41 if X86 else 198, family, 2, protocol) == 0, (family, protocol)
# RLIMIT_CORE, by setrlimit and prlimit64
if call(160 if X86 else 164, 4, LIMITS) == 0 or call(302 if X86 else 261, 0, 4, LIMITS, 0) == 0:
    print("OUT core dumps")
# getpid of the x32 ABI
if X86 and call(0x40000000 + 39) == 0:
    print("OUT x32")
