"""Descriptors of the caller that a program must not inherit, where a filter refuses close_range(2)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

import nsbox
import pytest
from nsbox import Box, raw

from tests.support import libc, seccomp
from tests.support.forked import Who, in_child
from tests.support.seccomp import Deny

SECRET = "/etc/hostname"
"""What the caller has open for reading, and lets be inherited."""

LIST = ["ls", "-l", "/proc/self/fd"]
QUIET: Any = {"capture_output": True, "text": True, "check": True, "timeout": 60}


def run(**options: Any) -> str:
    """Return what a single program has open."""
    return str(nsbox.run(LIST, **QUIET, **options).stdout)


def unattended() -> str:
    """Return what a program has open that is started in the fastest way."""
    reader, writer = os.pipe()
    saved = os.dup(1)
    os.dup2(writer, 1)
    try:
        nsbox.run(LIST)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(writer)
    with open(reader) as stream:
        return stream.read()


def in_box() -> str:
    """Return what a program in a box has open."""
    with Box() as box:
        return str(box.run(LIST, **QUIET).stdout)


def in_nested_box() -> str:
    """Return what a program in a box in a box has open."""
    with Box() as box, box.Box() as inner:
        return str(inner.run(LIST, **QUIET).stdout)


def in_shell() -> str:
    """Return what a program of a shell has open."""
    with nsbox.Shell() as shell:
        return shell.run(" ".join(LIST)).stdout


def joined() -> str:
    """Return what a program in joined namespaces has open."""
    with nsbox.Popen(["sleep", "1000"], unshare="mip") as target:
        try:
            return str(nsbox.enter(target, "mount pid ipc", LIST, **QUIET).stdout)
        finally:
            target.kill()


WAYS: dict[str, Callable[[], str]] = {
    "run": run,
    "unattended": unattended,
    "no init": lambda: run(init=False),
    "no fork": lambda: run(fork=False),
    "no pid namespace": lambda: run(unshare="mi"),
    "box": in_box,
    "nested box": in_nested_box,
    "shell": in_shell,
    "joined": joined,
}


@contextlib.contextmanager
def inheritable() -> Iterator[int]:
    """Open the secret, so that an exec would pass it on."""
    fd = os.open(SECRET, os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
@pytest.mark.parametrize("way", WAYS)
def test_close_range_refused(who: Who, way: str, number: int) -> None:
    """No program has what the caller lets be inherited, in whatever way it is started."""

    def check() -> str:
        with inheritable():
            seccomp.install(Deny("close_range", number))
            return WAYS[way]()

    found = in_child(lambda: who(check))
    assert "0 -> " in found
    assert SECRET not in found


def test_passed_on_all_the_same(who: Who) -> None:
    """What is passed on by name is there, and nothing else."""

    def check() -> list[str]:
        with inheritable() as fd, inheritable():
            seccomp.install(Deny("close_range", errno.EPERM))
            with Box() as box:
                return [run(pass_fds=[fd]), str(box.run(LIST, pass_fds=[fd], **QUIET).stdout)]

    for found in in_child(lambda: who(check)):
        assert found.count(SECRET) == 1


@pytest.mark.parametrize("way", ["run", "box"])
def test_without_a_list_either(way: str) -> None:
    """Where the list of descriptors cannot be read, nothing is started, and the error says why."""

    def check() -> tuple[str, int | None, str]:
        with inheritable():
            libc.unshare(raw.CLONE_NEWNS)
            libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE)
            libc.mount("none", "/proc", "tmpfs")
            seccomp.install(Deny("close_range", errno.EPERM))
            with pytest.raises(nsbox.SpawnError) as caught:
                WAYS[way]()
            return caught.value.step, caught.value.errno, str(caught.value)

    if os.geteuid() != 0:
        pytest.skip("only root can hide /proc without a new user namespace")
    step, number, text = in_child(check)
    assert (step, number) == ("exec init", errno.EPERM)
    assert "/proc/self/fd" in text


@pytest.mark.parametrize(
    ("rule", "step", "options"),
    [
        (Deny("prctl", errno.EPERM, argument=0, equals=libc.PR_SET_DUMPABLE), "fork", {"unshare": "mip"}),
        (Deny("prctl", errno.EPERM, argument=0, equals=1), "fork", {"unshare": "i"}),
        (Deny("umask", errno.EPERM), "umask", {"umask": 0o77}),
    ],
    ids=["dumpable", "parent death signal", "umask"],
)
def test_other_protective_calls(who: Who, rule: Deny, step: str, options: dict[str, Any]) -> None:
    """A call that protects, and is refused, fails its step: the program does not run without it."""

    def check() -> str:
        seccomp.install(rule)
        with pytest.raises(nsbox.SpawnError) as caught:
            nsbox.run(["true"], **options)
        return caught.value.step

    if step == "fork" and not who.is_root and "m" in options["unshare"]:
        step = "setgroups"  # an ordinary user may write the maps of a dumpable init only
    assert in_child(lambda: who(check)) == step
