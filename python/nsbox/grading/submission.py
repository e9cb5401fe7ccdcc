"""A submission in its sandbox: `Submission`."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nsbox.box.box import Box
from nsbox.box.popen import BoxPopen
from nsbox.errors import ClosedError
from nsbox.grading.attempt import Attempt, judged
from nsbox.grading.sandbox import WORK, SandboxLimits, environment, open_sandbox
from nsbox.grading.text import one_line, plain, shortened
from nsbox.records.processes import Process
from nsbox.seeing.mounts import mounts
from nsbox.seeing.tree import pstree
from nsbox.start.output import OutputLimitError
from nsbox.start.verdict import Verdict

__all__ = ["Submission", "opened"]

_EVIDENCE_CHARACTERS = 6000
_MAX_LISTED_MOUNTS = 20


@dataclass(eq=False, kw_only=True)
class Submission:
    """A submission, and the sandbox in which its programs run.

    Attributes:
        name: Its name: that of its file or directory.
        source: The directory of the grader with a copy of its files. Only directories and regular files are in it.
        left_out: What was handed in and not copied, such as links.
        limits: The limits of the sandbox.
        seed: A number that stays the same for this submission.
        box: The box in which its programs run.
        outer: The box around that one, if programs may make namespaces; else the same.
        attempts: What its programs did.
    """

    name: str
    source: Path
    left_out: Sequence[str]
    limits: SandboxLimits
    seed: int
    box: Box
    outer: Box
    attempts: list[Attempt] = field(default_factory=list)
    _mounts: frozenset[tuple[str, str]] = frozenset()

    def run(
        self,
        args: Sequence[str],
        *,
        input: str | None = None,
        seconds: float | None = None,
        output: int | None = None,
        cwd: str = WORK,
        env: dict[str, str] | None = None,
    ) -> Attempt:
        """Run a program of the submission and return how it has ended, also after a timeout and at a limit.

        Args:
            args: The program and its arguments. A relative path is below its files.
            input: Text for its standard input; by default there is none.
            seconds: The time for it; by default that of the limits.
            output: How many bytes it may write into each stream; by default that of the limits.
            cwd: Its working directory.
            env: Variables for its environment, which is otherwise the same for all submissions.

        Raises:
            ClosedError: when the sandbox has ended.
        """
        begin = time.monotonic()
        options: dict[str, Any] = {
            "capture_output": True, "cwd": cwd, "env": environment(self.seed) | (env or {}),
            "timeout": self.limits.seconds if seconds is None else seconds,
            "max_output": self.limits.output if output is None else output,
        }  # fmt: skip
        options |= {"stdin": subprocess.DEVNULL} if input is None else {"input": input.encode()}
        cpu: float | None = None
        peak: int | None = None
        code: int | None = None
        try:
            done = self.box.run(list(args), **options)
        except subprocess.TimeoutExpired as error:
            streams, verdict, why = (error.output, error.stderr), Verdict.TIMEOUT, f"timeout of {error.timeout:g} s"
        except OutputLimitError as error:
            streams, verdict, why = (error.output, error.stderr), Verdict.OUTPUT, f"more than {error.limit} bytes"
        except (FileNotFoundError, PermissionError) as error:
            streams, verdict, why = (b"", b""), Verdict.ERROR, f"{args[0]}: {error.strerror}"
        else:
            streams, verdict, why, code = (done.stdout, done.stderr), done.verdict, done.why, done.returncode
            if (used := done.rusage) is not None:
                cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss << 10
        stdout, stderr = ((stream or b"").decode(errors="replace") for stream in streams)
        left = len(self.processes())
        verdict, why = judged(verdict, why, stderr, peak, left, self.limits.memory, self.limits.processes)
        attempt = Attempt(
            args=tuple(args), verdict=verdict, why=why, returncode=code, stdout=stdout, stderr=stderr,
            seconds=time.monotonic() - begin, cpu_seconds=cpu, peak_bytes=peak, left=left,
        )  # fmt: skip
        self.attempts.append(attempt)
        return attempt

    def start(self, args: Sequence[str], *, cwd: str = WORK, env: dict[str, str] | None = None) -> BoxPopen:
        """Start a program of the submission, for a look at the state of the kernel while it runs.

        Its output is discarded. It ends with the sandbox at the latest.

        Raises:
            FileNotFoundError: when there is no such program.
            ClosedError: when the sandbox has ended.
        """
        null = subprocess.DEVNULL
        whole = environment(self.seed) | (env or {})
        return self.box.Popen(list(args), stdin=null, stdout=null, stderr=null, cwd=cwd, env=whole)

    def processes(self) -> list[Process]:
        """Return the living processes in the sandbox, with their PIDs as the caller sees them, without nsbox-init."""
        if not self.box.alive or not self.outer.alive:
            return []
        nodes = pstree(self.outer.pid, threads=False).walk()
        found = [node.process for node in nodes if node.process is not None and node.process.pid != self.outer.pid]
        if self.outer is not self.box:
            # Children of the outer nsbox-init are those of the boxes inside; orphans there are not adopted by it.
            found = [process for process in found if process.ppid != self.outer.pid]
        return [process for process in found if process.state not in "ZX"]

    def find(self, *arguments: str, seconds: float | None = None) -> Process:
        """Wait for a process with this command line, and return it. Of several the innermost is returned.

        Args:
            *arguments: The program and its arguments (proc_pid_cmdline(5)). The grader chooses them.
            seconds: The time to wait; by default that of the limits.

        Raises:
            AssertionError: when there is no such process, with those that there are.
        """
        __tracebackhide__ = True
        wanted = [argument.encode() for argument in arguments]
        deadline = time.monotonic() + (self.limits.seconds if seconds is None else seconds)
        while True:
            found = self.processes()
            for process in reversed(found):
                if list(process.cmdline) == wanted:
                    return process
            if time.monotonic() > deadline or not self.box.alive:
                seen = "; ".join(one_line(process.command) for process in found) or "none"
                raise AssertionError(f"no process {' '.join(arguments)} was started\n    processes: {seen}")
            time.sleep(0.02)

    def read(self, path: str, *, max_bytes: int = 1 << 20) -> str:
        """Return a file of the sandbox as text. No link leads out of it, and no FIFO makes this wait.

        Args:
            path: Its path; relative to the files of the submission.
            max_bytes: The largest size.

        Raises:
            OSError: when there is no such file, or when it is larger.
        """
        with self.box.open(path if path.startswith("/") else f"{WORK}/{path}", max_bytes=max_bytes) as file:
            return bytes(file.read()).decode(errors="replace")

    def mounts_added(self) -> list[str]:
        """Return the mounts that were made in the sandbox itself, each as ``TYPE on PLACE``."""
        added = self._mount_pairs() - self._mounts
        return sorted(f"{fstype} on {point}" for point, fstype in added)

    def _mount_pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset((mount.point, mount.fstype) for mount in mounts(self.box))

    def evidence(self) -> str:
        """Return what there is to see now: the programs that ran, the tree of processes, and new mounts."""
        lines = [str(attempt) for attempt in self.attempts[-5:]]
        lines += [f"not copied: {one_line(path)}" for path in self.left_out[:5]]
        if self.box.alive and self.outer.alive:
            with contextlib.suppress(OSError, ClosedError, AssertionError):
                lines.append(str(pstree(self.outer.pid, threads=False)))
                lines += [f"mounted: {mount}" for mount in self.mounts_added()[:_MAX_LISTED_MOUNTS]]
        else:
            lines.append("the sandbox has ended: its PID 1 was killed")
        return shortened(plain("\n".join(lines)), _EVIDENCE_CHARACTERS)


@contextlib.contextmanager
def opened(
    name: str,
    source: Path,
    left_out: Sequence[str],
    hidden: Sequence[Path],
    seed: int,
    limits: SandboxLimits,
    namespaces: bool = False,
    **options: Any,
) -> Iterator[Submission]:
    """Make a sandbox for a submission that was taken in, and end it with everything in it."""
    with open_sandbox(source, hidden, limits, namespaces, options) as (box, outer):
        submission = Submission(
            name=name, source=source, left_out=left_out, limits=limits, seed=seed, box=box, outer=outer
        )
        submission._mounts = submission._mount_pairs()
        yield submission
