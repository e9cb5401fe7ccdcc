"""Files of one process in /proc, read when they are asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, TypeAlias

from nsbox import Box, SpecError
from nsbox.spec.kinds import KINDS

__all__ = ["Target"]


class _HasPid(Protocol):
    @property
    def pid(self) -> int: ...


Target: TypeAlias = "int | _HasPid"
"""A process: its PID as the caller sees it, or anything with a ``pid``, such as a `Shell`, `Popen`, `Process` or `Box`.
The process of a box is its nsbox-init."""


class _View:
    """What is known of a process, read only when it is asked for."""

    def __init__(self, target: Target) -> None:
        self._box = target if isinstance(target, Box) else None
        self.pid = target if isinstance(target, int) else target.pid
        if not isinstance(self.pid, int) or self.pid <= 0:
            raise SpecError(f"target: {target!r} is no process")

    def read(self, name: str) -> bytes:
        """Return a file of the process in /proc, as the caller's /proc has it, or for a box as its own has it."""
        if self._box is not None:
            # nsbox-init cannot be traced, so that its files are its own.
            with self._box.open(f"/proc/self/{name}") as file:
                return bytes(file.read())
        try:
            return Path(f"/proc/{self.pid}/{name}").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            raise AssertionError(f"process {self.pid} has ended") from None

    def namespace(self, kind: str) -> int:
        """Return the inode number of a namespace (namespaces(7))."""
        link = f"ns/{KINDS[kind].link}"
        if self._box is not None:
            with self._box.open(f"/proc/self/{link}") as file:
                return os.fstat(file.fileno()).st_ino
        try:
            return os.stat(f"/proc/{self.pid}/{link}").st_ino
        except (FileNotFoundError, ProcessLookupError):
            raise AssertionError(f"process {self.pid} has ended") from None

    def status(self, path: Path | None = None) -> dict[str, list[str]]:
        """Return the fields of its status (proc_pid_status(5)), read by this path."""
        text = (self.read("status") if path is None else path.read_bytes()).decode(errors="replace")
        return {name: rest.split() for name, _, rest in (line.partition(":") for line in text.splitlines())}

    def numbers(self) -> list[int]:
        """Return its PIDs, from the PID namespace of the proc that was read inwards."""
        return [int(pid) for pid in self.status()["NSpid"]]

    @property
    def comm(self) -> str:
        return self.read("comm").decode(errors="replace").rstrip("\n")

    def __str__(self) -> str:
        return "the box" if self._box is not None else f"process {self.pid} ({self.comm})"

    def seen_by_its_own_proc(self) -> list[int]:
        """Return its PIDs as the /proc that it has itself shows them; none if that shows no such process."""
        if self._box is not None:
            return self.numbers()
        there = Path(f"/proc/{self.pid}/root/proc/{self.numbers()[-1]}")
        try:
            status = self.status(there / "status")
            # Another process may have this number there.
            if os.stat(there / "ns/pid").st_ino != self.namespace("pid"):
                return []
        except (FileNotFoundError, ProcessLookupError, NotADirectoryError, PermissionError):
            return []
        return [int(pid) for pid in status["NSpid"]]
