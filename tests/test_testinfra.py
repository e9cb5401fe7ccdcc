"""What pytest-testinfra reports about a box."""

from __future__ import annotations

import os

import nsbox
import pytest

from tests.support.forked import Who

pytest.importorskip("testinfra")


def test_host() -> None:
    """Commands, files, mounts and processes are those of the box."""
    from nsbox.testinfra import host_of

    with nsbox.Box("mpu", mount_proc=True, hostname="inside") as box:
        box.mount("none", "/mnt", "tmpfs")
        host = host_of(box)
        assert host.check_output("echo %s", "a b") == "a b"
        failed = host.run("echo out; echo err >&2; exit 3")
        assert (failed.rc, failed.stdout, failed.stderr) == (3, "out\n", "err\n")
        assert host.check_output("hostname") == "inside"
        assert host.mount_point("/mnt").filesystem == "tmpfs"
        assert host.process.get(pid=1).comm == "nsbox-init"
        host.check_output("echo text > /mnt/file")
        assert host.file("/mnt/file").content_string == "text\n"
        assert not os.path.exists("/mnt/file")
        assert repr(host) == f"<testinfra.host.Host nsbox://nsbox-{box.pid}>"


def test_as_a_user() -> None:
    """The user in the box is root, for any user outside."""
    from nsbox.testinfra import host_of

    def check() -> tuple[int, str]:
        with nsbox.Box("mp", mount_proc=True) as box:
            return host_of(box).run("id -u").rc, host_of(box).check_output("id -u")

    assert Who("user")(check) == (0, "0")
