"""Leave the cgroup, or raise its limits: by paths, new mounts, namespaces, clone3, and inherited descriptors."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Callable, Iterator

libc = ctypes.CDLL(None, use_errno=True)
SYS_clone3, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_open_tree = 435, 430, 431, 432, 428
CLONE_INTO_CGROUP = 0x200000000
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUSER = 0x20000, 0x2000000, 0x10000000
MS_REMOUNT, MS_BIND, MS_REC = 32, 4096, 16384
CGROUP2 = 0x63677270


def where() -> str:
    """Return the cgroup of version 2 of this process, as it sees it."""
    with open("/proc/self/cgroup") as file:
        return next((line.rstrip("\n")[3:] for line in file if line.startswith("0::")), "")


OWN = where()


def has_left() -> bool:
    now = where()
    return now != OWN and not now.startswith(OWN.rstrip("/") + "/")


def apart(function: Callable[..., object], *arguments: object) -> None:
    """Call it in a child, which may change its cgroup and its namespaces, and be killed."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            function(*arguments)
        os._exit(0)
    os.waitpid(pid, 0)


def write(path: str, text: str, directory: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY, dir_fd=directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def directories() -> Iterator[str]:
    """Give every directory of cgroup version 2 that is mounted somewhere, and of its parents."""
    tops = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            if rest.startswith("cgroup2 "):
                tops.append(fields.split()[4])
    for top in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", *tops]:
        for directory, _, names in os.walk(top):
            if "cgroup.procs" in names:
                yield directory


def enter(path: str, how: str, directory: int | None = None) -> bool:
    for name in ("cgroup.procs", "cgroup.threads"):
        for text in ("0", str(os.getpid())):
            try:
                write(os.path.join(path, name), text, directory)
            except OSError:
                continue
            if has_left():
                print("OUT left by", how, flush=True)
                return True
    return False


def try_all(how: str) -> bool:
    return any([enter(directory, how) for directory in directories()])


def clone_into(fd: int, how: str) -> None:
    """Make a child in the cgroup of a descriptor (clone3(2), CLONE_INTO_CGROUP)."""
    arguments = struct.pack("11Q", CLONE_INTO_CGROUP, 0, 0, 0, 17, 0, 0, 0, 0, 0, fd)
    pid = libc.syscall(SYS_clone3, arguments, len(arguments))
    if pid == 0:
        if has_left():
            os.write(1, f"OUT left by {how}\n".encode())
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)


def mounted() -> None:
    """Mount cgroup2 in each way that there is."""
    os.makedirs("/tmp/cg", exist_ok=True)
    if libc.mount(b"cgroup2", b"/tmp/cg", b"cgroup2", 0, None) == 0:
        try_all("a mount of cgroup2")
    context = libc.syscall(SYS_fsopen, b"cgroup2", 0)
    if context >= 0 and libc.syscall(SYS_fsconfig, context, 6, None, None, 0) == 0:
        tree = libc.syscall(SYS_fsmount, context, 0, 0)
        if tree >= 0:
            enter(".", "a detached mount of cgroup2", tree)
            clone_into(tree, "clone3 into a detached mount")
    tree = libc.syscall(SYS_open_tree, -100, b"/sys/fs/cgroup", 1)
    if tree >= 0:
        enter(".", "a copy of the mount", tree)


def uncovered() -> None:
    """Make /sys writable again, or look below what covers it."""
    for path in (b"/sys/fs/cgroup", b"/sys"):
        libc.mount(None, path, None, MS_REMOUNT | MS_BIND, None)
        libc.mount(path, path, None, MS_BIND | MS_REC, None)
        libc.mount(None, path, None, MS_REMOUNT | MS_BIND, None)
    try_all("a remount of /sys")
    for _ in range(3):
        libc.umount2(b"/sys/fs/cgroup", 2)
        try_all("an unmount in /sys")


def in_new_namespaces(flags: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(flags) != 0:
        return
    if flags & CLONE_NEWUSER:
        for path, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with contextlib.suppress(OSError):
                write(f"/proc/self/{path}", text)
    libc.mount(None, b"/", None, MS_REC | 1 << 18, None)
    try_all("new namespaces")
    mounted()
    uncovered()


def by_descriptors() -> None:
    """Use what is open here or in another process: a directory of a cgroup, or a file in one."""
    for process in ["self", *filter(str.isdigit, os.listdir("/proc"))]:
        try:
            numbers = os.listdir(f"/proc/{process}/fd")
        except OSError:
            continue
        for number in numbers:
            link = f"/proc/{process}/fd/{number}"
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if "cgroup" not in target and "nsbox-" not in target:
                continue
            try:
                if target.endswith(("cgroup.procs", "cgroup.threads")):
                    write(link, "0")
                else:
                    enter(link, "a descriptor of a directory")
                    enter(f"{link}/..", "a descriptor of a directory")
            except OSError:
                continue
            if has_left():
                print("OUT left by a descriptor", flush=True)
    for process in filter(str.isdigit, os.listdir("/proc")):
        enter(f"/proc/{process}/root/sys/fs/cgroup", "the root of another process")
        enter(f"/proc/{process}/root/sys/fs/cgroup/unified", "the root of another process")


def into_every_directory() -> None:
    for directory in directories():
        for flags in (os.O_PATH, os.O_RDONLY):
            try:
                fd = os.open(directory, flags | os.O_DIRECTORY)
            except OSError:
                continue
            clone_into(fd, "clone3")
            os.close(fd)


def limits() -> None:
    """Raise the limits of the own cgroup, hand controllers on, kill another one, or remove one."""
    for directory in directories():
        if OWN.rpartition("/")[2] not in directory:
            continue
        for name, text in (
            ("pids.max", "max"),
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("cpu.max", "max"),
            ("cgroup.max.descendants", "5"),
            ("memory.oom.group", "0"),
        ):
            try:
                write(f"{directory}/{name}", text)
            except OSError:
                continue
            print("OUT raised", name, flush=True)
        for name in ("inner", "../outer"):
            try:
                os.mkdir(f"{directory}/{name}")
            except OSError:
                continue
            print("OUT made a cgroup", name, flush=True)
            os.rmdir(f"{directory}/{name}")


apart(limits)
apart(try_all, "its path")
apart(by_descriptors)
apart(into_every_directory)
apart(mounted)
apart(uncovered)
for flags in (CLONE_NEWCGROUP, CLONE_NEWNS, CLONE_NEWUSER | CLONE_NEWNS, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP):
    apart(in_new_namespaces, flags)
print("tried in", OWN)
