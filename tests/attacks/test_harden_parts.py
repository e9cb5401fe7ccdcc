"""Each part of `harden`: an attack that succeeds without it fails with it, alone and with all the others."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pty
import resource
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Bind, Tmpfs

from tests.support.attack import PYTHON, achieved, program
from tests.support.forked import USER, Who, in_child
from tests.support.needs import needs, needs_root

PLAIN: dict[str, Any] = {"unshare": "mipU", "mount_proc": True}
"""A payload that is root of its user namespace, as far as it goes without `harden`."""


def attack(source: str, *arguments: str, **options: Any) -> list[str]:
    """Run a Python program and return what it achieved."""
    keywords: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60, "cwd": "/"}
    done = nsbox.run([PYTHON, "-c", source, *arguments], **keywords | options)
    assert done.returncode == 0, done.stderr
    return achieved(done.stdout)


@pytest.fixture
def anyone(who: Who) -> Who:
    """Run the test as root and as an ordinary user, with all that `harden` takes."""
    needs(who, "mipUnC")
    return who


# System calls

ALWAYS_POSSIBLE = {
    "mount", "umount2", "open_tree", "move_mount", "setns", "keyctl", "process_vm_readv", "pidfd_getfd", "clone3",
    "name_to_handle_at", "unshare CLONE_NEWUSER", "clone CLONE_NEWUSER", "ioctl 0x5412", "ioctl 0x100005412",
    "personality", "ptrace", "fanotify_init", "unshare empty mounts", "unshare unknown", "ioctl 0x5423", "ioctl 0xaa00",
    "ioctl 0xae01", "socket of family 38", "socket of family 99", "netlink protocol 11", "netlink protocol 12",
    "core dumps",
}  # fmt: skip


@pytest.mark.parametrize("options", [{**PLAIN, "seccomp": True}, {"harden": True}], ids=["alone", "all"])
def test_seccomp(anyone: Who, options: dict[str, Any]) -> None:
    """No call that mounts, traces, or makes namespaces reaches the kernel, in whatever way the numbers are written."""
    source = program("calls.py")
    assert set(anyone(lambda: attack(source, **PLAIN))) >= ALWAYS_POSSIBLE
    assert anyone(lambda: attack(source, **options)) == []


# Capabilities


@pytest.mark.parametrize(
    "options", [{**PLAIN, "drop_capabilities": True, "no_new_privs": True}, {"harden": True}], ids=["alone", "all"]
)
def test_capabilities(anyone: Who, options: dict[str, Any]) -> None:
    """The payload has none in any set, and cannot get one."""
    source = program("rights.py")
    without = anyone(lambda: attack(source, **PLAIN))
    assert {"CapEff", "CapPrm", "CapBnd", "an exec can grant privileges", "securebits can be changed"} <= set(without)
    assert anyone(lambda: attack(source, **options)) == []


# Mounts

LOCKS: dict[str, dict[str, Any]] = {
    "alone": {**PLAIN, "lock_mounts": True},
    "without-capabilities": {**PLAIN, "drop_capabilities": True, "no_new_privs": True},
    "all": {"harden": True},
    "all-but-seccomp-and-landlock": {"harden": True, "seccomp": False, "landlock": False},
    "all-but-capabilities": {"harden": True, "seccomp": False, "landlock": False, "drop_capabilities": False},
}


@contextlib.contextmanager
def arranged() -> Iterator[tuple[list[Any], str, str]]:
    """Give mounts, a directory that they hide, and one that they make read-only, where private /tmp is none of them."""
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="nsbox-test-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        hidden, read_only = place / "hidden", place / "read-only"
        for path in (hidden, read_only):
            path.mkdir()
            path.chmod(0o777)
        (hidden / "secret").write_text("secret")
        mounts = [Tmpfs(str(hidden)), Bind(str(read_only), str(read_only), read_only=True)]
        yield mounts, str(hidden), str(read_only)


@needs_root
@pytest.mark.parametrize("options", LOCKS.values(), ids=list(LOCKS))
def test_locked_mounts(anyone: Who, options: dict[str, Any]) -> None:
    """What a mount hides or protects stays so, whatever the payload, root inside, unmounts or mounts."""
    source = program("mounts.py")
    with arranged() as (mounts, hidden, read_only):
        without = anyone(lambda: attack(source, hidden, read_only, mounts=mounts, **PLAIN))
        assert {"umount read", "umount -l read", "mount"} <= set(without)
        assert anyone(lambda: attack(source, hidden, read_only, mounts=mounts, **options)) == []


# The machine


@pytest.mark.parametrize(
    "options", [{**PLAIN, "mask_proc": True, "private_sys": True}, {"harden": True}], ids=["alone", "all"]
)
def test_machine(anyone: Who, options: dict[str, Any]) -> None:
    """Settings of the machine cannot be opened for writing, and its memory and keys not be read."""
    source = program("machine.py")
    without = anyone(lambda: attack(source, **PLAIN))
    assert {"proc: opens /proc/sys/kernel/pid_max", "proc: reads /proc/keys", "sys: is not read-only"} & set(without)
    assert anyone(lambda: attack(source, **options)) == []


@needs_root
def test_private_ids() -> None:
    """Root inside is none outside: it cannot read what only root may, and no file is made in root's name."""
    source = """
import os
for path in ("/etc/shadow", "/proc/1/environ"):
    try:
        open(path, "rb").read(1)
    except OSError:
        continue
    print("OUT reads", path)
if any(line.split()[1] == "0" for line in open("/proc/self/uid_map")):
    print("OUT is root outside")
"""
    assert "reads /etc/shadow" in attack(source, **PLAIN)
    assert attack(source, **PLAIN, private_ids=True) == []
    assert attack(source, harden=True) == []


@needs_root
def test_root_without_private_ids_is_refused() -> None:
    """There is no way to be hardened and root outside at once."""
    for options in ({"private_ids": False}, {"map_users": [(0, 0, 1)]}, {"map_root_user": True}):
        for harden in (True, "best"):
            with pytest.raises(nsbox.SpecError, match="private_ids"):
                nsbox.run(["true"], harden=harden, **options)


# Files in memory


@pytest.mark.parametrize("options", [{**PLAIN, "private_tmp": True}, {"harden": True}], ids=["alone", "all"])
def test_private_tmp(anyone: Who, options: dict[str, Any]) -> None:
    """Files in /tmp, /var/tmp and /dev/shm are not seen outside, and there are not too many of them."""
    source = """
import os, sys
for directory in ("/tmp", "/var/tmp", "/dev/shm"):
    with open(f"{directory}/{sys.argv[1]}", "w"):
        pass
"""
    places = [Path(directory, f"nsbox-attack-{os.getpid()}") for directory in ("/tmp", "/var/tmp", "/dev/shm")]
    anyone(lambda: attack(source, places[0].name, **PLAIN))
    assert all(place.exists() for place in places)
    for place in places:
        place.unlink()
    anyone(lambda: attack(source, places[0].name, **options))
    assert not any(place.exists() for place in places)


def test_no_more_inodes(anyone: Who) -> None:
    """A program cannot fill the memory of the machine with empty files."""
    source = """
for number in range(4200):
    try:
        open(f"/dev/shm/{number}", "w").close()
    except OSError:
        break
else:
    print("OUT 4,200 files")
"""
    assert anyone(lambda: attack(source, harden=True)) == []
    small = {"mounts": [Tmpfs("/dev/shm", inodes=10)]}
    assert anyone(lambda: attack(source, **PLAIN, **small)) == []


# Keys, terminals, sockets, groups, limits

KEYS = """
import ctypes, sys
LIBC = ctypes.CDLL(None, use_errno=True)
number = {number}
# KEYCTL_SEARCH in the session keyring, then KEYCTL_READ
key = LIBC.syscall(ctypes.c_long(number), 10, -3, b"user", b"nsbox-secret", 0)
room = ctypes.create_string_buffer(20)
if key > 0 and LIBC.syscall(ctypes.c_long(number), 11, key, room, 20) > 0:
    print("OUT", room.value.decode())
"""


def keyctl(*arguments: Any) -> None:
    number = 250 if os.uname().machine == "x86_64" else 219
    result = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments)
    assert result >= 0, os.strerror(ctypes.get_errno())


@pytest.mark.parametrize(
    "options", [{**PLAIN, "keyring": True}, {"harden": True, "seccomp": False}], ids=["alone", "all"]
)
def test_keyring(anyone: Who, options: dict[str, Any]) -> None:
    """The keys of the caller's session are not inherited."""
    source = KEYS.format(number=250 if os.uname().machine == "x86_64" else 219)

    def scene() -> tuple[list[str], list[str]]:
        # A session keyring of this child alone, with a key.
        keyctl(1, None)
        add_key = 248 if os.uname().machine == "x86_64" else 217
        ctypes.CDLL(None).syscall(ctypes.c_long(add_key), b"user", b"nsbox-secret", b"key", 3, -3)
        return attack(source, unshare="mip"), attack(source, **options)

    assert in_child(lambda: anyone(scene)) == (["key"], [])


@pytest.mark.parametrize("options", [{**PLAIN, "new_session": True}, {"harden": True}], ids=["alone", "all"])
def test_terminal(anyone: Who, options: dict[str, Any]) -> None:
    """The terminal of the caller cannot be opened by /dev/tty."""
    source = """
try:
    open("/dev/tty").close()
    print("OUT opens the terminal of the caller")
except OSError:
    pass
"""

    def scene() -> tuple[list[str], list[str]]:
        def with_terminal() -> tuple[list[str], list[str]]:
            leader, terminal = pty.openpty()
            os.setsid()
            os.close(os.open(os.ttyname(terminal), os.O_RDWR))
            try:
                return attack(source, **PLAIN), attack(source, **options)
            finally:
                os.close(leader)
                os.close(terminal)

        return in_child(with_terminal)

    def calm() -> tuple[list[str], list[str]]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return scene()

    without, with_ = in_child(lambda: anyone(calm))
    assert without == ["opens the terminal of the caller"]
    assert with_ == []


@pytest.mark.parametrize(
    "options",
    [{**PLAIN, "network": False}, {**PLAIN, "landlock": True}, {"harden": True}, {"harden": True, "network": True}],
    ids=["network", "landlock", "all", "all-with-network"],
)
def test_abstract_sockets(anyone: Who, options: dict[str, Any]) -> None:
    """A socket without a path, of a program outside, cannot be connected to."""
    source = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    try:
        client.connect("\\0" + sys.argv[1])
        print("OUT connected")
    except OSError:
        pass
"""
    name = f"nsbox-attack-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen(8)
        assert anyone(lambda: attack(source, name, **PLAIN)) == ["connected"]
        assert anyone(lambda: attack(source, name, **options)) == []


def test_network(anyone: Who) -> None:
    """There is none but loopback, unless it is asked for."""
    source = "import socket\nfor _, name in socket.if_nameindex():\n    print('OUT', name)"
    ours = [name for _, name in socket.if_nameindex()]
    alone = anyone(lambda: attack(source, harden=True))
    assert [name for name in alone if name not in ("lo", "sit0", "tunl0")] == []
    assert anyone(lambda: attack(source, harden=True, network=True)) == ours


@needs_root
@pytest.mark.parametrize("options", [{"unshare": "mip", "drop_groups": True}, {"harden": True}], ids=["alone", "all"])
def test_groups(options: dict[str, Any]) -> None:
    """Another user has none of the groups of root."""
    source = f"""
import os
if os.getuid() != {USER}:
    print("OUT is", os.getuid())
if os.getgid() == 0 or 4242 in os.getgroups() or 0 in os.getgroups():
    print("OUT is in a group of root")
"""

    def scene() -> tuple[list[str], list[str]]:
        os.setgroups([0, 4242])
        return attack(source, unshare="mip", user=USER), attack(source, user=USER, **options)

    assert in_child(scene) == (["is in a group of root"], [])


def test_rlimits(anyone: Who) -> None:
    """There are limits, the caller's own ones win, and none is above what the caller has."""
    source = """
import resource
for name in ("CORE", "NOFILE", "NPROC"):
    print("OUT", *resource.getrlimit(getattr(resource, f"RLIMIT_{name}")))
"""
    given = {"rlimits": {"nofile": 99}}
    assert anyone(lambda: attack(source, harden=True, **given)) == ["1 1", "99 99", "1024 1024"]

    def lowered() -> list[str]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))
        return attack(source, harden=True)

    assert in_child(lambda: anyone(lowered))[1] == "250 250"


# What is counted for the user outside as well

INOTIFY = """
import ctypes, os
libc = ctypes.CDLL(None)
count = 0
while count < 20 and libc.inotify_init() >= 0:
    count += 1
if count > 16:
    print("OUT inotify instances")
"""
TIMERS = """
import ctypes
libc = ctypes.CDLL(None)
room = ctypes.c_void_p()
count = 0
# Each timer keeps a signal (timer_create(2)): CLOCK_MONOTONIC, SIGALRM.
while count < 3000 and libc.timer_create(1, None, ctypes.byref(room)) == 0:
    count += 1
if count > 1024:
    print("OUT timers")
"""
LOCKED = """
import ctypes, mmap
libc = ctypes.CDLL(None)
room = mmap.mmap(-1, 4 << 20)
if libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(room))), ctypes.c_size_t(4 << 20)) == 0:
    print("OUT locked memory")
"""


@pytest.mark.parametrize("source", [INOTIFY, TIMERS, LOCKED], ids=["inotify", "timers", "memory"])
def test_what_is_counted_outside_as_well(anyone: Who, source: str) -> None:
    """A program cannot use up what the kernel gives to the user outside: that user's other programs would get none."""
    if not (anyone.is_root and source is INOTIFY):
        # Other programs of root would get none meanwhile.
        assert len(anyone(lambda: attack(source, **PLAIN))) == 1
    assert anyone(lambda: attack(source, harden=True)) == []
    if source is INOTIFY:
        limits = {"sysctl": {"user.max_inotify_instances": 20}}
        assert anyone(lambda: attack(source, harden=True, **limits)) == ["inotify instances"]


IN_FLIGHT = """
import array, socket, sys
pairs = []
try:
    while len(pairs) < 8:
        pairs.append(socket.socketpair())
        pairs[-1][0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 250))])
except OSError:
    pass
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("harden", [False, True], ids=["documented", "hardened"])
def test_descriptors_in_sockets(anyone: Who, harden: bool) -> None:
    """A program that sends itself many descriptors keeps no other program of the user from sending some (unix(7))."""
    options: dict[str, Any] = {"harden": True} if harden else PLAIN
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    def scene() -> int:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        with nsbox.Popen([PYTHON, "-c", IN_FLIGHT], cwd="/", **pipes, **options) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            try:
                return nsbox.run(["true"], cwd="/", **PLAIN).returncode
            except nsbox.SpawnError as error:
                return error.errno or 0
            finally:
                process.communicate()

    # Root itself is not limited, but nsbox-init in a user namespace is, and its caller gets no reply.
    error = errno.ECONNRESET if anyone.is_root else errno.ETOOMANYREFS
    assert in_child(lambda: anyone(scene)) == (0 if harden else error)


EVENTS = """
import select, socket
try:
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
    events.bind((0, 1))
except OSError:
    events = None
print("ready", flush=True)
input()
if events and select.select([events], [], [], 0)[0]:
    print("OUT sees processes start and end")
"""


@needs_root
@pytest.mark.parametrize("harden", [False, True], ids=["documented", "hardened"])
def test_events_of_processes(anyone: Who, harden: bool) -> None:
    """With the caller's network, a program does not see which processes of the machine start and end (connector(7))."""
    options: dict[str, Any] = {"harden": True, "network": True} if harden else PLAIN
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    def scene() -> list[str]:
        with nsbox.Popen([PYTHON, "-c", EVENTS], cwd="/", **pipes, **options) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            subprocess.run(["true"], check=True)
            # The same broadcast reaches all sockets.
            return achieved(process.communicate("\n")[0])

    # The kernel sends events while a program of root listens, such as a monitor of the machine.
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11) as monitor:
        monitor.bind((0, 1))
        listen, ignore = (
            struct.pack("=IHHIIIIIIHHI", 40, 3, 0, 0, os.getpid(), 1, 1, 1, 0, 4, 0, number) for number in (1, 2)
        )
        monitor.send(listen)
        try:
            assert anyone(scene) == ([] if harden else ["sees processes start and end"])
        finally:
            monitor.send(ignore)


# Landlock


def test_landlock_alone(anyone: Who) -> None:
    """Root inside can mount nothing, make no device node, and trace no process outside of its domain."""
    source = """
import ctypes, os, stat
LIBC = ctypes.CDLL(None, use_errno=True)
if LIBC.mount(b"tmpfs", b"/mnt", b"tmpfs", 0, None) == 0:
    print("OUT mounts")
if LIBC.umount2(b"/mnt", 2) == 0:
    print("OUT unmounts")
"""
    mounts = [Tmpfs("/mnt")]
    assert set(anyone(lambda: attack(source, **PLAIN, mounts=mounts))) == {"mounts", "unmounts"}
    assert anyone(lambda: attack(source, **PLAIN, mounts=mounts, landlock=True)) == []


# Sysctls


def test_sysctl(anyone: Who) -> None:
    """A setting of the new namespaces is made before the payload runs, and the payload cannot change it."""
    source = """
print("OUT", open("/proc/sys/kernel/shmall").read().strip(), open("/proc/sys/fs/mqueue/queues_max").read().strip())
try:
    os.close(os.open("/proc/sys/kernel/shmall", os.O_WRONLY))
    print("OUT can change it")
except Exception:
    pass
"""
    settings = {"kernel.shmall": 1234, "fs.mqueue.queues_max": "3"}
    assert anyone(lambda: attack(source, harden=True, sysctl=settings)) == ["1234 3"]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("name", "unshare", "message"),
    [
        ("kernel.core_pattern", "mipUn", "belongs to no namespace"),
        ("kernel.shmall", "mp", "needs a new ipc namespace"),
        ("net.core.somaxconn", "mip", "needs a new net namespace"),
        ("kernel.pid_max", "mip", "set by the option pid_max"),
        ("net.ipv4/../../kernel/core_pattern", "mipn", "is no name"),
        ("net...kernel.core_pattern", "mipn", "is no name"),
        ("net.\n", "n", "is no name"),
    ],
)
def test_sysctl_of_the_machine(name: str, unshare: str, message: str) -> None:
    """A setting that the new namespaces do not have of their own is refused."""
    with pytest.raises(nsbox.SpecError, match=message):
        nsbox.Spec(unshare=unshare, sysctl={name: 1})


@pytest.mark.parametrize("options", [{**PLAIN, "new_session": True}, {"harden": True}], ids=["alone", "all"])
def test_terminals_of_the_same_user(anyone: Who, options: dict[str, Any]) -> None:
    """A terminal of the same user cannot be opened by its path either; new ones can be made."""
    source = """
import os, pty, sys
try:
    os.close(os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY))
    print("OUT opens a terminal of the caller")
except OSError:
    pass
leader, terminal = pty.openpty()
os.write(terminal, b"x")
assert os.read(leader, 1) == b"x"
assert os.path.exists(os.ttyname(terminal))
"""

    def scene() -> tuple[list[str], list[str]]:
        leader, terminal = pty.openpty()
        try:
            name = os.ttyname(terminal)
            return attack(source, name, **PLAIN), attack(source, name, **options)
        finally:
            os.close(leader)
            os.close(terminal)

    without, with_ = anyone(scene)
    assert without == ["opens a terminal of the caller"]
    assert with_ == []


DEVICES = """
import ctypes, os, stat, sys
terminal, queue = sys.argv[1:]
try:
    fd = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    if os.isatty(fd):
        print("OUT opens a terminal of the caller")
except OSError:
    pass
try:
    # A queue is received from by any descriptor of it, also on a read-only mount (mq_overview(7)).
    room = ctypes.create_string_buffer(8192)
    if ctypes.CDLL(None).mq_receive(os.open(queue, os.O_RDONLY | os.O_NONBLOCK), room, 8192, None) > 0:
        print("OUT takes a message:", room.value.decode())
except OSError:
    pass
usual = {"fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"}
null = os.stat("/dev/null").st_rdev
for entry in os.scandir("/dev"):
    if entry.name in usual or entry.is_symlink():
        continue
    if not entry.is_dir() and os.access(entry.path, os.R_OK) and os.stat(entry.path).st_rdev != null:
        print("OUT reads another device")
        break
for name in ("null", "zero", "full", "random", "urandom"):
    with open(f"/dev/{name}", "r+b", buffering=0) as file:
        file.read(1)
"""


@needs_root
def test_other_devices(anyone: Who) -> None:
    """The console of the same user, the message queues of the caller and other devices of the machine are hidden."""
    queue = f"/nsbox-attack-{os.getpid()}"

    def machine() -> tuple[list[str], ...]:
        # A machine where the terminal of the console belongs to the user, and that shows its queues in /dev.
        nsbox.raw.unshare(nsbox.raw.CLONE_NEWNS | nsbox.raw.CLONE_NEWIPC)
        nsbox.raw.mount(None, "/", None, nsbox.raw.MS_REC | nsbox.raw.MS_PRIVATE)
        nsbox.raw.mount("mqueue", "/dev/net", "mqueue", 0)
        leader, terminal = pty.openpty()
        nsbox.raw.mount(os.ttyname(terminal), "/dev/tty5", None, nsbox.raw.MS_BIND)
        number = ctypes.CDLL(None).mq_open(queue.encode(), os.O_RDWR | os.O_CREAT, 0o600, None)
        for _ in range(2):
            assert ctypes.CDLL(None).mq_send(number, b"secret", 7, 0) == 0
        paths = "/dev/tty5", f"/dev/net{queue}"
        if not anyone.is_root:
            for path in paths:
                os.chown(path, USER, USER)
        found = anyone(lambda: (attack(DEVICES, *paths, **PLAIN), attack(DEVICES, *paths, harden=True)))
        asked_for = Bind("/dev/tty5", "/dev/tty5", dev=True)
        given = anyone(lambda: attack(DEVICES, *paths, harden=True, mounts=[asked_for]))
        os.close(leader)
        return (*found, given)

    without, with_, asked_for = in_child(machine)
    assert {"opens a terminal of the caller", "takes a message: secret", "reads another device"} <= set(without)
    assert with_ == []
    # What is named is shown; to root inside it belongs to another user.
    assert set(asked_for) == (set() if anyone.is_root else {"opens a terminal of the caller", "reads another device"})
