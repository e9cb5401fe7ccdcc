"""Failures of `nsbox unshare` and `nsbox nsenter`, produced for real: each error has the cause and the remedy."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nsbox.cli.nsenter
import nsbox.cli.unshare  # noqa: F401 - as another user nothing can be imported
import pytest
from nsbox.diagnosis.causes import CAUSES

from tests.support import libc
from tests.support.forked import Who, in_child
from tests.support.nsenter_targets import running
from tests.support.twins import ours

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="processes of several users can only be made by root")

ROOT, USER = Who("root"), Who("user")
OWN = "--ipc=/proc/self/ns/ipc"


def fails(who: Who, cause: str, *arguments: str, command: str = "nsenter") -> None:
    """Check that the command fails for this cause, with the three lines of an error."""
    ended = ours(who, *arguments, "true", command=command)
    assert (ended.status, ended.output) == (1, "")
    first, why, hint = ended.error.splitlines()
    known = CAUSES[cause]
    assert first.startswith(f"nsbox {command}: step '")
    # The parts in braces are found out anew each time.
    assert why.startswith("why: ")
    assert all(part in why for part in _plain(known.why)), why
    assert hint.startswith("next: ")
    assert any(all(part in hint for part in _plain(text)) for text in (known.remedy, *known.places.values())), hint


def _plain(text: str) -> list[str]:
    return [part.rpartition("}")[2] for part in text.split("{")]


@contextmanager
def thread() -> Iterator[int]:
    """Return the TID of a thread that waits."""
    end = threading.Event()
    waiting = threading.Thread(target=end.wait)
    waiting.start()
    try:
        assert waiting.native_id is not None
        yield waiting.native_id
    finally:
        end.set()
        waiting.join()


def test_directories(place: Path) -> None:
    """Directories of --root and --wd of unshare, and of --wdns of nsenter."""
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for command, *options in (("unshare", "-R"), ("unshare", "-w"), ("nsenter", OWN, "-W")):
        fails(ROOT, "no-such-directory", *options, "/nonexistent", command=command)
        fails(ROOT, "not-a-directory", *options, "/etc/passwd", command=command)
    for option in ("-R", "-w"):
        fails(USER, "closed-directory", option, str(closed), command="unshare")
    with running("users") as pid:
        fails(USER, "closed-directory", "-t", str(pid), "-U", "--preserve-credentials", "-W", str(closed))
    fails(USER, "no-right-to-chroot", "-R", "/usr", command="unshare")


def test_targets(place: Path) -> None:
    """Targets that cannot be opened."""
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    ended = subprocess.Popen(["true"])
    ended.wait()
    with thread() as number:
        fails(ROOT, "target-is-a-thread", "-t", str(number), "-u")
    fails(ROOT, "target-gone", "-t", str(ended.pid), "-u")
    for option in ("-u", "-r", "-w", "-e"):
        fails(USER, "target-hidden", "-t", str(os.getpid()), OWN, option)
    fails(USER, "closed-socket", "-t", str(os.getpid()), "-N", "0")
    fails(ROOT, "no-socket", "-t", str(os.getpid()), "-N", "0")
    fails(ROOT, "no-socket", "-t", str(os.getpid()), "-N", "987654")
    fails(USER, "closed-file", f"--net={closed}/net")
    fails(USER, "closed-file", OWN, f"--root={closed}/directory")
    fails(ROOT, "no-namespace-file", "--net=/nonexistent")
    fails(ROOT, "no-namespace-file", OWN, "--root=/nonexistent")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "socket"))
    fails(ROOT, "no-namespace-file", f"--net={place}/socket")
    (place / "loop").symlink_to("loop")
    fails(ROOT, "no-namespace-file", f"--net={place}/loop")
    fails(ROOT, "name-too-long", f"--net={place}/{300 * 'a'}")
    fails(ROOT, "no-namespace-file", OWN, "--wd=/etc/passwd")


def test_files_of_another_kind() -> None:
    """The error says which kind of namespace or file it is."""
    for file, words in (
        ("/proc/self/ns/net", "is a net namespace, not a uts namespace"),
        ("/etc/passwd", "no namespace"),
    ):
        error = ours(ROOT, f"--uts={file}", "true", command="nsenter").error
        assert words in error
        assert "\n" not in error.strip()


def test_pins(place: Path) -> None:
    """Files on which no namespace can be mounted: a missing one, a closed one, and those of a user."""
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    (place / "file").touch()
    fails(ROOT, "no-pin-file", f"--uts={place}/nothing", command="unshare")
    fails(USER, "unreachable-pin", f"--uts={closed}/file", "-U", command="unshare")
    fails(USER, "no-right-to-pin", f"--uts={place}/file", "-U", command="unshare")


def test_joining() -> None:
    """Namespaces that may not be joined."""
    own = os.getpid()
    fails(ROOT, "cannot-change-users", "-t", str(own), "-U")
    fails(USER, "no-right-to-join", "--net=/proc/self/ns/net")
    with running("users") as pid:
        fails(USER, "groups-cannot-be-dropped", "-t", str(pid), "-U", "-n")
        fails(ROOT, "id-not-mapped", "-t", str(pid), "-U", "-S", "5")
    with running("mapped") as pid:
        # A user namespace in which the caller has no id.
        assert "target-hidden" in CAUSES
        fails(USER, "target-hidden", "-t", str(pid), "-U")


def test_mounts_without_chroot() -> None:
    """Root without CAP_SYS_CHROOT, as a container can have it."""

    def check() -> None:
        header, data = struct.pack("Ii", 0x20080522, 0), (ctypes.c_uint32 * 6)()
        library = ctypes.CDLL(None, use_errno=True)
        assert library.capget(header, data) == 0
        for word in (0, 1):
            data[word] &= ~(1 << 18)
        assert library.capset(header, data) == 0
        fails(ROOT, "no-right-to-join-mounts", "--mount=/proc/self/ns/mnt")
        fails(ROOT, "no-right-to-chroot", OWN, "-r/usr")

    in_child(check)


def test_from_inside() -> None:
    """From inside a box, the namespaces outside may not be joined."""

    def inside() -> None:
        net, user = os.open("/proc/self/ns/net", os.O_RDONLY), os.open("/proc/self/ns/user", os.O_RDONLY)
        pid = os.open("/proc/self/ns/pid", os.O_RDONLY)
        libc.unshare(0x10000000 | 0x40000000)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text("0 0 1")
        fails(ROOT, "foreign-owner", f"--net=/proc/self/fd/{net}")
        fails(ROOT, "not-the-owner", f"--user=/proc/self/fd/{user}", "--preserve-credentials")
        fails(ROOT, "foreign-owner", f"--pid=/proc/self/fd/{pid}")

    in_child(inside)


def test_pid_namespaces(place: Path) -> None:
    """A dead PID namespace, and one that contains the caller's own."""

    def check() -> None:
        libc.unshare(0x20000)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        libc.mount("tmpfs", str(place), "tmpfs")
        (place / "pid").touch()
        ended = ours(ROOT, f"--pid={place}/pid", "-f", "true", command="unshare")
        assert ended.status == 0, ended.error
        fails(ROOT, "dead-target", f"--pid={place}/pid")
        outer = os.open("/proc/self/ns/pid", os.O_RDONLY)
        libc.unshare(0x20000000)
        in_child(lambda: fails(ROOT, "not-below", f"--pid=/proc/self/fd/{outer}"))

    in_child(check)


@pytest.mark.parametrize("program", ["newuidmap"])
def test_helpers(program: str, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Without newuidmap an ordinary user can map only its own id."""
    monkeypatch.setenv("PATH", str(place))
    fails(USER, "no-helper", "--map-users=0:5:10", command="unshare")
