"""Root's own files in a hardened box: writable where it was said, in root's name outside, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nsbox
import pytest
from nsbox import Bind

from tests.support.needs import needs_root
from tests.support.private import private_directory

pytestmark = needs_root

SCRIPT = """
cd "$1" && cat private && echo written > new && chmod 600 new && stat -c %u:%g new
"""


@pytest.fixture
def work() -> Iterator[Path]:
    """Return a directory of root's, with a file that only root may read, where private /tmp is not."""
    with private_directory() as path:
        yield path


def test_writable(work: Path) -> None:
    """The program reads and writes there as root inside; outside the new file is root's."""
    command = ["/bin/sh", "-c", SCRIPT, "sh", str(work)]
    done = nsbox.run(command, harden=True, writable=[work], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("secret\n0:0\n", "")
    status = (work / "new").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 0, 0o600)


def test_in_a_box(work: Path) -> None:
    """The same in a box, and in one bind of it."""
    mounts = [Bind(work, work, idmap=True)]
    with nsbox.Box(harden=True, mounts=mounts, cwd="/") as box:
        done = box.run(["/bin/sh", "-c", SCRIPT, "sh", str(work)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("secret\n0:0\n", "")


def test_without(work: Path) -> None:
    """Without it root inside cannot read it: it is another user than root, and the directory may be hidden."""
    done = nsbox.run(["cat", f"{work}/private"], harden=True, cwd="/", capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")


def test_mounts_in_it_stay_inside(work: Path) -> None:
    """A mount on a directory in it does not appear outside."""
    (work / "below").mkdir()
    with nsbox.Box(harden=True, mounts=[Bind(work, work, idmap=True)], cwd="/") as box:
        box.mount("tmpfs", f"{work}/below", "tmpfs")
        box.run(["touch", f"{work}/below/file"], check=True)
        assert not (work / "below/file").exists()


def test_what_cannot_have_it() -> None:
    """A file system that does not support it, a missing directory, and a bind without maps: errors that say so."""
    for source, cause in (("/proc", "no-idmap"), ("/no/such", "no-idmap-source")):
        with pytest.raises(nsbox.SpawnError) as caught:
            nsbox.run(["true"], harden=True, mounts=[Bind(source, "/mnt", idmap=True)], cwd="/")
        assert (caught.value.step, caught.value.cause) == ("idmap", cause)
    with pytest.raises(nsbox.SpecError, match="takes id maps"):
        nsbox.run(["true"], mounts=[Bind("/var", "/mnt", idmap=True)])
