"""Where a cgroup can be made, found out from fabricated files."""

from __future__ import annotations

import os
from pathlib import Path

import nsbox
import pytest
from nsbox.start.cgroup import Hierarchy, settings

pytestmark = pytest.mark.pure

V1 = "5:memory:/a\n3:cpu,cpuacct:/a\n"


def process(place: Path, cgroup: str, *mounts: str) -> str:
    """Make a fabricated /proc/PID with these files."""
    (place / "proc").mkdir()
    (place / "proc" / "cgroup").write_text(cgroup)
    lines = [
        "30 20 0:1 / / rw - ext4 /dev/root rw\n",
        *(f"31 20 0:38 {mount} rw,relatime - cgroup2 cgroup2 rw\n" for mount in mounts),
    ]
    (place / "proc" / "mountinfo").write_text("".join(lines))
    return str(place / "proc")


def cgroup(path: Path, controllers: str = "", handed_on: str = "", *, writable: bool = True) -> Path:
    """Make a fabricated directory of a cgroup."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text(handed_on)
    (path / "cgroup.procs").write_text("")
    (path / "cgroup.procs").chmod(0o644 if writable else 0o444)
    return path


@pytest.fixture(autouse=True)
def _rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decide by the mode whether a file is writable: the tests may run as root, who may write everything."""
    monkeypatch.setattr(
        "nsbox.start.cgroup._writable", lambda path: bool(os.stat(f"{path}/cgroup.procs").st_mode & 0o200)
    )


def test_above_the_callers_own(tmp_path: Path) -> None:
    """The caller's own cgroup has processes in it, so it enables nothing for children; the one above it does."""
    top = cgroup(tmp_path / "fs", "cpu memory pids", "cpu memory pids", writable=False)
    slice_ = cgroup(top / "user.slice" / "app.slice", "memory pids", "memory pids")
    own = cgroup(slice_ / "own.scope", "memory pids")
    cgroup(top / "user.slice", "memory pids", "memory pids", writable=False)
    hierarchy = Hierarchy.read(process(tmp_path, "0::/user.slice/app.slice/own.scope\n", f"/ {top}"))
    assert hierarchy == Hierarchy(str(own), str(top), {})
    assert hierarchy.place(frozenset({"memory", "pids"})) == str(slice_)
    assert hierarchy.place(frozenset()) == str(own)
    with pytest.raises(nsbox.UnsupportedError, match=r"app\.slice does not have cpu; .*user\.slice is not writable"):
        hierarchy.place(frozenset({"cpu"}))


def test_not_enabled_for_children(tmp_path: Path) -> None:
    """The cgroup has the controller, but does not enable it for children. nsbox does not enable it either."""
    top = cgroup(tmp_path / "fs", "memory", "")
    with pytest.raises(nsbox.UnsupportedError, match=r"^limits: .* does not enable memory for its children"):
        Hierarchy.read(process(tmp_path, "0::/\n", f"/ {top}")).place(frozenset({"memory"}))


def test_bound_part_of_the_hierarchy(tmp_path: Path) -> None:
    """A container sees a part of the hierarchy (cgroup_namespaces(7)); nothing above it is used."""
    top = cgroup(tmp_path / "fs", "pids", "pids")
    hierarchy = Hierarchy.read(process(tmp_path, "0::/docker/abc/inner\n", f"/other {top}", f"/docker/abc {top}"))
    assert hierarchy.directory == f"{top}/inner"
    cgroup(top / "inner", "pids", "")
    assert hierarchy.place(frozenset({"pids"})) == str(top)


@pytest.mark.parametrize("own", ["0::/../elsewhere\n", "", "0::/\n"])
def test_no_version_2(tmp_path: Path, own: str) -> None:
    """No cgroup2 is mounted, or the caller's own cgroup is not in what is mounted."""
    mounts = [f"/ {tmp_path}"] if ".." in own else []
    hierarchy = Hierarchy.read(process(tmp_path, V1 + own, *mounts))
    assert hierarchy.directory is None
    with pytest.raises(nsbox.UnsupportedError, match=r"no cgroup of version 2 .*; cpu, memory belong to version 1"):
        hierarchy.place(frozenset({"cpu", "memory", "pids"}))


def test_no_proc(tmp_path: Path) -> None:
    """Without /proc the caller's cgroup is unknown."""
    with pytest.raises(nsbox.UnsupportedError, match="cannot be read"):
        Hierarchy.read(str(tmp_path / "nothing"))


def test_settings() -> None:
    """The files, and the values that the kernel expects in them (cgroups(7))."""
    limits = nsbox.Limits(memory=5000, pids=3, cpu=0.25)
    assert settings(limits) == [
        ("memory.max", "5000", False), ("memory.swap.max", "0", True), ("pids.max", "3", False),
        ("cpu.max", "25000 100000", False),
    ]  # fmt: skip
    assert settings(nsbox.Limits()) == []
