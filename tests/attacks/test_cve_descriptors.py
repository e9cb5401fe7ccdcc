"""Leaked descriptors and working directories (the class of CVE-2024-21626 and CVE-2016-9962).

Between its start and its exec, the process of a program has copies of what init has open. No path may lead there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import nsbox
import pytest

from tests.support.attack import PYTHON, Arrangement, achieved
from tests.support.rootfs import Rootfs

OPEN_DESCRIPTORS = """
import os
for name in os.listdir("/proc/self/fd"):
    try:
        target = os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        continue  # the one that listed the directory
    if int(name) > 2 and not target.startswith("/proc/"):
        print("OUT descriptor", name, target)
"""

WORKING_DIRECTORY = """
import os
try:
    print("OUT started in", os.getcwd())
except OSError:
    print("OUT started outside of the root")
print("OUT sees", sorted(os.listdir("."))[:5])
"""

DESCRIPTORS = range(32)


def test_none_is_passed_on(every_arrangement: Arrangement, place: Path) -> None:
    """A program gets standard input, output and error, and nothing that the caller or init has open."""

    def use() -> list[str]:
        leaked = [os.open(path, os.O_RDONLY) for path in ("/", "/etc/passwd")]
        try:
            for fd in leaked:
                os.set_inheritable(fd, True)
            with nsbox.Box(**every_arrangement.options) as box:
                alone = every_arrangement.attack(OPEN_DESCRIPTORS)
                return alone + every_arrangement.attack_from(box, OPEN_DESCRIPTORS)
        finally:
            for fd in leaked:
                os.close(fd)

    assert every_arrangement(use) == []


@pytest.fixture
def rootfs(place: Path) -> Rootfs:
    """A root whose `work` a program has replaced by a link to the descriptors of whoever follows it."""
    rootfs = Rootfs.make(place)
    (rootfs.path / "work").symlink_to("/proc/self/fd")
    return rootfs


def test_a_working_directory_that_is_a_link_to_a_descriptor(every_arrangement: Arrangement, rootfs: Rootfs) -> None:
    """The caller starts a program in a directory that the program before has replaced."""
    command = [PYTHON, "-c", WORKING_DIRECTORY]
    options = rootfs.options(**every_arrangement.options)

    def started(start: object, number: int, **more: object) -> list[str]:
        assert callable(start)
        try:
            result = start(
                command, cwd=f"/work/{number}", capture_output=True, text=True, **more, **every_arrangement.as_id
            )
        except (OSError, nsbox.NsboxError):
            return []
        return [f"{number}: {line}" for line in achieved(result.stdout)]

    def use() -> list[str]:
        out = []
        for number in DESCRIPTORS:
            out += started(nsbox.run, number, **options)
        with nsbox.Box(**options) as box:
            for number in DESCRIPTORS:
                out += started(box.run, number)
        return out

    assert every_arrangement(use) == []


def test_a_source_that_is_a_link_to_a_descriptor(with_user_namespace: Arrangement, rootfs: Rootfs) -> None:
    """The caller mounts in the box what a program has replaced: it does not get at the directories of init."""
    options = rootfs.options(**with_user_namespace.options)

    def use() -> list[str]:
        out = []
        with nsbox.Box(**options) as box:
            for number in DESCRIPTORS:
                with suppress(OSError):
                    box.mount(f"/work/{number}", "/data", flags="bind")
                    shown = box.run(["ls", "/data"], capture_output=True, text=True).stdout.split()
                    out.append(f"{number}: {shown[:5]}")
                    box.unmount("/data")
        # /work/N can be what the box itself starts in, which is its own root.
        return [line for line in out if "'bin'" not in line]

    assert with_user_namespace(use) == []
