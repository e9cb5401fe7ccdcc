"""Where a submission runs: `Arena`. It can stop and touch nothing but itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nsbox

__all__ = ["Arena"]

STEP_SECONDS = 3.0
"""How long a line of a submission may take."""
PIDS = 400
"""One more than the highest PID of an arena: the end of every fork bomb (Linux 6.14; before, it is only ended late)."""
FEW, CROWD = 5, 60
"""So many processes need a shell in new namespaces; and more than so many are no honest attempt."""
UNPRIVILEGED = 2_000_000_000
"""A user id outside that owns nothing: what root of an arena is there, where the grader may choose."""

ENTER = "exec {become}unshare --user --map-root-user --mount bash --norc --noprofile --noediting -i"
"""The first line that is typed. In a further user namespace nothing can be unmounted that hides something."""
BECOME = "setpriv --reuid 0 --regid 0 --clear-groups "
"""So far the shell has the user id of the grader, which has no number in the box, but owns the machine's files."""


class Arena:
    """A shell in namespaces of its own, for the lines of one submission.

    In its box every directory in which the grader could write is hidden (mount_namespaces(7)), and root of the box is
    nobody outside. A grader without privileges cannot choose another user id than its own for that; then it is the
    hiding that protects its files.

    Attributes:
        box: The box.
        shell: The shell; its own PID stays, whatever is started from it.
        problem: What the submission did that ended it early; empty if nothing.
    """

    def __init__(self, hidden: Iterable[Path]) -> None:
        """Make it.

        Args:
            hidden: Directories that the submission sees empty, besides the usual ones.
        """
        self.problem = ""
        privileged = os.geteuid() == 0
        options: dict[str, Any] = {"mount_proc": True, "hostname": "lab"}
        if _kernel() >= (6, 14):
            options["pid_max"] = PIDS
        if privileged:
            ids = [(0, UNPRIVILEGED, 1)]
            options |= {"map_users": ids, "map_groups": ids, "keep_caps": True}
        environment = {"PATH": os.defpath, "HOME": "/tmp", "SHELL": "/bin/bash", "LC_ALL": "C.UTF-8"}
        with contextlib.ExitStack() as stack:
            self.box = stack.enter_context(nsbox.Box("user mount pid ipc uts net", **options))
            for directory in _outermost([Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home(), *hidden]):
                self.box.mount("none", directory, "tmpfs", "nosuid,nodev")
            self.shell = stack.enter_context(
                self.box.shell("/bin/bash", cwd="/tmp", env=environment, timeout=STEP_SECONDS)
            )
            self.shell.run(ENTER.format(become=BECOME if privileged else ""), timeout=20)
            self._check_user(UNPRIVILEGED if privileged else os.geteuid())
            self._first = nsbox.ps(pids=[self.shell.pid])[0]
            self.mounts = self._mounts()
            self._stack = stack.pop_all()

    def _check_user(self, outside: int) -> None:
        found = Path(f"/proc/{self.shell.pid}/status").read_text(encoding="ascii", errors="replace")
        uids = next(line.split()[1:] for line in found.splitlines() if line.startswith("Uid:"))
        if set(uids) != {str(outside)}:
            raise RuntimeError(f"the shell for submissions should be user {outside} outside, and is {uids}")

    def type(self, lines: Iterable[str]) -> None:
        """Type the lines of a submission; stop when it cannot go on."""
        for line in lines:
            try:
                self.shell.run(line)
            except subprocess.TimeoutExpired:
                self.problem = self.problem or f"{line!r} was not done after {STEP_SECONDS:g} seconds"
            except nsbox.ClosedError:
                self.problem = self.problem or f"the shell had ended before {line!r}"
            self._disperse()
            if not self.shell.alive or not self.box.alive:
                self.problem = self.problem or f"{line!r} has ended the shell"
                return
        # What the last line has started may only just have begun to grow.
        if len(self.processes()) > FEW:
            time.sleep(0.5)
            self._disperse()

    def _disperse(self) -> None:
        if self._crowded():
            self.problem = f"more than {CROWD} processes were started"
            self.box.close()

    def _crowded(self) -> bool:
        """Tell whether too many live, or have been orphaned and died: a bomb that found no more PIDs burns out."""
        if not self.box.alive:
            return False
        reaped = sum(event.kind == "reaped" for event in self.box.events)
        return max(reaped, len(self.processes())) > CROWD

    def processes(self) -> list[nsbox.Process]:
        """Return what lives in the arena, besides its nsbox-init."""
        found = _below(self.box.pid) if self.box.alive else []
        return [process for process in found if process.state != "Z" and process.pid != self.box.pid]

    def answering(self) -> nsbox.Process:
        """Return the shell that answers at the terminal now: a nested one, perhaps.

        Raises:
            AssertionError: when none does.
        """
        assert self.shell.alive, f"no shell answers any more: {self.problem}"
        number = self.shell.run(":").pid
        shells = [process for process in _below(self.shell.pid) if process.pids[-1] == number]
        assert shells, f"no process below the first shell is number {number} in its own PID namespace"
        return shells[-1]

    def is_new(self, process: nsbox.Process) -> bool:
        """Tell whether a process lives in a PID namespace that was made in the arena."""
        # One number outside, one in the box, and one in each that was made in it.
        return len(process.pids) > len(self._first.pids)

    def mounts_changed(self) -> list[str]:
        """Return what was mounted or unmounted around the first shell."""
        return sorted(self._mounts() ^ self.mounts)

    def _mounts(self) -> set[str]:
        return set(Path(f"/proc/{self.shell.pid}/mountinfo").read_text(errors="replace").splitlines())

    def close(self) -> None:
        """End everything in it."""
        self._stack.close()


def _below(pid: int) -> list[nsbox.Process]:
    """Return a process and its descendants, children behind their parents."""
    nodes = nsbox.pstree(pid, threads=False).walk()
    return [node.process for node in nodes if node.process is not None]


def _outermost(directories: Iterable[Path]) -> Iterator[Path]:
    """Return the directories that exist and are in no other one of them."""
    there = {directory.resolve() for directory in directories if directory.is_dir()}
    for directory in sorted(there):
        if directory != Path("/") and not there.intersection(directory.parents):
            yield directory


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2])
