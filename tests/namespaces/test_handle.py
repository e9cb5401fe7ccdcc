"""Handles of namespaces: what they refer to, how long they keep it alive, and how other processes receive them."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import raw
from nsbox._core import Descriptor
from nsbox.namespaces import target

from tests.support import libc, seccomp
from tests.support.census import descendants, reap_adopted, wait_until
from tests.support.forked import USER, Who, as_user, fork, in_child
from tests.support.inside import LINKS, own_links
from tests.support.needs import needs_root
from tests.support.seccomp import Deny

CLONE_NEWNS = 0x20000


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("old_kernel", [False, True])
def test_of(who: Who, kind: str, old_kernel: bool) -> None:
    """The handle refers to the namespace in the link, also before Linux 6.11, where a pidfd has no such request."""

    def check() -> tuple[str, int, str]:
        if old_kernel:
            seccomp.install(Deny("ioctl", errno.ENOTTY, argument=1, bits=0xFF00 & ~0xB700))
        with nsbox.Namespace.of(os.getpid(), kind) as namespace:
            assert namespace.fileno() > 2
            assert f"{kind} namespace {namespace.id}" in repr(namespace)
            return namespace.kind, namespace.id, os.readlink(f"/proc/self/ns/{LINKS[kind]}")

    found, number, link = in_child(lambda: who(check))
    assert (found, f"{LINKS[kind]}:[{number}]") == (kind, link)


def test_owner_and_parent(who: Who) -> None:
    """Every namespace belongs to a user namespace; PID and user namespaces have a parent."""

    def check() -> tuple[bool, bool, int, str]:
        with nsbox.Popen(["sleep", "1000"], unshare="Upin") as process, contextlib.ExitStack() as stack:
            kept = {kind: stack.enter_context(nsbox.Namespace.of(process, kind)) for kind in ("user", "pid", "net")}
            owner = stack.enter_context(kept["net"].owner)
            parent = stack.enter_context(kept["pid"].parent)
            own = stack.enter_context(nsbox.Namespace.of(os.getpid(), "pid"))
            try:
                refused = ""
                own.parent.close()
            except nsbox.SpawnError as error:
                refused = str(error)
            with pytest.raises(nsbox.SpecError, match="only PID and user"):
                _ = kept["net"].parent
            process.kill()
            return owner == kept["user"], parent == own, kept["net"].owner_uid, refused

    owned, below, uid, refused = who(check)
    assert owned
    assert below
    assert uid == (0 if who.is_root else USER)
    assert "NS_GET_PARENT" in refused
    assert "outside" in refused


def test_equality_and_hash() -> None:
    """Two handles of one namespace are equal, those of two are not."""
    with (
        nsbox.Namespace.of(os.getpid(), "ipc") as one,
        nsbox.Namespace.of("/proc/self/ns/ipc") as same,
        nsbox.Namespace.of(os.getpid(), "net") as other,
    ):
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
        assert len({one, same, other}) == 2
        assert one != "ipc"


def test_closing() -> None:
    """A handle can be closed twice, and not used afterwards; one that is garbage-collected gives a warning."""
    namespace = nsbox.Namespace.of(os.getpid(), "uts")
    namespace.close()
    namespace.close()
    assert namespace.closed
    assert "closed" in repr(namespace)
    with pytest.raises(nsbox.ClosedError):
        namespace.fileno()
    forgotten = nsbox.Namespace.of(os.getpid(), "uts")
    number = forgotten.fileno()
    with pytest.warns(ResourceWarning, match="unclosed <uts namespace"):
        del forgotten
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(number)


def test_targets_that_are_no_namespace(place: Path) -> None:
    """Refused with the reason; a descriptor that was given stays open."""
    file = os.open(place, os.O_RDONLY)
    with pytest.raises(nsbox.SpecError, match="no open namespace"):
        nsbox.Namespace(file)
    os.close(file)
    with pytest.raises(nsbox.SpecError, match="no open namespace"):
        nsbox.Namespace(-1)
    with pytest.raises(nsbox.SpecError, match="is a ipc namespace, not a net"):
        nsbox.Namespace.of("/proc/self/ns/ipc", "net")
    with pytest.raises(nsbox.SpecError, match="kind: is needed"):
        nsbox.Namespace.of(os.getpid())
    with pytest.raises(nsbox.SpecError, match="one kind"):
        nsbox.Namespace.of(os.getpid(), "ipc net")
    with pytest.raises(nsbox.SpecError, match="no path"):
        nsbox.Namespace.of("a\0b")


@needs_root
@pytest.mark.parametrize("kind", ["net", "ipc", "uts", "pid", "user", "cgroup", "mount"])
def test_persist(place: Path, kind: str) -> None:
    """In a file it outlives its processes, can be joined by its path, and nothing of it is left after the removal."""
    file = place / "kept"

    def check() -> tuple[str, str, bool]:
        # Linux 6.18 compares the ages of mount namespaces by numbers of each processor (docs/errors.md).
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        libc.unshare(CLONE_NEWNS)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        with (
            nsbox.Popen(["sleep", "1000"], unshare="mipunCU") as process,
            nsbox.Namespace.of(process, kind) as namespace,
        ):
            number = namespace.id
            namespace.persist(file)
            process.kill()
        if kind == "pid":
            with nsbox.Namespace.of(file) as dead:
                joined = f"pid:[{dead.id}]" if dead.is_dead else "alive"
        else:
            command = ["readlink", f"/proc/thread-self/ns/{LINKS[kind]}"]
            # The mounts of another user's namespace may have no proc that shows the caller.
            joined = nsbox.run(command, unshare="", join=str(file), capture_output=True, text=True).stdout.strip()
        # The real nsenter can join it, too.
        if kind in ("net", "ipc", "uts"):
            oracle = subprocess.run(
                ["nsenter", f"--{kind}={file}", *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            assert oracle == joined
        nsbox.Namespace.unpersist(file)
        return joined, f"{LINKS[kind]}:[{number}]", file.exists()

    joined, expected, left = in_child(check)
    assert joined == expected
    assert not left


@needs_root
def test_persist_fails(place: Path) -> None:
    """The error has the reason, and the file that was made for it is removed."""
    file = place / "kept"

    def check(kind: str, path: Path) -> tuple[str, int | None, str, bool]:
        existed = path.exists()
        with nsbox.Namespace.of(os.getpid(), kind) as namespace:
            try:
                namespace.persist(path)
            except nsbox.SpawnError as error:
                return error.step, error.errno, error.hint, path.exists() == existed
        raise AssertionError("it was mounted")

    for step, number, hint, clean in (as_user(lambda: check("net", file)), as_user(lambda: check("net", place))):
        assert (step, number, clean) == ("pin", errno.EPERM, True)
        assert "root" in hint
    step, number, hint, clean = in_child(lambda: check("mount", file))
    assert (step, number, clean) == ("pin", errno.EINVAL, True)
    assert "private" in hint
    assert not file.exists()
    file.touch()
    with pytest.raises(nsbox.SpecError, match="is no namespace"):
        nsbox.Namespace.unpersist(file)
    assert file.exists()
    with pytest.raises(nsbox.SpawnError, match="umount2"):
        nsbox.Namespace.unpersist("/proc/self/ns/net")


def _number(namespace: nsbox.Namespace, queue: Any) -> None:
    queue.put((namespace.kind, namespace.id))
    namespace.close()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_handed_over_by_multiprocessing(method: str) -> None:
    """A process made by multiprocessing gets its own descriptor."""
    # In a new interpreter: multiprocessing keeps helper processes as long as the caller lives.
    script = f"""
import multiprocessing, os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import nsbox
from tests.namespaces.test_handle import _number
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    queue = context.Queue()
    with nsbox.Popen(["sleep", "1000"], unshare="u") as box:
        with nsbox.Namespace.of(box, "uts") as namespace:
            process = context.Process(target=_number, args=(namespace, queue))
            process.start()
            answer = queue.get(timeout=30)
            process.join()
            assert answer == (namespace.kind, namespace.id), answer
        box.kill()
    print("same")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("same\n", 0), result.stderr

    def reaped() -> bool:
        # Its helpers outlive it for a moment, and are adopted by this process.
        reap_adopted()
        return not descendants()

    assert wait_until(reaped, 10)


def test_handed_over_by_a_socket() -> None:
    """A handle can be sent without multiprocessing."""
    ours, theirs = socket.socketpair()
    with ours, theirs, nsbox.Namespace.of(os.getpid(), "net") as namespace:
        socket.send_fds(ours, [b"x"], [namespace.fileno()])
        _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
        with nsbox.Namespace(fds[0]) as received:
            assert received == namespace


def test_plain_pickle() -> None:
    """A descriptor has no meaning in a file; the error names the alternatives."""
    with nsbox.Namespace.of(os.getpid(), "net") as namespace, pytest.raises(nsbox.NsboxError, match="send_fds"):
        pickle.dumps(namespace)
    assert pickle.loads(pickle.dumps(nsbox.Spec(join=(4711, "ipc")))) == nsbox.Spec(join=(4711, "ipc"))


def test_is_dead() -> None:
    """A PID namespace lives as long as its PID 1. Other kinds have none, and the caller's own is alive."""
    with nsbox.Popen(["sleep", "1000"], unshare="pi") as process:
        pid, ipc = nsbox.Namespace.of(process, "pid"), nsbox.Namespace.of(process, "ipc")
        assert not pid.is_dead
        process.kill()
    with pid, ipc, nsbox.Namespace.of(os.getpid(), "pid") as own:
        assert pid.is_dead
        assert not ipc.is_dead
        assert not own.is_dead


def test_a_pid_that_was_reused() -> None:
    """A process opened by PID is compared with its pidfd: one that has ended meanwhile is reported as such."""
    child = fork()
    if child == 0:
        os._exit(0)
    pidfd = os.pidfd_open(child)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    opened = Descriptor(os.open, "/dev/null", os.O_RDONLY)
    fd = opened.fileno()
    with pytest.raises(ProcessLookupError):
        target._still_alive(opened, pidfd)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    os.waitpid(child, 0)
    with pytest.raises(nsbox.SpawnError) as caught:
        nsbox.Namespace.of(nsbox.Pidfd(pidfd), "ipc")
    assert caught.value.errno == errno.ESRCH
    os.close(pidfd)


def test_standard_streams_are_left_alone() -> None:
    """A program with closed standard input does not get a namespace as descriptor 0."""

    def check() -> bool:
        os.close(0)
        with nsbox.Namespace.of(os.getpid(), "ipc") as one, nsbox.Namespace.of("/proc/self/ns/ipc") as other:
            return min(one.fileno(), other.fileno()) > 2 and not os.path.exists("/proc/self/fd/0")

    assert in_child(check)


@needs_root
def test_own_namespaces_are_those_of_the_thread() -> None:
    """The target is compared with the namespaces of the calling thread, not of the main thread."""

    def check() -> tuple[bool, str]:
        libc.unshare(raw.CLONE_NEWUTS)
        own = target.of_this_thread("uts")
        with nsbox.Namespace.of("/proc/thread-self/ns/uts") as namespace:
            return own == (os.fstat(namespace.fileno()).st_dev, namespace.id), own_links()["uts"]

    agrees, link = in_child(check)
    assert agrees
    assert link != own_links()["uts"]
