"""Fabricated /proc directories: the files that nsbox, and the real pstree, read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

__all__ = ["LINKS", "FakeProc", "FakeProcess", "stat"]

LINKS = ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time")
"""The links in /proc/PID/ns in the order of nsbox's table of kinds."""


@dataclass(frozen=True, kw_only=True)
class FakeProcess:
    """A process for a fabricated /proc; namespaces are small numbers that stand for real inodes."""

    pid: int
    ppid: int = 0
    comm: bytes = b"name"
    state: str = "S"
    pgid: int = 1
    uid: int = 0
    cmdline: tuple[bytes, ...] = (b"name",)
    namespaces: Mapping[str, int] = field(default_factory=dict)
    threads: tuple[tuple[int, bytes], ...] = ()
    pids: tuple[int, ...] = ()
    start_ticks: int = 500
    label: bytes = b""


def stat(process: FakeProcess) -> bytes:
    """Return the /proc/PID/stat of a process (proc_pid_stat(5))."""
    threads = 1 + len(process.threads)
    head = b"%d (%b) %b " % (process.pid, process.comm, process.state.encode())
    ids = f"{process.ppid} {process.pgid} {process.pgid} 0 -1 0 "
    return head + f"{ids}1 2 3 4 150 50 0 0 20 0 {threads} 0 {process.start_ticks} 4096 3 184 0\n".encode()


class FakeProc:
    """A directory like /proc. The links in `ns` lead to real files, for programs that follow them."""

    def __init__(self, place: Path) -> None:
        """Create it in an empty directory."""
        self.path = place / "proc"
        self._pool = place / "namespaces"
        self.path.mkdir()
        self._pool.mkdir()
        (self.path / "uptime").write_text("1000.00 900.00\n")

    def inode(self, number: int) -> int:
        """Return the inode that a namespace number stands for."""
        file = self._pool / str(number)
        file.touch()
        return file.stat().st_ino

    def add(self, process: FakeProcess) -> Path:
        """Add a process and its threads; return its directory."""
        directory = self.path / str(process.pid)
        self._task(directory, process, process.comm)
        self._task(directory / "task" / str(process.pid), process, process.comm)
        for tid, comm in process.threads:
            self._task(directory / "task" / str(tid), process, comm)
        return directory

    def _task(self, directory: Path, process: FakeProcess, comm: bytes) -> None:
        (directory / "ns").mkdir(parents=True)
        (directory / "stat").write_bytes(stat(replace(process, comm=comm)))
        (directory / "comm").write_bytes(comm + b"\n")
        (directory / "cmdline").write_bytes(b"".join(word + b"\0" for word in process.cmdline))
        uids, pids = "\t".join([str(process.uid)] * 4), "\t".join(map(str, process.pids or (process.pid,)))
        (directory / "status").write_text(f"Name:\tx\nUid:\t{uids}\nNSpid:\t{pids}\nNSpgid:\t1\n")
        if process.label:
            (directory / "attr").mkdir()
            (directory / "attr" / "current").write_bytes(process.label)
        for link, number in process.namespaces.items():
            target = f"{link}:[{self.inode(number)}]"
            os.link(self._pool / str(number), directory / "ns" / target)
            (directory / "ns" / link).symlink_to(target)
        if os.geteuid() == 0:
            os.chown(directory, process.uid, 0)
