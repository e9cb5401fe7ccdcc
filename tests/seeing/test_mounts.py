"""Mounts, compared with findmnt(8), and the PID namespace that a proc shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import nsbox
import pytest

from tests.support.forked import Who

COLUMNS = "ID,PARENT,MAJ:MIN,FSROOT,TARGET,VFS-OPTIONS,FSTYPE,SOURCE"


@pytest.mark.skipif(shutil.which("findmnt") is None, reason="findmnt is not installed (Debian package util-linux)")
def test_the_same_as_findmnt(who: Who) -> None:
    def act() -> tuple[nsbox.MountTable, str]:
        with nsbox.Shell("m") as shell:
            shell.run(
                "mount -t tmpfs 'odd source' /mnt && mkdir '/mnt/a b' '/mnt/c\\d' && mount --make-shared /mnt && "
                "mount --bind '/mnt/a b' '/mnt/c\\d' && mount -t tmpfs -o ro,noexec x '/mnt/a b'",
                check=True,
            )
            command = ["findmnt", "--json", "--list", "-N", str(shell.pid), "-o", COLUMNS]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            return nsbox.mounts(shell), text

    table, text = who(act)
    expected = json.loads(text)["filesystems"]
    assert [(m.id, m.parent, "{}:{}".format(*m.device), m.point, m.fstype) for m in table] == [
        (int(row["id"]), int(row["parent"]), row["maj:min"], row["target"], row["fstype"]) for row in expected
    ]
    assert [m.root for m in table] == [row["fsroot"] for row in expected]
    assert [set(m.options) for m in table] == [set(row["vfs-options"].split(",")) for row in expected]
    hidden = table.at("/mnt/a b")
    assert hidden is not None
    assert {"ro", "noexec"} <= set(hidden.options)
    shared = table.at("/mnt")
    assert shared is not None
    assert shared.source == "odd source"
    assert [field.split(":")[0] for field in shared.propagation] == ["shared"]
    assert "/mnt/c\\d" in str(table)
    assert repr(table) == f"<table of {len(table)} mounts>"


def test_the_namespace_of_a_proc(who: Who) -> None:
    """The lesson of the exercise: before the mount a process in its own PID namespace sees the host's proc."""

    def act() -> tuple[Any, ...]:
        with nsbox.Shell("mip") as shell:
            outer, inner = nsbox.namespaces_of(os.getpid()).pid, nsbox.namespaces_of(shell.pid).pid
            before = nsbox.mounts(shell).at("/proc")
            shell.run("mount -t proc none /proc", check=True)
            after = [mount.pid_namespace for mount in nsbox.mounts(shell) if mount.point == "/proc"]
            return outer, inner, before, after, nsbox.mounts().at("/proc")

    outer, inner, before, after, own = who(act)
    assert outer != inner
    assert own.pid_namespace == outer
    assert before.pid_namespace == outer
    # The proc that is hidden under the new one cannot be opened.
    assert after[-1] == inner
    assert set(after[:-1]) <= {None}


def test_processes_without_mounts() -> None:
    with pytest.raises(ProcessLookupError):
        nsbox.mounts(999_999_999)
    with pytest.raises(nsbox.SpecError, match="of: expected a PID"):
        nsbox.mounts("1")  # type: ignore[arg-type]
