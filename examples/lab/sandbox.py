"""Run a submission in a `Sandbox`, from which it cannot change the machine or other submissions."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nsbox

__all__ = ["Sandbox"]

STEP_SECONDS = 3.0
"""The timeout of a line of a submission."""
SUBMISSION_SECONDS = 60.0
"""The time for all lines of a submission. Then its box is closed, whatever its shell does."""
PID_MAX = 400
"""The pid_max of a sandbox; it stops fork bombs (since Linux 6.14; on older kernels they are stopped later)."""
FEW_PROCESSES, MAX_PROCESSES = 5, 60
"""A shell in new namespaces needs at most the first number. A submission with more than the second is stopped."""
UNPRIVILEGED = 2_000_000_000
"""The user id outside for root of a sandbox, if the grader is root. This user owns no files."""

ENTER = "exec {become}unshare --user --map-root-user --mount bash --norc --noprofile --noediting -i"
"""The first line that is typed. In a nested user namespace, the mounts that hide directories cannot be unmounted."""
BECOME = "setpriv --reuid 0 --regid 0 --clear-groups "
"""Before this, the shell has the user id of the grader. It is not mapped in the box, but owns files of the machine."""


class Sandbox:
    """A shell in new namespaces, for the lines of one submission.

    In its box, every directory in which the grader could write is hidden (mount_namespaces(7)). Root of the box is a
    user without files outside. If the grader is not root, this is the user id of the grader itself, and only the
    hidden directories protect its files.

    Attributes:
        box: The box.
        shell: The first shell. Its PID stays the same when other shells are started from it.
        problem: Why the submission was stopped early; empty if it was not.
    """

    def __init__(self, hidden: Iterable[Path]) -> None:
        """Start the box and the shell.

        Args:
            hidden: Further directories that are empty for the submission.
        """
        self.problem = ""
        privileged = os.geteuid() == 0
        options: dict[str, Any] = {"mount_proc": True, "hostname": "lab"}
        if _kernel() >= (6, 14):
            options["pid_max"] = PID_MAX
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
            raise RuntimeError(f"the shell for submissions must have user id {outside} outside, but has {uids}")

    def type(self, lines: Iterable[str]) -> None:
        """Type the lines of a submission; stop when its shell has exited."""
        with self._time_limit():
            for line in lines:
                try:
                    self.shell.run(line)
                except subprocess.TimeoutExpired:
                    self.problem = self.problem or f"timeout of {line!r} after {STEP_SECONDS:g} seconds"
                except nsbox.ClosedError:
                    self.problem = self.problem or f"the shell had exited before {line!r}"
                self._stop_fork_bomb()
                if not self.shell.alive or not self.box.alive:
                    self.problem = self.problem or f"the shell exited after {line!r}"
                    return
        # A fork bomb in the last line may have only started to grow.
        if len(self.processes()) > FEW_PROCESSES:
            time.sleep(0.5)
            self._stop_fork_bomb()

    @contextlib.contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Kill everything in the box when the time for the submission is over."""

        def end() -> None:
            self.problem = f"timeout of the submission after {SUBMISSION_SECONDS:g} seconds"
            self.box.kill()

        timer = threading.Timer(SUBMISSION_SECONDS, end)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _stop_fork_bomb(self) -> None:
        if self._has_too_many_processes():
            self.problem = f"more than {MAX_PROCESSES} processes were started"
            self.box.close()

    def _has_too_many_processes(self) -> bool:
        """Return whether too many processes exist, or were orphaned and reaped: a fork bomb without free PIDs dies."""
        if not self.box.alive:
            return False
        reaped = sum(event.kind == "reaped" for event in self.box.events)
        return max(reaped, len(self.processes())) > MAX_PROCESSES

    def processes(self) -> list[nsbox.Process]:
        """Return the processes in the sandbox, without its nsbox-init."""
        found = _below(self.box.pid) if self.box.alive else []
        return [process for process in found if process.state != "Z" and process.pid != self.box.pid]

    def current_shell(self) -> nsbox.Process:
        """Return the shell that reads the terminal now. It can be a nested one.

        Raises:
            AssertionError: when there is none.
        """
        assert self.shell.alive, f"no shell is left: {self.problem}"
        pid = self.shell.run(":").pid
        shells = [process for process in _below(self.shell.pid) if process.pids[-1] == pid]
        assert shells, f"no process below the first shell has PID {pid} in its own PID namespace"
        return shells[-1]

    def is_new(self, process: nsbox.Process) -> bool:
        """Return whether a process is in a PID namespace that the submission made."""
        # It has one PID outside, one in the box, and one in each PID namespace that was made in the box.
        return len(process.pids) > len(self._first.pids)

    def mounts_changed(self) -> list[str]:
        """Return the mounts that were added or removed in the mount namespace of the first shell."""
        return sorted(self._mounts() ^ self.mounts)

    def _mounts(self) -> set[str]:
        return set(Path(f"/proc/{self.shell.pid}/mountinfo").read_text(errors="replace").splitlines())

    def close(self) -> None:
        """Kill all processes in the sandbox."""
        self._stack.close()


def _below(pid: int) -> list[nsbox.Process]:
    """Return a process and its descendants; children follow their parents."""
    nodes = nsbox.pstree(pid, threads=False).walk()
    return [node.process for node in nodes if node.process is not None]


def _outermost(directories: Iterable[Path]) -> Iterator[Path]:
    """Return the existing directories that are not below another one of them."""
    existing = {directory.resolve() for directory in directories if directory.is_dir()}
    for directory in sorted(existing):
        if directory != Path("/") and not existing.intersection(directory.parents):
            yield directory


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2])
