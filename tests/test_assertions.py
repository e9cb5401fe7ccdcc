"""Assertions on kernel state: what they accept, and the messages of failures."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import nsbox
import pytest
from nsbox.assertions import (
    assert_init,
    assert_isolated,
    assert_mounted,
    assert_no_leftovers,
    assert_proc_matches,
    assert_shared,
)

from tests.support.forked import Who


def message_of(function: Callable[[], None]) -> str:
    """Return the message of an assertion that fails."""
    try:
        function()
    except AssertionError as error:
        return str(error)
    return ""


def test_steps_of_the_exercise(who: Who) -> None:
    """The assertions hold for a shell after unshare -mipf, before and after the mount of /proc."""

    def check() -> list[str]:
        with nsbox.Shell("mip", shell="/bin/bash") as shell:
            assert_isolated(shell, "mount pid ipc")
            assert_shared(shell, "net uts")
            assert_init(shell, comm="bash")
            assert_no_leftovers(shell)
            texts = [message_of(lambda: assert_proc_matches(shell)), str(shell.pid)]
            shell.run("mount -t proc none /proc", check=True)
            assert_proc_matches(shell)
            assert_mounted(shell, "/proc", "proc")
            shell.run("sleep 4731 &")
            texts.append(message_of(lambda: assert_no_leftovers(shell)))
            texts.append(message_of(lambda: assert_isolated(shell, "ipc uts net")))
            texts.append(message_of(lambda: assert_init(shell, comm="dash")))
            texts.append(message_of(lambda: assert_mounted(shell, "/proc", "tmpfs")))
        return texts

    proc, pid, left, isolated, init, mounted = who(check)
    assert proc == (
        f"a /proc that shows the PID namespace of process {pid} (bash)\n"
        "    expected: /proc lists it under its own number, 1\n"
        f"    seen:     /proc belongs to an outer PID namespace, where its number is {pid}\n"
        "    likely:   no proc was mounted after the PID namespace was made: mount -t proc proc /proc"
    )
    assert "sleep 4731 (process" in left
    assert "in the background" in left
    assert "uts:[" in isolated
    assert "net:[" in isolated
    assert "ipc:[" not in isolated
    assert "unshare without --uts (-u). unshare without --net (-n)" in isolated
    assert "seen:     the name 'bash'" in init
    assert "proc is mounted there" in mounted


def test_nothing_was_done(who: Who) -> None:
    """What is true of a program for which nothing was done is not enough with `since`: it was so before."""

    def check() -> list[str]:
        with nsbox.Box("mip", mount_proc=True) as box, box.Popen(["sleep", "1000"]) as lazy:
            assert_proc_matches(lazy)
            assert_mounted(lazy, "/proc", "proc")
            texts = [
                message_of(lambda: assert_proc_matches(lazy, since=box)),
                message_of(lambda: assert_init(box, since=box)),
                message_of(lambda: assert_mounted(lazy, "/proc", "proc", since=box)),
            ]
            lazy.kill()
            with box.Box("mip", mount_proc=True) as busy:
                assert_proc_matches(busy, since=box)
                assert_init(busy, since=box)
                assert_mounted(busy, "/proc", "proc", since=box)
        return texts

    proc, init, mounted = who(check)
    assert "pid:[" in proc
    assert "is the same" in proc
    assert "is the same" in init
    assert "expected: a mount that was not there before" in mounted


def test_without_fork(who: Who) -> None:
    """A shell after unshare -p without --fork has not entered its PID namespace, and the message says so."""

    def check() -> list[str]:
        with nsbox.Shell("mip", fork=False) as shell:
            shell.run("uname")
            assert_isolated(shell, "mount ipc")
            return [message_of(lambda: assert_isolated(shell, "pid")), message_of(lambda: assert_init(shell))]

    for text in who(check):
        assert "likely:   a PID namespace was unshared without a fork" in text
        assert "unshare needs --fork (-f)" in text


def test_boxes(who: Who) -> None:
    """For a box the assertions ask nsbox-init, as it cannot be traced."""

    def check() -> list[str]:
        with nsbox.Box("mip") as box, box.Box("pid uts") as inner:
            assert_isolated(box, "mip")
            assert_isolated(inner, "pid uts", since=box)
            assert_shared(inner, "mount ipc", since=box)
            assert_init(box, comm="nsbox-init")
            texts = [
                message_of(lambda: assert_proc_matches(box)),
                message_of(lambda: assert_shared(inner, "uts", since=box)),
            ]
            box.mount_proc()
            assert_proc_matches(box)
            texts.append(message_of(lambda: assert_isolated(inner, "ipc", since=box)))
            return texts

    proc, shared, isolated = who(check)
    assert "a /proc that shows the PID namespace of the box" in proc
    assert "in the same uts namespaces as the box" in shared
    assert "namespaces other than those of the box" in isolated


@pytest.mark.parametrize("name", ["a b", "a\tb", "a\nb", "a\\b", "a\\040b", "a\udce4b"])
def test_mount_points_of_any_name(who: Who, name: str) -> None:
    """mountinfo escapes some bytes of a path, and the bytes may be no valid UTF-8 (proc_pid_mountinfo(5))."""

    def check() -> str:
        with nsbox.Box("m") as box:
            box.mount("none", "/tmp", "tmpfs")
            box.run(["mkdir", f"/tmp/{name}", "/tmp/other"], check=True)
            box.mount("none", f"/tmp/{name}", "tmpfs")
            assert_mounted(box, f"/tmp/{name}", "tmpfs")
            return message_of(lambda: assert_mounted(box, "/tmp/other"))

    assert "nothing is mounted there" in who(check)


def test_a_hidden_mount(who: Who) -> None:
    """A mount that another one covers is none that a program finds. Paths may be bytes, with a slash too many."""

    def check() -> list[str]:
        with nsbox.Box("mip") as box:
            box.mount("none", "/tmp", "tmpfs")
            box.mount_proc("/tmp/.")
            box.run(["mount", "-t", "tmpfs", "over", "/tmp"], check=True)
            box.run(["mkdir", "/tmp/a"], check=True)
            box.mount("none", "/tmp/a", "tmpfs")
            assert_mounted(box, b"/tmp//a/", "tmpfs")
            texts = [message_of(lambda: assert_mounted(box, "/tmp/", "proc"))]
            box.mount("none", "/tmp", "ramfs")
            texts.append(message_of(lambda: assert_mounted(box, "/tmp/a", "tmpfs")))
            texts.append(message_of(lambda: assert_mounted(box, "/tmp/a", "proc")))
            with pytest.raises(nsbox.SpecError, match="path: expected an absolute path"):
                assert_mounted(box, "tmp")
        return texts

    covered, below, other = who(check)
    assert "seen:     tmpfs is mounted there" in covered
    assert "likely:   the mount was made, but the mount of tmpfs on /tmp hides it" in covered
    assert "seen:     nothing is mounted there" in below
    assert "likely:   the mount was made, but the mount of ramfs on /tmp hides it" in below
    assert "likely:   the mount was made in another mount namespace, or not at all" in other


def test_second_in_its_namespace() -> None:
    """Only the first process of a new PID namespace is its init."""
    with nsbox.Popen(["sleep", "20"], unshare="pid") as process:
        text = message_of(lambda: assert_init(process))
        process.kill()
    assert "seen:     number 2 there" in text


def test_ended_process_and_wrong_argument() -> None:
    """A process that has ended fails the assertion; an argument that is no process is an error of the caller."""
    with nsbox.Popen(["true"], unshare="pid") as process:
        process.wait()
    with pytest.raises(AssertionError, match=r"process \d+ has ended"):
        assert_isolated(process, "pid")
    with pytest.raises(nsbox.SpecError, match="target: expected a PID or something with a pid, got 0"):
        assert_init(0)
    with pytest.raises(nsbox.SpecError, match="is no namespace"):
        assert_isolated(os.getpid(), "nonsense")


def test_workers_are_no_leftovers() -> None:
    """The worker that a box keeps for the next call is none; what a call has started is one."""
    with nsbox.Box("mip") as box:
        box.call(len, "ab")
        assert_no_leftovers(box)
        box.call(subprocess.run, ["sh", "-c", "sleep 4732 &"])
        assert "sleep 4732 (process" in message_of(lambda: assert_no_leftovers(box))
