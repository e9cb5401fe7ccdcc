"""Leaving the cgroup of `limits`, or raising its limits, from inside: not possible with `harden`.

Where the machine hands memory, pids and cpu on in version 2, there are limits; elsewhere an empty cgroup is left, which
takes the same rights. (`make vm-tests` has such a machine.)
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.start.test_cgroup import ground, there
from tests.support.attack import PYTHON, achieved, program
from tests.support.forked import USER, Who
from tests.support.needs import needs, needs_root

__all__ = ["ground"]

LIMITS = {"memory": 200_000_000, "pids": 30, "cpu": 0.9}

HELD: dict[str, dict[str, Any]] = {
    "harden": {"harden": True},
    "no Landlock": {"harden": True, "landlock": False},
    "capabilities": {"harden": True, "drop_capabilities": False},
}
UNFILTERED: dict[str, dict[str, Any]] = {
    "no filter": {"harden": True, "seccomp": False},
    "no filter, capabilities": {"harden": True, "seccomp": False, "landlock": False, "drop_capabilities": False},
}

BOMB = """
import os
count = 0
try:
    while True:
        if os.fork() == 0:
            os.read(os.pipe()[0], 1)
        count += 1
except OSError:
    print(count, flush=True)
    os.killpg(0, 9)
"""
HOG = """
held = []
while True:
    held.append(bytearray(10_000_000))
"""


@pytest.fixture
def delegated(who: Who, ground: Path) -> Path:
    """Return a cgroup that is delegated to the user, and hands on what it has."""
    needs(who, "mipUnC")
    controllers = set((ground / "cgroup.controllers").read_text().split()) & {"memory", "pids", "cpu"}
    (ground / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
    # As systemd delegates it, with all that a hostile owner could want.
    for file in ground.iterdir():
        if file.is_file() and not who.is_root:
            os.chown(file, USER, USER)
    return ground


def limits_in(ground: Path) -> dict[str, float]:
    """Return the limits that can be had there."""
    controllers = (ground / "cgroup.subtree_control").read_text().split()
    return {name: number for name, number in LIMITS.items() if name in controllers}


def tried(options: dict[str, Any], limits: dict[str, float]) -> list[str]:
    """Run the attack, and return what it achieved."""
    command = [PYTHON, "-c", program("leave_cgroup.py")]
    keywords: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120, "cwd": "/", "limits": limits}
    done = nsbox.run(command, **keywords, **options)
    assert "tried in " in done.stdout, done.stderr
    assert "nsbox-" in done.stdout, done.stdout
    return achieved(done.stdout)


@pytest.mark.parametrize("options", HELD.values(), ids=list(HELD))
def test_it_cannot_be_left(who: Who, delegated: Path, options: dict[str, Any]) -> None:
    """Neither root with private ids nor the owner of the cgroup gets out, or raises a limit."""
    limits = limits_in(delegated)
    assert there(who, delegated, lambda: tried(options, limits)) == []


@pytest.mark.parametrize("options", UNFILTERED.values(), ids=list(UNFILTERED))
def test_without_the_filter(who: Who, delegated: Path, options: dict[str, Any]) -> None:
    """Root's private ids have no rights there. The owner gets out by clone3, which takes no writable mount."""
    limits = limits_in(delegated)
    found = there(who, delegated, lambda: tried(options, limits))
    assert ("left by clone3" in found) is not who.is_root
    if who.is_root:
        assert found == []


def test_leaving_documented(who: Who, delegated: Path) -> None:
    """Without it, the owner of the cgroup leaves it: that is what the attack is worth."""
    limits = limits_in(delegated)
    found = there(who, delegated, lambda: tried({"unshare": "mip", "mount_proc": True}, limits))
    assert any(line.startswith("left by") for line in found), found


@needs_root
def test_dropped_uid(ground: Path) -> None:
    """Another user than the owner of the cgroup has no rights there."""
    options: Any = {"unshare": "mip", "mount_proc": True, "user": 4242, "group": 4242, "extra_groups": []}
    assert there(Who("root"), ground, lambda: tried({**options, "no_new_privs": True}, {})) == []


def test_in_a_box(who: Who, delegated: Path) -> None:
    """The same for a program, and for a box, in a hardened box with limits."""
    limits: Any = limits_in(delegated)

    def check() -> list[str]:
        command = [PYTHON, "-c", program("leave_cgroup.py")]
        keywords: Any = {"capture_output": True, "text": True, "timeout": 120}
        with nsbox.Box(harden=True, limits=limits, cwd="/") as box, box.Box(harden=True, cwd="/") as inner:
            outputs = [one.run(command, **keywords).stdout for one in (box, inner)]
        assert all("tried in " in output and "nsbox-" in output for output in outputs), outputs
        return achieved("".join(outputs))

    assert there(who, delegated, check) == []


def test_an_inherited_descriptor(who: Who, delegated: Path) -> None:
    """A descriptor that the caller passes on is the caller's own decision, but only that one leads out."""

    def check() -> list[str]:
        with contextlib.ExitStack() as stack:
            directory = os.open(delegated, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, directory)
            os.set_inheritable(directory, True)
            return tried({"harden": True}, limits_in(delegated))

    assert there(who, delegated, check) == []


def test_the_limits_hold(who: Who, delegated: Path) -> None:
    """A fork bomb and an allocation end at the limit, and the caller goes on."""
    limits: Any = limits_in(delegated)
    if limits != LIMITS:
        with pytest.raises(nsbox.UnsupportedError, match="limits: no cgroup for "):
            there(who, delegated, lambda: nsbox.run(["true"], limits=LIMITS))
        return
    keywords: Any = {"harden": True, "limits": limits, "cwd": "/", "capture_output": True, "text": True}

    def check() -> tuple[int, int, str]:
        forked = nsbox.run([PYTHON, "-c", BOMB], timeout=120, **keywords).stdout
        grown = nsbox.run([PYTHON, "-c", HOG], timeout=120, **keywords)
        return int(forked), grown.returncode, str(grown.verdict)

    number, returncode, verdict = there(who, delegated, check)
    assert number == limits["pids"] - 1
    assert (returncode, verdict) == (-9, "KILLED")
