"""Type the lines of a submission into a shell of its sandbox: `Typed`."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import nsbox
from nsbox.grading import Submission

__all__ = ["Typed"]

STEP_SECONDS = 3.0
"""The timeout of a line."""
ALL_SECONDS = 60.0
"""The time for all lines. Then the sandbox is ended, whatever its shell does."""
MAX_LINES = 100
FEW_PROCESSES, MAX_PROCESSES = 5, 60
"""A shell in new namespaces needs at most the first number. A submission with more than the second is stopped."""


class Typed:
    """A shell, and what a submission has made of it.

    Attributes:
        shell: The first shell. It stays when other shells are started from it.
        problem: Why the submission was stopped early; empty if it was not.
    """

    def __init__(self, submission: Submission) -> None:
        """Start the shell."""
        environment = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": "/tmp",
            "SHELL": "/bin/bash",
            "LC_ALL": "C.UTF-8",
        }
        self.problem = ""
        self._box = submission.box
        self._submission = submission
        self.shell = submission.box.shell("/bin/bash", cwd="/tmp", env=environment, timeout=STEP_SECONDS)
        self._first = nsbox.ps(pids=[self.shell.pid])[0]
        self._mounts = set(nsbox.mounts(self.shell.pid))

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the shell."""
        self.shell.__exit__(kind, value, trace)

    def type(self, lines: Iterable[str]) -> None:
        """Type the lines; stop when the shell has exited."""
        timer = threading.Timer(ALL_SECONDS, self._stop, [f"timeout of the submission after {ALL_SECONDS:g} seconds"])
        timer.start()
        try:
            for line in list(lines)[:MAX_LINES]:
                self._type(line)
                if not self.shell.alive or not self._box.alive:
                    self.problem = self.problem or f"the shell exited after {line!r}"
                    return
        finally:
            timer.cancel()
            timer.join()
        # A fork bomb in the last line may have only started to grow.
        if len(self._submission.processes()) > FEW_PROCESSES:
            time.sleep(0.5)
            self._stop_fork_bomb()

    def _type(self, line: str) -> None:
        try:
            self.shell.run(line, max_output=1 << 20)
        except subprocess.TimeoutExpired:
            self.problem = self.problem or f"timeout of {line!r} after {STEP_SECONDS:g} seconds"
        except nsbox.OutputLimitError:
            self.problem = self.problem or f"too much output of {line!r}"
        except (nsbox.ClosedError, nsbox.SpecError) as error:
            self.problem = self.problem or f"{line!r}: {error}"
        self._stop_fork_bomb()

    def _stop_fork_bomb(self) -> None:
        # One that is out of PIDs dies at once, so those that were orphaned and reaped count, too.
        if not self._box.alive:
            return
        reaped = sum(event.kind == "reaped" for event in self._box.events)
        if max(reaped, len(self._submission.processes())) > MAX_PROCESSES:
            self._stop(f"more than {MAX_PROCESSES} processes were started")

    def _stop(self, problem: str) -> None:
        self.problem = problem
        self._box.kill()

    def current_shell(self) -> nsbox.Process:
        """Return the shell that reads the terminal now. It can be a nested one.

        Raises:
            AssertionError: when there is none.
        """
        assert self.shell.alive, f"no shell is left: {self.problem}"
        pid = self.shell.run(":").pid
        shells = [process for process in self._below() if process.pids[-1] == pid]
        assert shells, f"no process below the first shell has PID {pid} in its own PID namespace"
        return shells[-1]

    def _below(self) -> list[nsbox.Process]:
        """Return the first shell and its descendants; children follow their parents."""
        nodes = nsbox.pstree(self.shell.pid, threads=False).walk()
        return [node.process for node in nodes if node.process is not None]

    def strays(self) -> list[str]:
        """Return the commands of processes outside of new PID namespaces that are not of the session of the shell."""
        # A process has one PID for each PID namespace around it.
        own = len(self._first.pids)
        found = self._submission.processes()
        return [one.command for one in found if one.sid != self.shell.pid and len(one.pids) == own]

    def mounts_changed(self) -> list[str]:
        """Return the mounts that were added or removed where the first shell is."""
        changed = set(nsbox.mounts(self.shell.pid)) ^ self._mounts
        return sorted(f"{mount.fstype} on {mount.point}" for mount in changed)
