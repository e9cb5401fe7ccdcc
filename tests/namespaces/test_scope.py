"""Scopes of threads: only the calling thread moves, and it returns afterwards.

Everything runs in a child, whose main thread would otherwise be left in another namespace after a failure.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import raw
from nsbox.spec.kinds import namespace_names

from tests.support import seccomp
from tests.support.forked import in_child
from tests.support.inside import LINKS
from tests.support.needs import needs_root
from tests.support.scoped import CHILDREN, SCOPED, changed, everywhere, names_of, nothing_moves, place_of, threaded
from tests.support.seccomp import Deny

pytestmark = needs_root


@pytest.mark.parametrize("kinds", [*SCOPED, "uts ipc", "mp", "mipunC"])
def test_unshare(kinds: str) -> None:
    """Only the thread that enters moves, and only during the block."""

    def check() -> tuple[set[str], int]:
        with nothing_moves():
            before = everywhere()
            with nsbox.unshare(kinds) as scope:
                assert scope.active
                assert "is in it" in repr(scope)
                inside = everywhere()
            here = threading.get_native_id()
            moved = {tid for tid in before if inside.get(tid, before[tid]) != before[tid]}
            assert moved == {here}
            assert not scope.active
            return changed(before[here], inside[here]), len(before)

    moved, threads = threaded(check)
    assert moved == names_of(kinds)
    assert threads == 4


def test_in_a_worker_thread() -> None:
    """A scope of a worker thread does not affect the main thread."""

    def check() -> tuple[set[str], set[str]]:
        before = place_of(os.getpid())
        found: list[set[str]] = []

        def work() -> None:
            with nsbox.unshare("uts ipc mount"):
                found.append(changed(before, place_of()))
                found.append(changed(before, place_of(os.getpid())))

        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        return found[0], found[1]

    assert threaded(check) == (names_of("uts ipc mount"), set())


@pytest.mark.parametrize("kinds", [*SCOPED, "uts net", "mipunC"])
def test_setns(kinds: str) -> None:
    """The thread is in the target's namespaces, and returns."""

    def check() -> bool:
        with nsbox.Popen(["sleep", "1000"], unshare="mipunC") as box:
            theirs = {name: os.readlink(f"/proc/{box.pid}/ns/{name}") for name in LINKS.values()}
            with nothing_moves():
                before = everywhere()
                with nsbox.setns(box, kinds):
                    inside = everywhere()
                here = threading.get_native_id()
                assert changed(before[here], inside[here]) == names_of(kinds)
                for kind in namespace_names(kinds):
                    assert inside[here][CHILDREN.get(kind, LINKS[kind])] == theirs[LINKS[kind]]
                assert all(inside[tid] == before[tid] for tid in before if tid != here)
            box.kill()
        return True

    assert threaded(check)


def test_setns_by_default_joins_all_that_differ() -> None:
    """A process and a handle as targets, without kinds."""

    def check() -> list[set[str]]:
        found = []
        with nsbox.Popen(["sleep", "1000"], unshare="iun") as box, nsbox.Namespace.of(box, "uts") as handle:
            for target in (box, box.pid, nsbox.Pidfd(box.pidfd), handle, f"/proc/{box.pid}/ns/uts"):
                before = place_of()
                with nsbox.setns(target):
                    found.append(changed(before, place_of()))
            box.kill()
        return found

    assert threaded(check) == [{"ipc", "uts", "net"}] * 3 + [{"uts"}] * 2


def test_a_socket_made_inside_is_used_outside() -> None:
    """The network namespace belongs to the socket: a server in a box is reached from outside."""

    def check() -> tuple[bytes, int | None]:
        with nsbox.Popen(["sleep", "1000"], unshare="n") as box:
            with nsbox.setns(box, "net"):
                server, client = socket.create_server(("127.0.0.1", 0)), socket.socket()
            with server, client, socket.socket() as outside:
                client.connect(server.getsockname())
                accepted, _ = server.accept()
                with accepted:
                    accepted.sendall(b"hello")
                    received = client.recv(100)
                refused = outside.connect_ex(server.getsockname())
            box.kill()
            return received, refused

    assert threaded(check) == (b"hello", errno.ECONNREFUSED)


def test_host_name() -> None:
    """The host name changes inside only; other threads do not see the change."""

    def check() -> tuple[str, str, str]:
        seen: list[str] = []
        ready, done = threading.Event(), threading.Event()

        def watch() -> None:
            ready.wait(20)
            seen.append(socket.gethostname())
            done.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        with nsbox.unshare("uts"):
            socket.sethostname("elsewhere")
            inside = socket.gethostname()
            ready.set()
            done.wait(20)
        watcher.join()
        return inside, seen[0], socket.gethostname()

    inside, seen, after = threaded(check)
    assert inside == "elsewhere"
    assert seen == after != inside


@pytest.mark.parametrize("loopback", [True, False])
def test_loopback(loopback: bool) -> None:
    """The loopback interface of a new network namespace is up, or stays down with loopback=False."""

    def check() -> int:
        with nsbox.unshare("net", loopback=loopback), socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", 1))

    assert threaded(check) == (errno.ECONNREFUSED if loopback else errno.ENETUNREACH)


def test_processes_started_inside() -> None:
    """The first process is PID 1. After it no process can be started until the block has ended."""

    def check() -> tuple[str, int | None, str, str, str]:
        with nsbox.unshare("pid"):
            first = subprocess.check_output(["sh", "-c", "echo $$"], text=True)
            try:
                second: int | None = subprocess.call(["true"])
            except OSError as error:
                second = error.errno
            try:
                threading.Thread(target=int).start()
                thread = "started"
            except RuntimeError as error:
                thread = str(error)
        after = subprocess.check_output(["sh", "-c", "echo alive"], text=True)
        worker = threading.Thread(target=int)
        worker.start()
        worker.join()
        return first, second, thread, after, nsbox.run(["echo", "too"], capture_output=True, text=True).stdout

    assert threaded(check) == ("1\n", errno.ENOMEM, "can't start new thread", "alive\n", "too\n")


def test_mounts() -> None:
    """Mounts of the block are visible only in it; the working directory is the same before, in and after it."""

    def check() -> tuple[bool, bool, bool]:
        place = Path(os.getcwd())
        with nothing_moves(), nsbox.unshare("mount"):
            assert Path(os.getcwd()) == place
            raw.mount("none", "/tmp", "tmpfs")
            Path("/tmp/only-here").touch()
            inside = Path("/tmp/only-here").exists()
            others = Path(f"/proc/{os.getppid()}/root/tmp/only-here").exists()
            os.chdir("/tmp")
        return inside, others, Path("/tmp/only-here").exists()

    assert threaded(check) == (True, False, False)


def test_the_directories_of_other_threads() -> None:
    """If a thread changes its directory in a mount scope, no other thread is affected, nor by its umask and root."""

    def check() -> tuple[str, str, int]:
        start, before = os.getcwd(), os.umask(0o022)
        seen: list[Any] = []
        ready, done = threading.Event(), threading.Event()

        def watch() -> None:
            ready.wait(20)
            seen.append(os.getcwd())
            mask = os.umask(0o022)
            os.umask(mask)
            seen.append(mask)
            done.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        with nsbox.unshare("mount"):
            os.chdir("/")
            os.umask(0o077)
            ready.set()
            done.wait(20)
        watcher.join()
        os.umask(before)
        return seen[0], os.getcwd() if os.getcwd() == start else "moved", seen[1]

    there, back, mask = threaded(check)
    assert there == back
    assert mask == 0o022


def test_a_root_directory_of_its_own(place: Path) -> None:
    """A thread in a chroot returns to it."""
    (place / "inside").mkdir()

    def check() -> tuple[list[str], list[str]]:
        with nsbox.Popen(["sleep", "1000"], unshare="m") as box:
            target = nsbox.Namespace.of(box, "mount")
            box.kill()
        with target:
            # In the chroot nothing can be imported.
            scope = nsbox.setns(target)
            os.chroot(place)
            os.chdir("/inside")
            with scope:
                inside = os.listdir("/")
            assert os.getcwd() == "/inside"
            return inside, os.listdir("/")

    inside, after = in_child(check)
    assert "proc" in inside
    assert after == ["inside"]


def test_mount_proc() -> None:
    """Children of the block see the new proc, which is removed at its end; no other process sees it."""

    def check() -> tuple[list[str], bool, bool, bool]:
        with nothing_moves(), nsbox.unshare("mp"):
            before = Path("/proc/self/mountinfo").read_text()
            with nsbox.mount_proc():
                output = subprocess.run(["ps", "-e", "-o", "pid="], capture_output=True, text=True, check=True).stdout
                # The thread has no PID in the namespace of its children.
                itself = os.path.exists("/proc/self")
            same = Path("/proc/self/mountinfo").read_text() == before
        with nsbox.unshare("m"), nsbox.mount_proc():
            own = os.readlink("/proc/self") == str(os.getpid())
        return output.split(), itself, same, own

    assert threaded(check) == (["1"], False, True, True)


def test_mount_proc_on_an_old_kernel() -> None:
    """A proc for another PID namespace needs a newer kernel, and the error names alternatives."""

    def check() -> str:
        seccomp.install(Deny("fsconfig", errno.EINVAL, argument=1, equals=5))
        with pytest.raises(nsbox.SpawnError) as caught, nsbox.unshare("mp"), nsbox.mount_proc():
            raise AssertionError("it was mounted")
        return str(caught.value)

    text = threaded(check)
    assert "pidns" in text
    assert "6.17" in text


def test_mount_proc_elsewhere(place: Path) -> None:
    """Any directory works, also a relative one."""

    def check() -> tuple[bool, bool]:
        os.chdir(place.parent)
        with nsbox.unshare("mount"), nsbox.mount_proc(place.name):
            os.chdir("/")
            inside = (place / "self").exists()
        return inside, (place / "self").exists()

    assert threaded(check) == (True, False)


def test_mount_proc_is_refused_where_others_see_it(place: Path) -> None:
    """Not in the caller's mounts, not in joined mounts, and not in a scope that is entered too late."""

    def check() -> int:
        refused = 0

        def attempt(scope: nsbox.Scope) -> None:
            nonlocal refused
            with pytest.raises(nsbox.SpecError, match="mount_proc"), scope:
                raise AssertionError("it was mounted")
            refused += 1

        attempt(nsbox.mount_proc())
        attempt(nsbox.mount_proc(place))
        with nsbox.unshare("uts"):
            attempt(nsbox.mount_proc())
        with nsbox.unshare("mount"):
            kept = nsbox.mount_proc()
        attempt(kept)
        with nsbox.Popen(["sleep", "1000"], unshare="m") as box:
            with nsbox.setns(box, "mount"):
                attempt(nsbox.mount_proc())
            with nsbox.unshare("mount"), nsbox.setns(box, "mount"):
                attempt(nsbox.mount_proc())
            box.kill()

        def work() -> None:
            attempt(nsbox.mount_proc())

        with nsbox.unshare("mount"):
            worker = threading.Thread(target=work)
            worker.start()
            worker.join()
        return refused

    with nothing_moves():
        assert threaded(check) == 7


def test_a_thread_started_inside_outlives_the_scope() -> None:
    """The new thread stays, with the directories that both shared until then; the one that made the scope returns."""

    def check() -> tuple[set[str], set[str]]:
        here, go_on = place_of(), threading.Event()
        with nsbox.unshare("mount"):
            inside = place_of()
            worker = threading.Thread(target=go_on.wait)
            worker.start()
        back, left = changed(here, place_of()), changed(inside, place_of(worker.native_id or 0))
        go_on.set()
        worker.join()
        return back, left

    with nothing_moves():
        assert threaded(check) == (set(), set())


def test_mount_proc_covered() -> None:
    """A mount that covers the proc is not unmounted instead: an error is raised, and all else is undone."""

    def check() -> tuple[str, bool]:
        text = ""
        before = place_of()
        with nsbox.unshare("mount"):
            try:
                with nsbox.mount_proc():
                    raw.mount("none", "/proc", "tmpfs")
            except nsbox.ScopeError as error:
                text = str(error)
        return text, place_of() == before

    text, back = threaded(check)
    assert "unmount proc" in text
    assert back


def test_nesting() -> None:
    """Scopes can be nested, and each is undone at its end."""

    def check() -> bool:
        places = [place_of()]
        with nothing_moves(), ExitStack() as stack:
            for kinds in ("uts", "mount", "ipc uts", "pid", "net mount", "uts"):
                stack.enter_context(nsbox.unshare(kinds))
                # In the block the thread's own proc is the old one, in which the thread has its old PID.
                places.append(place_of())
            while len(places) > 1:
                assert place_of() == places.pop()
                stack._exit_callbacks.pop()[1](None, None, None)  # type: ignore[attr-defined]
            assert place_of() == places[0]
        return True

    assert threaded(check)


def test_exceptions_pass() -> None:
    """An exception passes through the block unchanged, and the thread returns."""

    def check() -> bool:
        with nothing_moves(), pytest.raises(LookupError, match="mine"), nsbox.unshare("uts ipc net"):
            raise LookupError("mine")
        return True

    assert threaded(check)
