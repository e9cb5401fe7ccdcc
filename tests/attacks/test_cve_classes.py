"""Attacks of the kinds that have got out of other sandboxes, each as a program that tries it.

What is not held without `harden` is asserted, too: such a test says so in its name (`documented`), and
docs/security.md lists it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.attack import PYTHON, Arrangement, achieved
from tests.support.forked import USER, Who, as_user, in_child
from tests.support.needs import needs, needs_root
from tests.support.rootfs import Rootfs

# Capabilities (CVE-2022-29162, CVE-2022-27650).

CAPABILITIES = """
sets = dict(line.split() for line in open("/proc/self/status") if line.startswith("Cap"))
for name, value in sets.items():
    if int(value, 16):
        print("OUT", name.rstrip(":"))
"""


def test_no_capability_is_inherited(every_arrangement: Arrangement) -> None:
    """The inheritable and the ambient set are empty; a program that is not root of a user namespace has none at all."""
    out = set(every_arrangement(lambda: every_arrangement.attack(CAPABILITIES)))
    # Root of a user namespace has them over that namespace alone. The bounding set is a limit, and gives nothing.
    hardened, dropped = "harden" in every_arrangement.options, bool(every_arrangement.as_id)
    assert out == (set() if hardened else {"CapBnd"} if dropped else {"CapBnd", "CapEff", "CapPrm"})


# Ids and groups (CVE-2014-8989, CVE-2023-6507, CVE-2026-30892).

IDS = """
import os
for name, call in [
    ("setuid(0)", lambda: os.setuid(0)), ("setgid(0)", lambda: os.setgid(0)), ("setgroups", lambda: os.setgroups([])),
    ("setresuid", lambda: os.setresuid(1, 1, 1)), ("setgroups(0)", lambda: os.setgroups([0])),
]:
    try:
        call()
        print("OUT", name)
    except OSError:
        pass
if os.getgroups():
    print("OUT groups", os.getgroups())
"""


def test_a_dropped_uid_is_for_good() -> None:
    """A program with a dropped uid has no groups, and cannot become anybody else."""
    needs(Who("root"), "mip")
    dropped: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []}
    run = [PYTHON, "-c", IDS]

    def use() -> list[str]:
        # The caller has groups that it must not pass on.
        os.setgroups([0, 4, 27])
        keywords: dict[str, Any] = {"unshare": "mip", "mount_proc": True, "capture_output": True, "text": True}
        out = achieved(nsbox.run(run, **keywords, **dropped).stdout)
        with nsbox.Box("mip", mount_proc=True) as box:
            return out + achieved(box.run(run, capture_output=True, text=True, **dropped).stdout)

    assert in_child(use) == []


@pytest.mark.parametrize("user", ["65533:0", "0x0", " 0", "-1", "4294967295", "-0", "65533\n0"])
def test_ids_are_not_parsed(user: str) -> None:
    """A text is the name of a user, which must exist, and nothing else."""
    needs(Who("root"), "mip")
    with pytest.raises((ValueError, KeyError, OverflowError, OSError)):
        nsbox.run(["true"], unshare="mip", user=user)


SETGROUPS = """
import os
try:
    os.setgroups([])
    print("OUT gave up groups")
except OSError:
    pass
print(open("/proc/self/setgroups").read())
"""


def test_a_user_cannot_give_up_groups() -> None:
    """Files can be closed to a group (CVE-2014-8989): setgroups is denied before the map of groups is written."""
    needs(Who("user"), "mip")
    arrangement = Arrangement("user", Who("user"), {"unshare": "mipU", "mount_proc": True})
    assert arrangement(lambda: arrangement.attack(SETGROUPS)) == []


# Signals, and what a program can do to its init.

SIGNALS = """
import contextlib, os, signal, sys
# What it sends to everything in the box, or to init, which forwards it, comes back. The C library keeps two for itself.
numbers = [number for number in range(1, 65) if number not in (32, 33)]
for number in numbers:
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_IGN)
for number in numbers:
    for target in (1, -1) if number not in (signal.SIGKILL, signal.SIGSTOP) else (1,):
        with contextlib.suppress(OSError):
            os.kill(target, number)
sys.exit(7)
"""


def test_signals_to_init(every_arrangement: Arrangement) -> None:
    """No signal from inside ends init, stops it, or changes the status that it reports."""
    command = [PYTHON, "-c", SIGNALS]

    def use() -> tuple[int, int, int]:
        first = nsbox.run(command, **every_arrangement.options, **every_arrangement.as_id).returncode
        with nsbox.Box(**every_arrangement.options) as box:
            second = box.run(command, **every_arrangement.as_id).returncode
            return first, second, box.run(["sh", "-c", "exit 3"], **every_arrangement.as_id).returncode

    assert every_arrangement(use) == (7, 7, 3)


# The same PID for another process.

REUSE = """
import os, subprocess
number = int(os.environ["NUMBER"])
for _ in range(10):
    try:
        open("/proc/sys/kernel/ns_last_pid", "w").write(str(number - 1))
        pid = os.fork()
    except OSError:
        break
    if pid == 0:
        os.close(1)
        os.execvp("sleep", ["sleep", "1000"])
    if pid == number:
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("OUT a process with the same PID was killed")
        break
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""


def test_the_same_pid_again(with_user_namespace: Arrangement) -> None:
    """A handle of a process that has ended never reaches another one with its PID."""

    def use() -> list[str]:
        with nsbox.Box(**with_user_namespace.options) as box:
            handle = box.Popen(["true"])
            handle.wait()
            environment = {**os.environ, "NUMBER": str(handle.pid_inside)}
            thief = box.Popen([PYTHON, "-c", REUSE], stdout=subprocess.PIPE, text=True, env=environment)
            assert thief.stdout is not None
            line = thief.stdout.readline()
            handle.kill()
            handle.terminate()
            handle.send_signal(9)
            alive = box.run(["kill", "-0", line.strip() or "1"]).returncode
            assert alive == 0
            thief.kill()
            return achieved(thief.communicate()[0])

    assert with_user_namespace(use) == []


# cgroups (CVE-2022-0492) and what else only the host's root may do.

HOST = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, fstype, flags=0, data=None):
    return libc.mount(source.encode(), target.encode(), fstype.encode(), flags, data and data.encode())
libc.mount(b"tmpfs", b"/mnt", b"tmpfs", 0, None)
for controller in ("memory", "rdma", "pids", "cpuset"):
    if mount("cgroup", "/mnt", "cgroup", 0, controller) == 0:
        try:
            open("/mnt/release_agent", "w").write("/bin/true")
            print("OUT release_agent of", controller)
        except OSError:
            pass
for what, act in {
    "settimeofday": lambda: libc.clock_settime(0, None),
    "init_module": lambda: libc.syscall({"x86_64": 175, "aarch64": 105}[os.uname().machine], 0, 0, b""),
    "swapoff": lambda: libc.swapoff(b"/nowhere-at-all"),
    "mknod": lambda: libc.mknod(b"/tmp/nsbox-attack-device", 0o20666, 0x103),
}.items():
    ctypes.set_errno(0)
    result = act()
    # EPERM is the refusal; another error means that the kernel has gone on to look at the arguments.
    if result == 0 or ctypes.get_errno() not in (1, 13, 38):
        print("OUT", what, result, ctypes.get_errno())
"""


def test_what_only_root_of_the_host_may_do(every_arrangement: Arrangement) -> None:
    """release_agent, modules, the clock, swap and devices are refused."""
    assert every_arrangement(lambda: every_arrangement.attack(HOST)) == []


# Abstract sockets (CVE-2020-15257, CVE-2022-42919).

ABSTRACT = """
import socket
for line in open("/proc/net/unix"):
    path = line.split()[-1]
    if path.startswith("@nsbox"):
        print("OUT", path)
"""


def test_no_abstract_socket_is_made(every_arrangement: Arrangement) -> None:
    """The connections to init have no name that another process could connect to."""

    def use() -> list[str]:
        with nsbox.Box(**every_arrangement.options) as box:
            ours = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
            return every_arrangement.attack_from(box, ABSTRACT) + [name for name in ours if name.startswith("@nsbox")]

    assert every_arrangement(use) == []


# Descriptors of other processes by pidfd.

PIDFDS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
setns = {"x86_64": 308, "aarch64": 268}[os.uname().machine]
before = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
for pid in (1, os.getppid() or 1):
    pidfd = libc.syscall(434, pid, 0)
    if pidfd < 0:
        continue
    for number in range(64):
        if libc.syscall(438, pidfd, number, 0) >= 0:
            print("OUT descriptor", number, "of", pid)
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        libc.syscall(setns, pidfd, flag)
after = {name: os.readlink(f"/proc/self/ns/{name}") for name in before}
for name in before:
    if after[name] != before[name]:
        print("OUT moved to another", name)
"""


def test_pidfds_of_init(every_arrangement: Arrangement) -> None:
    """init's descriptors cannot be taken, and its namespaces are the box's own."""

    def use() -> list[str]:
        with nsbox.Box(**every_arrangement.options) as box:
            return every_arrangement.attack(PIDFDS) + every_arrangement.attack_from(box, PIDFDS)

    assert every_arrangement(use) == []


# A root directory, and targets of mounts, that a program controls (CVE-2021-30465, CVE-2025-31133, -52565, -52881).


@pytest.mark.parametrize("target", ["/proc", "/tmp", "/data", "/data/below"])
@pytest.mark.parametrize(
    "link", ["/etc", "/../../../../etc", "{outside}", "../outside", "/proc/self/cwd", "/proc/1/root"]
)
def test_links_in_a_root(every_arrangement: Arrangement, place: Path, target: str, link: str) -> None:
    """Links in the root lead nowhere but to what is in it: neither mounts nor what is written there get out."""
    outside = place / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    rootfs = Rootfs.make(place)
    where = rootfs.path / target.removeprefix("/")
    if where.is_dir():
        where.rmdir()
    else:
        where.parent.mkdir(exist_ok=True)
    where.symlink_to(link.format(outside=outside))
    command = ["sh", "-c", f"echo x > {target}/written; cat /etc/hostname; ls /"]

    def use() -> str:
        options = rootfs.options(nsbox.Tmpfs(target), **every_arrangement.options)
        if target == "/proc":
            options = rootfs.options(**every_arrangement.options)
        try:
            result = nsbox.run(command, capture_output=True, text=True, **options, **every_arrangement.as_id)
        except OSError:
            return ""
        return str(result.stdout)

    before = Path("/proc/self/mountinfo").read_text()
    output = every_arrangement(use)
    assert "outside" not in output.split()
    assert list(outside.iterdir()) == []
    assert not Path("/etc/written").exists()
    assert Path("/proc/self/mountinfo").read_text() == before


SWAP = """
import os, sys
place = sys.argv[1]
os.makedirs(f"{place}/a", exist_ok=True)
os.symlink("/etc", f"{place}/b")
print("ready", flush=True)
while True:
    os.rename(f"{place}/a", f"{place}/c")
    os.rename(f"{place}/b", f"{place}/a")
    os.rename(f"{place}/c", f"{place}/b")
"""


def test_targets_that_change(with_user_namespace: Arrangement) -> None:
    """A program exchanges the target of a mount for a link all the time: the machine's files are not touched."""

    def use() -> bool:
        with nsbox.Box(**with_user_namespace.options) as box:
            box.mount("tmpfs", "/mnt", "tmpfs")
            swapper = box.Popen([PYTHON, "-c", SWAP, "/mnt"], stdout=subprocess.PIPE)
            assert swapper.stdout is not None
            swapper.stdout.readline()
            mounted = 0
            for _ in range(200):
                try:
                    box.mount("tmpfs", "/mnt/a", "tmpfs")
                    mounted += 1
                except OSError:
                    pass
            swapper.kill()
            swapper.communicate()
        return mounted > 0 and os.path.exists("/etc/passwd")

    before = Path("/proc/self/mountinfo").read_text()
    assert with_user_namespace(use)
    assert Path("/proc/self/mountinfo").read_text() == before


# Programs with the set-user-ID bit (CVE-2016-8659, CVE-2022-31214).


def test_nothing_with_a_set_user_id_bit_is_installed() -> None:
    """nsbox has no helper that runs with more rights than its caller."""
    package = Path(nsbox.__file__).parent
    assert not [path for path in package.rglob("*") if path.is_file() and path.stat().st_mode & 0o6000]


@needs_root
@pytest.mark.parametrize("harden", [False, True], ids=["user-namespace", "harden"])
def test_set_user_id_programs(place: Path, harden: bool) -> None:
    """For an ordinary user, root outside is nobody in a user namespace, and a program of root gives no rights."""
    needs(Who("user"), "mip")
    program = place / "id"
    program.write_bytes(Path("/usr/bin/id").read_bytes())
    program.chmod(0o4755)
    options: dict[str, Any] = {"harden": True, "private_tmp": False} if harden else {"unshare": "mip"}

    command = ["sh", "-c", f"{program} -u; cat /proc/self/uid_map"]
    shown = as_user(lambda: nsbox.run(command, stdout=subprocess.PIPE, text=True, **options).stdout)
    # 0 is root of the box, which is the user outside.
    assert shown.split() == ["0", "0", str(USER), "1"]


MOUNTS = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
hidden = sys.argv[1].encode()
for what, act in [
    ("unmounted", lambda: libc.umount2(hidden, 2)),
    ("mounted", lambda: libc.mount(b"tmpfs", b"/mnt", b"tmpfs", 0, None)),
    ("remounted", lambda: libc.mount(None, hidden, None, 0x20 | 0x1000, None)),
]:
    if act() == 0:
        print("OUT", what)
print("OUT sees", os.listdir(hidden)) if os.listdir(hidden) else None
"""


def test_mounts_with_a_dropped_uid(place: Path) -> None:
    """A program with a dropped uid has no capability, so it cannot undo what hides a file."""
    needs(Who("root"), "mip")
    (place / "secret").write_text("secret")
    dropped: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []}
    options: dict[str, Any] = {"unshare": "mip", "mount_proc": True, "mounts": [nsbox.Tmpfs(place)]}
    arrangement = Arrangement("dropped", Who("root"), options, dropped)
    assert arrangement.attack(MOUNTS, str(place)) == []


@needs_root
def test_set_user_id_programs_with_a_dropped_uid(place: Path) -> None:
    """With `no_new_privs` such a program of the machine gives no rights. Without, it does, as for every user."""
    program = place / "id"
    program.write_bytes(Path("/usr/bin/id").read_bytes())
    program.chmod(0o4755)
    dropped: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": [], "unshare": "mip", "text": True}
    dropped["stdout"] = subprocess.PIPE
    assert nsbox.run([program, "-u"], no_new_privs=True, **dropped).stdout == f"{USER}\n"
    assert nsbox.run([program, "-u"], **dropped).stdout == "0\n"


# User namespaces as a way to the kernel (CVE-2022-0185, CVE-2023-0386).

NESTED = """
import ctypes
libc = ctypes.CDLL(None)
for name, flags in [("user", 0x10000000), ("mount", 0x20000), ("net", 0x40000000), ("user and mount", 0x10020000)]:
    if libc.unshare(flags) == 0:
        print("OUT a new namespace:", name)
"""


def test_new_namespaces_documented(every_arrangement: Arrangement) -> None:
    """Without `harden` a program may make namespaces, and so use the parts of the kernel that need capabilities."""
    out = every_arrangement(lambda: every_arrangement.attack(NESTED))
    assert out == [] if "harden" in every_arrangement.options else out != []


# Terminal injection (CVE-2017-5226, CVE-2019-10063).

TERMINAL = """
import fcntl, os
numbers = [0x5412, 0x5412 | 1 << 32]
for path in ("/dev/tty", "/proc/self/fd/0", "/proc/self/fd/2"):
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        continue
    import ctypes
    libc = ctypes.CDLL(None)
    for number in numbers:
        # The upper half of the number is ignored by the kernel, and must not be by a filter.
        if libc.syscall({"x86_64": 16, "aarch64": 29}[os.uname().machine], fd, ctypes.c_long(number), b"x") == 0:
            print("OUT typed by", path)
"""


def _with_a_terminal(function: Callable[[], list[str]]) -> list[str]:
    """Return what `function` returns in a session that has a terminal of its own."""

    def use() -> list[str]:
        # The end of the terminal is one of the session (tty(4)).
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.setsid()
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        try:
            return function()
        finally:
            os.close(slave)
            os.close(master)

    return in_child(use)


@pytest.mark.skipif(
    not Path("/proc/sys/dev/tty/legacy_tiocsti").exists()
    or Path("/proc/sys/dev/tty/legacy_tiocsti").read_text() == "0\n",
    reason="the kernel refuses it to everybody (dev.tty.legacy_tiocsti)",
)
def test_terminal_documented(every_arrangement: Arrangement) -> None:
    """Without `harden` a program shares the session of its caller, and types into its terminal. A new session holds."""
    hardened = "harden" in every_arrangement.options

    def use(**options: Any) -> list[str]:
        return _with_a_terminal(lambda: every_arrangement.attack(TERMINAL, **options))

    assert every_arrangement(use) == [] if hardened else every_arrangement(use) != []
    assert every_arrangement(lambda: use(start_new_session=True)) == []


TERMINAL_BY_PATH = """
import os, sys
try:
    os.close(os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY))
    print("OUT opened the terminal")
except OSError:
    pass
"""


def test_terminal_by_path_documented(every_arrangement: Arrangement) -> None:
    """Without `harden` a program opens terminals of its own user by their path; a dropped uid has none."""
    private = bool(every_arrangement.as_id) or "harden" in every_arrangement.options

    def use() -> list[str]:
        master, slave = pty.openpty()
        try:
            return every_arrangement.attack(TERMINAL_BY_PATH, os.ttyname(slave))
        finally:
            os.close(slave)
            os.close(master)

    assert every_arrangement(use) == [] if private else every_arrangement(use) != []


# Other processes of the same user, and files, which no namespace of nsbox closes.

SAME_USER = """
import os, sys
pid, secret = sys.argv[1:]
try:
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))
    print("OUT memory")
except OSError:
    pass
try:
    os.kill(int(pid), 0)
    print("OUT signal")
except OSError:
    pass
try:
    os.close(os.open(secret, os.O_RDWR))
    print("OUT file")
except OSError:
    pass
"""


@pytest.fixture
def neighbour(place: Path) -> Iterator[tuple[int, Path]]:
    """A process outside, and a private file, of the user that the tests drop to."""
    needs(Who("root"), "mip")
    secret = place / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    os.chown(secret, USER, USER)
    with subprocess.Popen(["sleep", "1000"], user=USER, group=USER, extra_groups=[]) as process:
        yield process.pid, secret
        process.kill()


def test_the_same_user_outside_documented(neighbour: tuple[int, Path]) -> None:
    """A dropped uid is shared with all other processes and files of that user; a PID namespace hides the processes."""
    pid, secret = neighbour
    dropped: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []}
    arrangement = Arrangement("dropped", Who("root"), {"unshare": "i"}, dropped)
    assert set(arrangement.attack(SAME_USER, str(pid), str(secret))) == {"memory", "signal", "file"}
    hidden = Arrangement("hidden", Who("root"), {"unshare": "mip", "mount_proc": True}, dropped)
    assert hidden.attack(SAME_USER, str(pid), str(secret)) == ["file"]
    held = Arrangement("held", Who("root"), {"harden": True})
    assert held.attack(SAME_USER, str(pid), str(secret)) == []


def test_root_is_root_outside_documented(place: Path) -> None:
    """As root, without `harden`, root of a user namespace has root's files. With `harden` it has not."""
    needs(Who("root"), "mipU")
    secret = place / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    # Another place than /tmp, which `harden` hides anyway, would be the machine's own.
    options: dict[str, Any] = {"private_tmp": False}
    attack = "import sys; open(sys.argv[1]); print('OUT read')"
    arranged = Arrangement("arranged", Who("root"), {"unshare": "mipU", "mount_proc": True})
    assert arranged.attack(attack, str(secret)) == ["read"]
    held = Arrangement("held", Who("root"), {"harden": True, **options})
    assert held.attack(attack, str(secret)) == []


# What a shell says.

FORGE = r"""
import re
# The command that was typed ahead for the shell, which now never reads it.
mark = re.search(r'echo "(\w+):', input()).group(1)
print(f"{mark}:0:4242:")
raise SystemExit(7)
"""


@pytest.mark.parametrize("harden", [False, True], ids=["user-namespace", "harden"])
def test_status_of_a_shell_documented(with_user_namespace: Arrangement, place: Path, harden: bool) -> None:
    """A program in a `Shell` shares its terminal, and can forge what the shell says of it. `run` is not fooled."""
    file = place / "forge.py"
    file.write_text(FORGE)
    file.chmod(0o644)
    options: dict[str, Any] = with_user_namespace.options | {"cwd": "/"}
    if harden:
        options |= {"harden": True, "readable": [str(file)]}

    def scene() -> tuple[int | None, int | None, int]:
        with nsbox.Shell(shell="/bin/sh", **options) as shell:
            said = shell.run(f"{PYTHON} {file}", timeout=60)
        command = ["sh", "-c", f"echo 'echo \"x_1:' | {PYTHON} {file}"]
        return said.returncode, said.pid, nsbox.run(command, stdout=subprocess.DEVNULL, **options).returncode

    assert with_user_namespace(scene) == (0, 4242, 7)
