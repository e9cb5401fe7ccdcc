"""Failed requests to a box state the cause and the remedy, and the remedy works."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Box
from nsbox.diagnosis.causes import CAUSES

from tests.box.test_box_hostile import stopping, until_one_is_stopped
from tests.support.forked import Who, become_user, in_child
from tests.support.needs import needs

Request = Callable[[Box], Any]

FILE_SYSTEMS = {"sysfs": "n", "mqueue": "i", "cgroup2": "C", "proc": "p"}
"""File systems that show a namespace, with the letter of its kind."""


@pytest.fixture
def files(place: Path) -> Path:
    """Return a directory with files for which requests fail."""
    (place / "directory").mkdir()
    (place / "file").touch()
    (place / "closed").mkdir(mode=0o700)
    (place / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "socket"))
    (place / "socket").chmod(0o777)
    return place


def refused(request: Callable[[], Any], cause: str, step: str) -> nsbox.SpawnError:
    """Return the error of a request, after a check that it has all parts."""
    with pytest.raises(nsbox.SpawnError) as caught:
        request()
    error = caught.value
    assert (error.cause, error.step) == (cause, step)
    assert error.evidence
    assert error.hint
    assert str(error).count("\n") == 2
    known = CAUSES[cause]
    assert any(all(part in error.hint for part in _plain(text)) for text in (known.remedy, *known.places.values()))
    return error.with_traceback(None)


def _plain(text: str) -> list[str]:
    return [part.rpartition("}")[2] for part in text.split("{")]


def pasted(error: nsbox.SpawnError, box: Box) -> Any:
    """Run the first call of `box` in the hint, as a reader would who pastes it."""
    call = error.hint[error.hint.index("box.") :]
    depth = 0
    for place, letter in enumerate(call):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == ")" and depth == 0:
            return eval(call[: place + 1], {"box": box, "socket": socket})
    raise AssertionError(error.hint)


@pytest.mark.parametrize(
    ("cause", "arguments", "flags"),
    [
        ("no-file-system", ("none", "{}/directory", "nofs"), ""),
        ("no-directory", ("none", "{}/nothing", "tmpfs"), ""),
        ("no-directory", ("none", "{}/file", "tmpfs"), ""),
        ("no-directory", ("none", "{}/file/below", "tmpfs"), ""),
        ("no-bind-path", ("{}/nothing", "{}/directory"), "bind"),
        ("no-bind-path", ("{}/directory", "{}/nothing"), "bind"),
        ("unlike", ("{}/file", "{}/directory"), "bind"),
        ("too-many-links", ("none", "{}/loop", "tmpfs"), ""),
        ("name-too-long", ("none", "{}/" + 300 * "a", "tmpfs"), ""),
        ("no-type", ("none", "{}/directory"), ""),
        ("file-system-refuses", ("none", "{}/directory", "overlay"), ""),
        ("not-a-mount-point", (None, "{}/directory"), "remount,ro"),
        ("not-a-mount-point", (None, "{}/directory"), "private"),
        ("not-a-mount-point", ("{}/directory", "{}"), "move"),
    ],
)
def test_mount(who: Who, files: Path, cause: str, arguments: tuple[str | None, ...], flags: str) -> None:
    """Each failure has the cause expected for its call and error number."""
    source, target, fstype = [argument and argument.format(files) for argument in (*arguments, None)][:3]
    assert target is not None

    def check() -> None:
        with Box("mp") as box:
            refused(lambda: box.mount(source, target, fstype, flags), cause, "mount")

    in_child(lambda: who(check))


def test_remedies_of_mounts(who: Who, files: Path) -> None:
    """The remedies work: a directory that is created, a path that becomes a mount point, a type that is named."""

    def check() -> None:
        with Box("mp") as box:
            new = files / f"new-{os.getuid()}"

            def mount() -> Any:
                return box.mount("none", new, "tmpfs")

            error = refused(mount, "no-directory", "mount")
            assert f"mkdir -p {new}" in error.hint
            box.run(["mkdir", "-p", str(new)], check=True)
            mount()

            def bind() -> Any:
                return box.mount("/usr", new / "target", flags="rbind")

            error = refused(bind, "no-bind-path", "mount")
            assert pasted(error, box).returncode
            box.run(["mkdir", "-p", str(new / "target")], check=True)
            bind()

            def private() -> Any:
                return box.mount(None, files / "directory", flags="private")

            pasted(refused(private, "not-a-mount-point", "mount"), box)
            private()

    in_child(lambda: who(check))


def test_mount_shm(who: Who, files: Path) -> None:
    """mount_shm() has its own causes."""

    def check() -> None:
        with Box("mp") as box:
            refused(lambda: box.mount_shm(files / "nothing"), "no-directory", "mount shm")
            refused(lambda: box.mount_shm(files / "file"), "no-directory", "mount shm")
            refused(lambda: box.mount_shm(files / "loop"), "too-many-links", "mount shm")
            box.run(["ln", "-sfn", "directory", str(files / "loop")], check=True)
            box.mount_shm(files / "loop")

    in_child(lambda: who(check))


def test_device(files: Path) -> None:
    """A file is not a block device. A directory can be bound without one."""
    with Box("mp") as box:
        target = files / "directory"
        refused(lambda: box.mount(files / "file", target, "ext4"), "no-block-device", "mount")
        box.mount("/usr", target, flags="bind")


@pytest.mark.parametrize(("fstype", "letter"), FILE_SYSTEMS.items())
def test_foreign_file_system(files: Path, fstype: str, letter: str) -> None:
    """An ordinary user can mount it for a namespace of the box."""

    def check() -> None:
        with Box("m") as box:

            def mount(box: Box) -> Any:
                return box.mount("none", files / "directory", fstype)

            error = refused(lambda: mount(box), "foreign-file-system", "mount")
            assert f"nsbox.Box('m{letter}')" in error.hint
        with Box("m" + letter) as box:
            mount(box)

    user(check)


def user(function: Callable[[], Any]) -> None:
    """Run the function as an ordinary user, if that user can make boxes."""
    who = Who("user")
    needs(who, "mip")
    in_child(lambda: who(function))


def test_for_the_user_alone(files: Path) -> None:
    """A file system for root only, a tree that can be bound only as a whole, and a closed directory."""

    def check() -> None:
        with Box("m") as box:
            target = files / "directory"
            refused(lambda: box.mount("/dev/null", target, "ext4"), "file-system-for-root", "mount")

            def bind(flags: str) -> Any:
                return box.mount("/", target, flags=flags)

            error = refused(lambda: bind("bind"), "locked-below", "mount")
            assert "flags='rbind'" in error.hint
            bind("rbind")
            below = files / "closed" / "a"
            refused(lambda: box.mount_shm(below), "unreachable", "mount shm")
            error = refused(lambda: box.mount("none", below, "tmpfs"), "unreachable", "mount")
            assert "chmod a+x" in error.hint

    user(check)
    (files / "closed").chmod(0o755)
    (files / "closed" / "a").mkdir()

    def opened() -> None:
        with Box("m") as box:
            box.mount("none", files / "closed" / "a", "tmpfs")

    user(opened)


def test_open_for_writing(who: Who, files: Path) -> None:
    """A mount cannot become read-only until the program that writes to it has ended."""

    def check() -> None:
        with Box("mp") as box:
            target = files / "directory"
            box.mount("none", target, "tmpfs")
            writer = box.Popen(["sh", "-c", f"exec > {target}/file; read line"], stdin=-1)
            while box.run(["test", "-e", f"{target}/file"]).returncode:
                time.sleep(0.01)

            def remount() -> Any:
                return box.mount(None, target, flags="remount,ro")

            refused(remount, "open-for-writing", "mount")
            writer.communicate(b"")
            remount()

    in_child(lambda: who(check))


def test_unmount(who: Who, files: Path) -> None:
    """Not a mount, no such path, and a mount in use."""

    def check() -> None:
        with Box("mp") as box:
            target = files / "directory"

            def unmount() -> Any:
                return box.unmount(target)

            refused(unmount, "not-mounted", "unmount")
            refused(lambda: box.unmount(files / "nothing"), "no-such-file", "unmount")
            refused(lambda: box.unmount(files / "file" / "below"), "no-such-file", "unmount")
            refused(lambda: box.unmount(files / "loop"), "too-many-links", "unmount")
            box.mount("none", target, "tmpfs")
            user = box.Popen(["sh", "-c", "echo; read line"], cwd=target, stdin=-1, stdout=-1)
            assert user.stdout is not None
            user.stdout.readline()
            pasted(refused(unmount, "mount-in-use", "unmount"), box)
            refused(unmount, "not-mounted", "unmount")
            user.communicate(b"")

    in_child(lambda: who(check))


def test_open(who: Who, files: Path) -> None:
    """No such file, a closed one, a socket, a loop, a name that is too long."""

    def check() -> None:
        with Box("mp") as box:
            refused(lambda: box.open(files / "nothing"), "no-such-file", "open")
            refused(lambda: box.open(files / "file" / "below"), "no-such-file", "open")
            refused(lambda: box.open(files / "loop"), "too-many-links", "open")
            refused(lambda: box.open(files / (300 * "a")), "name-too-long", "open")
            refused(lambda: box.open(files / "socket"), "special-file", "open")
            box.open(files / "file").close()
            if not who.is_root:
                error = refused(lambda: box.open(files / "closed" / "file"), "closed-path", "open")
                assert "chmod o+x" in error.hint

    in_child(lambda: who(check))
    (files / "closed").chmod(0o701)
    (files / "closed" / "file").touch(mode=0o644)

    def opened() -> None:
        with Box("mp") as box:
            box.open(files / "closed" / "file").close()

    in_child(lambda: who(opened))


def test_covered_proc(who: Who) -> None:
    """If another file system on /proc hides the processes, unmounting it shows them again."""

    def check() -> None:
        with Box("mp", mount_proc=True) as box:
            box.mount("none", "/proc", "tmpfs")

            def look() -> Any:
                return box.ps(view="proc")

            error = refused(look, "covered-proc", "open")
            assert box.ps(view="namespace")
            pasted(error, box)
            assert look()

    in_child(lambda: who(check))


def test_covered_file() -> None:
    """A covered file of /proc is not read where no new proc can be mounted."""

    def check() -> None:
        with Box("mu") as box:
            box.run(["mount", "--bind", "/dev/null", "/proc/sys/kernel/hostname"], check=True)
            error = refused(lambda: box.hostname, "covered-file", "read")
            assert pasted(error, box).returncode == 0
            assert box.hostname

    user(check)


def test_settings(who: Who) -> None:
    """Values that the kernel does not accept."""

    def check() -> None:
        with Box("up") as box:
            for name in ("hostname", "domainname"):
                error = refused(lambda: setattr(box, name, 65 * "a"), "long-host-name", name)  # noqa: B023
                assert "65 bytes" in error.evidence
                setattr(box, name, 64 * "a")
            for value in (5, 1 << 30):
                refused(lambda: setattr(box, "pid_max", value), "pid-max-value", "write")  # noqa: B023
            box.pid_max = 301

    in_child(lambda: who(check))


def test_socket(who: Who) -> None:
    """Families, types and protocols that do not exist."""

    def check() -> None:
        with Box("n") as box:
            for arguments in ((99, socket.SOCK_STREAM), (45, socket.SOCK_STREAM)):
                error = refused(lambda: box.socket(*arguments), "no-address-family", "socket")  # noqa: B023
            pasted(error, box).close()
            others: list[tuple[int, ...]] = [
                (socket.AF_INET, socket.SOCK_STREAM, 200),
                (socket.AF_INET, socket.SOCK_RDM),
                (socket.AF_INET, 77),
            ]
            for other in others:
                error = refused(lambda: box.socket(*other), "no-such-socket", "socket")  # noqa: B023
            pasted(error, box).close()

    in_child(lambda: who(check))


def test_raw_socket() -> None:
    """An ordinary user can make one in a network namespace of the box."""

    def check() -> None:

        def make(box: Box) -> Any:
            return box.socket(socket.AF_INET, socket.SOCK_RAW, 1)

        with Box("m") as box:
            error = refused(lambda: make(box), "no-right-to-socket", "socket")
            assert "nsbox.Box('n')" in error.hint
        with Box("n") as box:
            make(box).close()

    user(check)


def test_stopped(who: Who) -> None:
    """If init is stopped, the remedy continues it."""

    def check() -> None:
        with Box("mip") as box:
            os.kill(box.pid, signal.SIGSTOP)
            error = refused(lambda: box.run(["true"]), "init-stopped", "request")
            assert "os.kill(box.pid, signal.SIGCONT)" in error.hint
            os.kill(box.pid, signal.SIGCONT)
            assert box.run(["true"]).returncode == 0

    in_child(lambda: who(check))


def test_stopped_in_setup(who: Who) -> None:
    """If a program stops all others, the remedy ends it."""

    def check() -> None:
        with Box("mip", mount_proc=True) as box:
            process = stopping(box)
            error = until_one_is_stopped(box)
            assert (error.cause, error.step) == ("stopped-in-setup", "start")
            assert "SIGSTOP" in error.evidence
            process.kill()
            process.wait()
            assert box.run(["true"]).returncode == 0

    in_child(lambda: who(check))


def test_init_killed(who: Who) -> None:
    """If init is killed during a start, the error says so. The PATH makes the look-up of the program slow."""
    environment = {"PATH": ":".join(f"/nowhere/{number}" for number in range(50_000))}

    def children(pid: int | str) -> list[str]:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return []

    def kill_parents(over: threading.Event) -> None:
        while not over.is_set():
            for pid in children(os.getpid()):
                # All maps are written when it has started the process of the program.
                if children(pid):
                    os.kill(int(pid), signal.SIGKILL)

    def check() -> None:
        over = threading.Event()
        killer = threading.Thread(target=kill_parents, args=(over,))
        killer.start()
        try:
            refused(lambda: nsbox.Popen(["nothing"], env=environment), "init-ended", "init")
        finally:
            over.set()
            killer.join()
        assert nsbox.run(["true"]).returncode == 0

    in_child(lambda: who(check))


def test_limits(who: Who) -> None:
    """Limits of the box's init: descriptors, their highest number, and for the caller the size of files."""

    def descriptors() -> None:
        with Box("mip") as box:
            resource.prlimit(box.pid, resource.RLIMIT_NOFILE, (8, 4096))
            error = refused(lambda: box.run(["true"]), "descriptor-limit", "start")
            assert "RLIMIT_NOFILE" in error.evidence
            resource.prlimit(box.pid, resource.RLIMIT_NOFILE, (1024, 4096))
            assert box.run(["true"]).returncode == 0

    def number() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
        with Box("mip") as box:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
            high = os.dup2(0, 1000)
            error = refused(lambda: box.run(["true"], pass_fds=[high]), "descriptor-above-limit", "descriptors")
            assert "descriptor 1000;" in error.evidence
            assert box.run(["true"], pass_fds=[os.dup(high)]).returncode == 0

    def size() -> None:

        def start() -> Any:
            return nsbox.run(["true"], env={"A": 100_000 * "a"})

        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        refused(start, "file-size-limit", "prepare")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert start().returncode == 0

    for check in (descriptors, number, size):
        in_child(lambda: who(check))  # noqa: B023


def test_connect() -> None:
    """Network namespaces of another user, IPv6 that is disabled, and a multicast address."""
    pytest.importorskip("pyroute2.netlink.rtnl.ifinfmsg")
    __import__("pyroute2.netlink.rtnl.ifaddrmsg")

    def foreign() -> None:
        with Box("n") as a, Box("n") as b:
            nsbox.connect(a, b).close()
            become_user()
            refused(lambda: nsbox.connect(a, b), "foreign-network", "veth")

    def addresses() -> None:
        options: dict[str, Any] = {"unshare": "mnp", "mount_proc": True, "map_root_user": True}
        with Box(**options) as a, Box(**options) as b:
            switch = ["sh", "-c", "for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo $0 > $file; done"]
            a.run([*switch, "1"], check=True)

            def connect(**options: Any) -> Any:
                return nsbox.connect(a, b, **options).close()

            error = refused(connect, "ipv6-off", "address")
            assert "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6" in error.hint
            connect(addresses=[("192.0.2.1/24", "192.0.2.2/24")])
            a.run(["sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6"], check=True)
            connect()
            group = [("ff02::1/64", "ff02::2/64")]
            refused(lambda: connect(addresses=group), "unusable-address", "address")

    in_child(foreign)
    in_child(addresses)
    user(addresses)
