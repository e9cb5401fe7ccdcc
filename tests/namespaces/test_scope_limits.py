"""The limits of scopes: failures, refusals, wrong use, forks, signals, old kernels."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import nsbox
import pytest
from nsbox import raw

from tests.support import libc, seccomp
from tests.support.census import wait_until
from tests.support.forked import as_user, fork, in_child
from tests.support.needs import needs_root
from tests.support.scoped import changed, everywhere, names_of, nothing_moves, place_of, threaded
from tests.support.seccomp import Deny

pytestmark = needs_root


@pytest.mark.parametrize("denied", ["mount", "ioctl", "setns-ipc"])
def test_entering_fails_half_way(denied: str) -> None:
    """If a later step fails, the earlier ones are undone, and the error names the step."""

    def check() -> tuple[str, str, int | None, bool]:
        with nsbox.Popen(["sleep", "1000"], unshare="iu") as box:
            if denied == "mount":
                seccomp.install(Deny("mount", errno.EACCES))
                scope, step = nsbox.unshare("mount uts"), "propagation"
            elif denied == "ioctl":
                seccomp.install(Deny("ioctl", errno.EACCES, argument=1, equals=0x8914))
                scope, step = nsbox.unshare("net uts"), "loopback"
            else:
                scope, step = nsbox.setns(box, "ipc uts"), "join uts"
                seccomp.install(Deny("setns", errno.EACCES, argument=1, equals=raw.CLONE_NEWUTS))
            before, fds = everywhere(), len(os.listdir("/proc/self/fd"))
            found: tuple[str, int | None] = "", None
            try:
                with scope:
                    raise AssertionError("it was entered")
            except nsbox.SpawnPermissionError as error:
                found = error.step, error.errno
            assert len(os.listdir("/proc/self/fd")) == fds
            box.kill()
            return step, *found, everywhere() == before

    step, failed, number, back = threaded(check)
    assert (failed, number, back) == (step, errno.EACCES, True)


def test_an_ordinary_user_is_refused() -> None:
    """An ordinary user lacks the rights; the error names them, and nothing has changed."""

    def check() -> tuple[str, int | None, str, bool]:
        before = place_of()
        try:
            with nsbox.unshare("uts mount"):
                raise AssertionError("it was entered")
        except nsbox.SpawnError as error:
            return error.step, error.errno, str(error), place_of() == before

    step, number, text, same = as_user(check)
    assert (step, number, same) == ("unshare", errno.EPERM, True)
    assert "CAP_SYS_ADMIN" in text
    assert "failed as well" not in text


@pytest.mark.parametrize("kind", ["user", "time"])
def test_kinds_that_need_a_single_thread(kind: str) -> None:
    """The error names the threads that prevent it."""

    def check() -> list[str]:
        waiting = threading.Event()
        threading.Thread(target=waiting.wait, name="in-the-way", daemon=True).start()
        texts = []
        for target in (None, os.getppid()):
            with pytest.raises(nsbox.SpecError) as caught:
                _ = nsbox.unshare(kind) if target is None else nsbox.setns(target, kind)
            texts.append(str(caught.value))
        waiting.set()
        return texts

    for text in in_child(check):
        assert text.startswith(f"kinds: {kind}: ")
        assert "'in-the-way'" in text
        assert "nsbox.run" in text


def test_user_is_refused_without_threads_too() -> None:
    """A user namespace cannot be left again."""

    def check() -> str:
        with pytest.raises(nsbox.SpecError) as caught:
            nsbox.unshare("user")
        return str(caught.value)

    assert "cannot go back from a user namespace" in in_child(check)


def test_time_without_threads() -> None:
    """A process with one thread can return from a time namespace."""

    def check() -> tuple[set[str], bool]:
        before = place_of()
        with nsbox.unshare("time"):
            inside = place_of()
        return changed(before, inside), place_of() == before

    assert in_child(check) == ({"time_for_children"}, True)


def test_a_new_thread_prevents_the_return() -> None:
    """A thread that was started in the block prevents the return; all else is undone, and the error says so."""

    def check() -> tuple[str, set[str], str]:
        before = place_of()
        stop = threading.Event()
        cause = ""
        try:
            with nsbox.unshare("time uts ipc"):
                threading.Thread(target=stop.wait, daemon=True).start()
                raise LookupError("mine")
        except nsbox.ScopeError as error:
            text, cause = str(error), repr(error.__context__)
        after = place_of()
        stop.set()
        return text, changed(before, after), cause

    text, stuck, cause = in_child(check)
    assert stuck == {"time_for_children"}
    assert "could not go back" in text
    assert "join time: setns(" in text
    assert os.strerror(errno.EUSERS) in text
    assert "mine" in cause


def test_left_in_another_thread() -> None:
    """As with a generator that is closed by another thread: no thread is moved, and the error names the threads."""

    def check() -> tuple[str, set[str], set[str], set[str]]:
        scope = nsbox.unshare("uts")
        before = place_of()
        texts: list[str] = []

        def leave() -> None:
            here = place_of()
            try:
                scope.__exit__(None, None, None)
            except nsbox.ScopeError as error:
                texts.append(str(error))
            assert place_of() == here

        with nsbox.unshare("ipc"):
            scope.__enter__()
            worker = threading.Thread(target=leave)
            worker.start()
            worker.join()
            stuck = changed(before, place_of())
        return texts[0], stuck, changed(before, place_of()), {str(threading.get_native_id())}

    text, stuck, after, here = threaded(check)
    assert stuck == {"uts", "ipc"}
    # The end of the outer scope also undoes the inner one.
    assert after == set()
    assert "entered in thread" in text
    assert all(number in text for number in here)


def test_generators_that_take_turns() -> None:
    """If scopes are left in another order than the reverse one, an error is raised, and the last undoes everything."""

    def scoped(kinds: str) -> Iterator[None]:
        with nsbox.unshare(kinds):
            yield

    def check() -> tuple[str, set[str], set[str]]:
        before = place_of()
        one, other = scoped("uts"), scoped("ipc")
        next(one)
        next(other)
        with pytest.raises(nsbox.ScopeError) as caught:
            next(one)
        between = changed(before, place_of())
        next(other, None)
        return str(caught.value), between, changed(before, place_of())

    text, between, after = threaded(check)
    assert "after the one that is left" in text
    assert between == {"uts", "ipc"}
    assert after == set()


def test_coroutines_that_take_turns() -> None:
    """The same with tasks of one event loop."""

    async def scoped(kinds: str, seconds: float) -> None:
        with nsbox.unshare(kinds):
            await asyncio.sleep(seconds)

    def check() -> tuple[list[str], set[str]]:
        before = place_of()

        async def main() -> list[Any]:
            return list(await asyncio.gather(scoped("uts", 0.02), scoped("ipc", 0.06), return_exceptions=True))

        results = asyncio.run(main())
        return [type(result).__name__ for result in results], changed(before, place_of())

    assert in_child(check) == (["ScopeError", "NoneType"], set())


def test_used_wrongly() -> None:
    """Entered twice, left twice, never entered, never used."""

    def check() -> list[str]:
        texts = []
        scope = nsbox.unshare("uts")
        with pytest.raises(nsbox.ScopeError) as caught:
            scope.__exit__(None, None, None)
        texts.append(str(caught.value))
        with scope:
            with pytest.raises(nsbox.ScopeError) as caught:
                scope.__enter__()
            texts.append(str(caught.value))
        with pytest.raises(nsbox.ScopeError) as caught:
            scope.__exit__(None, None, None)
        texts.append(str(caught.value))
        assert repr(scope).endswith("left>")
        with warnings.catch_warnings(record=True) as caught_warnings:
            warnings.simplefilter("always")
            nsbox.unshare("uts")
            gc.collect()
        texts += [str(warning.message) for warning in caught_warnings]
        return texts

    never, twice, again, unused = in_child(check)
    assert "never entered" in never
    assert "once" in twice
    assert "already been left" in again
    assert "has had no effect" in unused
    assert "nsbox.raw" in unused


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: nsbox.unshare(""), "kinds: no namespace"),
        (lambda: nsbox.unshare("x"), "kinds: 'x'"),
        (lambda: nsbox.unshare("m", propagation="shared"), "propagation"),  # type: ignore[arg-type]
        (lambda: nsbox.unshare("n", loopback=1), "loopback"),  # type: ignore[arg-type]
        (lambda: nsbox.setns(os.getpid()), "no other namespaces"),
        (lambda: nsbox.setns("/proc/self/ns/ipc", "net"), "kind"),
        (lambda: nsbox.setns("/proc/self/ns/ipc", "net ipc"), "single namespace"),
        (lambda: nsbox.setns(object(), "net"), "neither a process"),
        (lambda: nsbox.mount_proc(""), "no path"),
        (lambda: nsbox.mount_proc(7), "target: expected a path, got 7"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments(call: Callable[[], nsbox.Scope], reason: str) -> None:
    """Refused before anything happens, and no descriptor stays open."""
    with pytest.raises(nsbox.SpecError, match=reason):
        call()


def test_a_dead_pid_namespace() -> None:
    """A PID namespace whose PID 1 has ended is refused."""
    with nsbox.Popen(["sleep", "1000"], unshare="p") as box:
        kept = nsbox.Namespace.of(box, "pid")
        box.kill()
    with kept, pytest.raises(nsbox.SpawnError) as caught:
        nsbox.setns(kept)
    assert (caught.value.step, caught.value.errno) == ("join pid", errno.ESRCH)


@pytest.mark.parametrize("kinds", ["uts ipc", "pid", "mount net"])
def test_fork_inside(kinds: str) -> None:
    """A child stays where it was created; the parent's scopes are not its own, and it can have others."""

    def check() -> tuple[set[str], bool]:
        before = place_of()
        with nsbox.unshare(kinds):
            inside = place_of()
            reader, writer = os.pipe()
            child = fork()
            if child == 0:
                try:
                    with nsbox.unshare("cgroup"):
                        pass
                    raise LookupError
                except LookupError:
                    os.write(writer, b"%d" % ("pid" in kinds and os.getpid() == 1))
            else:
                os.close(writer)
                said = os.read(reader, 10)
                os.close(reader)
                os.waitpid(child, 0)
        if child == 0:
            # It has left the block, and is still where it was.
            os._exit(0)
        assert said == b"%d" % ("pid" in kinds)
        return changed(before, inside), place_of() == before

    moved, back = in_child(check)
    assert moved == names_of(kinds)
    assert back


def test_a_child_leaves_the_block_and_stays() -> None:
    """In a child of os.fork the end of the block has no effect."""

    def check() -> tuple[bool, bool]:
        before = place_of()
        reader, writer = os.pipe()
        with nsbox.unshare("uts"):
            inside = place_of()
            child = fork()
        if child == 0:
            os.write(writer, b"%d" % (place_of()["uts"] == inside["uts"]))
            os._exit(0)
        os.close(writer)
        stayed = os.read(reader, 10) == b"1"
        os.close(reader)
        os.waitpid(child, 0)
        return stayed, place_of() == before

    assert in_child(check) == (True, True)


def test_threads_that_end_inside() -> None:
    """A thread that ends in a scope leaves no descriptor open."""

    def check() -> bool:
        def work(scope: nsbox.Scope) -> None:
            scope.__enter__()

        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            worker = threading.Thread(target=work, args=(nsbox.unshare("uts mount"),))
            worker.start()
            worker.join()
        gc.collect()
        return wait_until(lambda: len(os.listdir("/proc/self/fd")) == before)

    assert in_child(check)


@pytest.mark.parametrize("kinds", ["uts ipc", "mount pid"])
def test_interrupted_at_any_moment(kinds: str) -> None:
    """If a signal handler raises at any moment, the thread is back in its namespaces afterwards."""

    def check() -> tuple[int, int]:
        def late(*_: object) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, late)
        interrupted = 0
        before, fds = place_of(), len(os.listdir("/proc/self/fd"))
        for microseconds in range(1, 600, 2):
            try:
                signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
                with nsbox.unshare(kinds):
                    sum(range(20))
                sum(range(10000))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert place_of() == before, f"after {microseconds} microseconds"
        gc.collect()
        return interrupted, len(os.listdir("/proc/self/fd")) - fds

    interrupted, left = in_child(check)
    assert interrupted > 20
    assert left == 0


def test_many_threads() -> None:
    """Eight threads enter and leave scopes of their own, and none is ever in another's."""

    def check() -> list[str]:
        problems: list[str] = []
        home = place_of()

        def work(number: int) -> None:
            for _ in range(25):
                with nsbox.unshare("uts mount ipc"):
                    name = f"thread-{number}"
                    socket.sethostname(name)
                    time.sleep(0.001)
                    if socket.gethostname() != name:
                        problems.append(f"{name} is in another's namespace")
                if place_of() != home:
                    problems.append(f"thread {number} did not come back")

        workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return problems

    assert in_child(check) == []


def test_without_a_proc() -> None:
    """The return needs no /proc: the namespaces are opened by a pidfd of the thread."""

    def check() -> bool:
        before = place_of()
        with nsbox.unshare("mount"):
            libc.mount("none", "/proc", "tmpfs")
            with nsbox.unshare("uts"):
                socket.sethostname("elsewhere")
            back = socket.gethostname() != "elsewhere"
        return back and place_of() == before

    assert threaded(check)


def test_on_an_old_kernel() -> None:
    """Without requests by pidfd the links in /proc are opened."""

    def check() -> bool:
        seccomp.install(Deny("pidfd_open", errno.EINVAL, argument=1, equals=os.O_EXCL))
        with nothing_moves(), nsbox.unshare("mipunC"):
            pass
        return True

    assert threaded(check)


def test_few_descriptors() -> None:
    """If no descriptor is free for the return, nothing happens."""

    def check() -> tuple[str, int | None, bool]:
        before = place_of()
        scope = nsbox.unshare("mipunC")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 2, limits[1]))
        try:
            with scope:
                raise AssertionError("it was entered")
        except nsbox.SpawnError as error:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return error.step, error.errno, place_of() == before

    assert in_child(check) == ("open own", errno.EMFILE, True)
