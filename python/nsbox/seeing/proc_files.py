"""The files of one process in /proc."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from nsbox.errors import ProcessEndedError
from nsbox.records.names import safe
from nsbox.records.status import fields_of, pids_of
from nsbox.seeing.proc import as_box, read_from
from nsbox.seeing.target import Target, pid_of
from nsbox.spec.kinds import KINDS

__all__ = ["ProcFiles"]


class ProcFiles:
    """The files of a process in /proc, each read when it is used; `str()` names the process.

    Attributes:
        is_box: Whether the target is a box, and the process its nsbox-init.
    """

    def __init__(self, target: Target) -> None:
        """Read nothing yet.

        Raises:
            SpecError: when the target is no process, or one that the caller cannot find.
            AssertionError: when it has ended.
        """
        self._box = as_box(target)
        self.is_box = self._box is not None
        self._target = target
        if not self.is_box:
            self._find()

    def _find(self) -> int:
        try:
            return self.pid
        except ProcessEndedError as error:
            raise AssertionError(str(error)) from None

    @functools.cached_property
    def pid(self) -> int:
        """The PID of the process in the caller's /proc."""
        return pid_of(self._target, "target")

    def read(self, name: str) -> bytes:
        """Return the contents of a file of the process, from the caller's /proc; for a box, from nsbox-init's own."""
        if self._box is not None:
            # An ordinary user may not trace nsbox-init, and so cannot read these files from outside (ptrace(2)).
            with self._box._open_own(f"self/{name}") as file:
                return bytes(file.read())
        try:
            return Path(f"/proc/{self.pid}/{name}").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            raise AssertionError(f"process {self.pid} has ended") from None

    def namespace(self, kind: str) -> int:
        """Return the inode number of a namespace (namespaces(7))."""
        link = f"ns/{KINDS[kind].link}"
        if self._box is not None:
            with self._box._open_own(f"self/{link}", link=True) as file:
                return os.fstat(file.fileno()).st_ino
        try:
            return os.stat(f"/proc/{self.pid}/{link}").st_ino
        except (FileNotFoundError, ProcessLookupError):
            raise AssertionError(f"process {self.pid} has ended") from None

    def status(self) -> dict[str, str]:
        """Return the fields of its status (proc_pid_status(5))."""
        return fields_of(self.read("status"))

    def numbers(self) -> list[int]:
        """Return its PIDs, from the PID namespace of the proc that was read inwards."""
        return pids_of(self.status())

    @property
    def comm(self) -> str:
        """Its name (proc_pid_comm(5))."""
        return self.read("comm").decode(errors="surrogateescape").removesuffix("\n")

    def __str__(self) -> str:
        """Name it: its PID and its name."""
        return "the box" if self._box is not None else f"process {self.pid} ({safe(self.comm)})"

    def seen_by_its_own_proc(self) -> list[int]:
        """Return its PIDs as the proc on its /proc shows them; none if no proc is there, or one that does not show it.

        Programs choose what is mounted there. So only a proc of the kernel counts, and in it no file that is mounted
        over another one.
        """
        if self._box is not None:
            return self._box._pids_in_its_proc()
        from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

        numbers, namespace = self.numbers(), self.namespace("pid")
        try:
            proc = _core.open_proc(b"/proc").seen_by(self.pid, b"/proc")
            found, _ = read_from(proc, ["status", "namespaces"], sorted(set(numbers)))
        except OSError:
            return []
        # Other processes may have these numbers there.
        ours = (one for one in found if one.pids[-1] == numbers[-1] and one.namespaces.pid == namespace)
        return next((list(one.pids) for one in ours), [])
