"""The bare system calls: their effects, and that their errors have the kernel's own numbers and no class of nsbox."""

from __future__ import annotations

import errno
import os
import platform
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import raw

from tests.support.forked import as_user, fork, in_child
from tests.support.needs import needs_root


def number_of(call: Callable[[], Any]) -> int | None:
    """Return the error number of an `OSError` that is no class of nsbox."""
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        call()
    assert not isinstance(caught.value, nsbox.NsboxError)
    return caught.value.errno


@needs_root
def test_unshare_and_setns() -> None:
    """The thread moves, and returns by a descriptor."""

    def check() -> tuple[bool, bool]:
        before = os.readlink("/proc/thread-self/ns/uts")
        fd = os.open("/proc/thread-self/ns/uts", os.O_RDONLY)
        raw.unshare(raw.CLONE_NEWUTS)
        moved = os.readlink("/proc/thread-self/ns/uts") != before
        raw.setns(fd, raw.CLONE_NEWUTS)
        return moved, os.readlink("/proc/thread-self/ns/uts") == before

    assert in_child(check) == (True, True)


@needs_root
def test_dead_pid_namespace_and_return() -> None:
    """After PID 1 has ended no process can be started, until the thread returns to its own PID namespace."""

    def check() -> tuple[int, int | None, int]:
        fd = os.open("/proc/self/ns/pid", os.O_RDONLY)
        raw.unshare(raw.CLONE_NEWPID)
        first = in_child(os.getpid)
        number = number_of(os.fork)
        raw.setns(fd)
        return first, number, in_child(lambda: 7)

    assert in_child(check) == (1, errno.ENOMEM, 7)


@needs_root
def test_mounts(place: Path) -> None:
    """mount(2), umount2(2) and pivot_root(2)."""

    def check() -> tuple[list[str], bool, list[str]]:
        raw.unshare(raw.CLONE_NEWNS)
        raw.mount(None, "/", None, raw.MS_REC | raw.MS_PRIVATE)
        raw.mount("none", place, "tmpfs", raw.MS_NOSUID, "size=1M,mode=0755")
        (place / "file").touch()
        raw.umount2(place)
        gone = not (place / "file").exists()
        raw.mount(b"none", os.fsencode(place), "tmpfs")
        (place / "old").mkdir()
        (place / "new").touch()
        os.chdir(place)
        raw.pivot_root(".", "old")
        os.chdir("/")
        seen = sorted(os.listdir("/"))
        raw.umount2("/old", raw.MNT_DETACH)
        return seen, gone, os.listdir("/old")

    assert in_child(check) == (["new", "old"], True, [])


@needs_root
def test_names() -> None:
    """sethostname(2) and setdomainname(2)."""

    def check() -> tuple[str, str]:
        raw.unshare(raw.CLONE_NEWUTS)
        raw.sethostname("raw")
        raw.setdomainname(b"example")
        return socket.gethostname(), Path("/proc/sys/kernel/domainname").read_text().strip()

    assert in_child(check) == ("raw", "example")


@needs_root
@pytest.mark.parametrize(
    ("call", "number"),
    [
        (lambda: raw.unshare(1), errno.EINVAL),
        (lambda: raw.setns(-1), errno.EBADF),
        (lambda: raw.setns(0, raw.CLONE_NEWUTS), errno.EINVAL),
        (lambda: raw.mount("none", "/nowhere", "tmpfs"), errno.ENOENT),
        (lambda: raw.umount2("/nowhere"), errno.ENOENT),
        (lambda: raw.umount2("/etc", 1 << 20), errno.EINVAL),
        (lambda: raw.pivot_root("/etc", "/etc"), errno.EBUSY),
        (lambda: raw.pivot_root("/nowhere", "/"), errno.ENOENT),
        (lambda: raw.sethostname("x" * 65), errno.EINVAL),
        (lambda: raw.setdomainname("x" * 65), errno.EINVAL),
        (lambda: raw.pidfd_open(1 << 22), errno.ESRCH),
        (lambda: raw.pidfd_open(-1), errno.EINVAL),
        (lambda: raw.pidfd_send_signal(0, 0), errno.EBADF),
        (lambda: raw.ns_get_nstype(0), errno.ENOTTY),
        (lambda: raw.ns_get_parent(os.open("/proc/self/ns/uts", os.O_RDONLY)), errno.EINVAL),
        (lambda: raw.clone3(raw.CLONE_NEWUSER, exit_signal=1000), errno.EINVAL),
    ],
)
def test_errors(call: Callable[[], Any], number: int) -> None:
    """An error has the kernel's own number."""

    def check() -> int | None:
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        return number_of(call)

    assert in_child(check) == number


def test_an_ordinary_user() -> None:
    """The kernel refuses with EPERM, which is a PermissionError."""

    def check() -> list[int | None]:
        return [
            number_of(lambda: raw.unshare(raw.CLONE_NEWUTS)),
            number_of(lambda: raw.mount("none", "/tmp", "tmpfs")),
            number_of(lambda: raw.umount2("/proc")),
            number_of(lambda: raw.pivot_root("/", "/")),
            number_of(lambda: raw.sethostname("x")),
            number_of(lambda: raw.clone3(raw.CLONE_NEWPID)),
        ]

    assert as_user(check) == [errno.EPERM] * 6


def test_null_bytes() -> None:
    """A text with a NUL byte is refused."""
    with pytest.raises(ValueError, match="null byte"):
        raw.mount("none", "/tmp\0", "tmpfs")


@needs_root
def test_clone3() -> None:
    """It returns twice; the child is PID 1 of its namespace, and the pidfd refers to it."""

    def check() -> tuple[int, int, bool]:
        pid, pidfd = raw.clone3(raw.CLONE_NEWPID | raw.CLONE_NEWUTS | raw.CLONE_PIDFD)
        if pid == 0:
            raw.sethostname("cloned")
            os._exit(40 + os.getpid() + (pidfd == -1))
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        assert ended
        without, nothing = raw.clone3()
        if without == 0:
            os._exit(0)
        os.waitpid(without, 0)
        return ended.si_status, nothing, ended.si_pid == pid

    assert in_child(check) == (42, -1, True)


def test_clone3_runs_the_hooks_of_fork() -> None:
    """The hooks of os.fork run, and threads and locks are in the state that a child of fork expects."""

    def check() -> int:
        os.register_at_fork(after_in_child=lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)))
        pid, _ = raw.clone3()
        if pid == 0:
            worker = threading.Thread(target=int)
            worker.start()
            worker.join()
            os._exit(5 if threading.current_thread() is threading.main_thread() else 6)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(check) == 5


def test_clone3_without_a_signal() -> None:
    """With exit_signal=0 the parent can wait for the child only with __WALL."""

    def check() -> tuple[int | None, int]:
        pid, _ = raw.clone3(exit_signal=0)
        if pid == 0:
            os._exit(3)
        with pytest.raises(ChildProcessError) as caught:
            os.waitpid(pid, 0)
        return caught.value.errno, os.waitstatus_to_exitcode(os.waitpid(pid, 0x40000000)[1])

    assert in_child(check) == (errno.ECHILD, 3)


def test_clone3_refuses_flags_unsafe_for_python() -> None:
    """Shared memory is refused, and a second thread."""
    for flags in (0x100, 0x4000, 0x10000, 0x80000):
        with pytest.raises(nsbox.SpecError, match="flags"):
            raw.clone3(flags)

    def check() -> str:
        stop = threading.Event()
        threading.Thread(target=stop.wait, daemon=True).start()
        with pytest.raises(nsbox.SpecError) as caught:
            raw.clone3()
        stop.set()
        return str(caught.value)

    assert "threads" in in_child(check)


def test_signals_by_pidfd() -> None:
    """pidfd_open(2) and pidfd_send_signal(2)."""
    child = fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    pidfd = raw.pidfd_open(child)
    raw.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert number_of(lambda: raw.pidfd_send_signal(pidfd, 0)) == errno.ESRCH
    os.close(pidfd)


def test_ioctls_of_namespaces() -> None:
    """Each request of ioctl_nsfs(2), compared with /proc."""
    with nsbox.Popen(["sleep", "1000"], unshare="Up") as box:
        fds = {kind: raw.pidfd_get_namespace(box.pidfd, kind) for kind in ("user", "pid", "pid_for_children", "uts")}
        own_user, owner = raw.ns_get_parent(fds["user"]), raw.ns_get_userns(fds["pid"])
        assert os.fstat(fds["pid"]).st_ino == os.stat(f"/proc/{box.pid}/ns/pid").st_ino
        assert os.fstat(owner).st_ino == os.fstat(fds["user"]).st_ino
        assert os.fstat(own_user).st_ino == os.stat("/proc/self/ns/user").st_ino
        assert raw.ns_get_nstype(fds["pid_for_children"]) == raw.CLONE_NEWPID
        assert raw.ns_get_owner_uid(fds["user"]) == os.geteuid()
        assert raw.ns_get_pid_from_pidns(fds["pid"], box.pid_inside) == box.pid
        assert raw.ns_get_tgid_from_pidns(fds["pid"], box.pid_inside) == box.pid
        assert raw.ns_get_pid_in_pidns(fds["pid"], box.pid) == box.pid_inside
        assert raw.ns_get_tgid_in_pidns(fds["pid"], box.pid) == box.pid_inside
        if tuple(map(int, platform.release().split(".")[:2])) >= (6, 18):
            assert raw.ns_get_id(fds["pid"]) != raw.ns_get_id(fds["uts"])
        for fd in (*fds.values(), own_user, owner):
            os.close(fd)
        box.kill()
