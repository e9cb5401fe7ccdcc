"""How a program of a submission has ended, as data: `Attempt`."""

from __future__ import annotations

from dataclasses import dataclass

from nsbox.start.verdict import Verdict

__all__ = ["Attempt", "judged"]

_MEMORY_MESSAGES = ("MemoryError", "bad_alloc", "Cannot allocate memory", "out of memory", "memory exhausted")
"""What runtimes, the C library and shells write when an allocation is refused (ENOMEM)."""
_PROCESS_MESSAGES = ("Resource temporarily unavailable", "Cannot fork", "can't start new thread")
"""What they write when fork(2) is refused (EAGAIN)."""
_NEAR = 0.9
"""The part of a limit from which it counts as reached."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Attempt:
    """What a program of a submission did. A timeout or a limit is a verdict here, and no exception.

    Attributes:
        args: The program and its arguments.
        verdict: How it has ended: OK, ERROR, TIMEOUT, KILLED, CPU, OUTPUT, OOM or PIDS.
        why: What the verdict is concluded from.
        returncode: Its exit status, negative for a signal; None after a timeout, or too much output.
        stdout: Its standard output, up to the limit. It can contain control characters.
        stderr: Its standard error, up to the limit.
        seconds: How long it took.
        cpu_seconds: The CPU time of it and its reaped children; None if it was killed.
        peak_bytes: The memory of the largest of these processes; None if it was killed.
        left: The number of processes that it has left running.
    """

    args: tuple[str, ...]
    verdict: Verdict
    why: str
    returncode: int | None = None
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    left: int = 0

    @property
    def ok(self) -> bool:
        """Whether it has exited with status 0."""
        return self.verdict is Verdict.OK

    def to_dict(self) -> dict[str, object]:
        """Return it as data for JSON, without the output itself."""
        return {
            "args": list(self.args),
            "verdict": self.verdict.name,
            "why": self.why,
            "returncode": self.returncode,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": None if self.cpu_seconds is None else round(self.cpu_seconds, 3),
            "peak_bytes": self.peak_bytes,
            "output_bytes": len(self.stdout.encode(errors="replace")) + len(self.stderr.encode(errors="replace")),
            "left": self.left,
        }

    def __str__(self) -> str:
        """Return the command and the verdict in one line."""
        left = f", {self.left} processes left" if self.left else ""
        return f"{' '.join(self.args)}: {self.verdict} after {self.seconds:.1f} s ({self.why}{left})"

    def __repr__(self) -> str:
        """Return the same in angle brackets, as a failed assertion shows it."""
        return f"<{self}>"


def judged(
    verdict: Verdict, why: str, stderr: str, peak_bytes: int | None, left: int, memory: int, processes: int
) -> tuple[Verdict, str]:
    """Return the verdict of a program that failed, if a limit is the likely reason.

    Nothing in the kernel counts refused allocations of a process. So the conclusion is drawn from what is known, and
    `why` says from what. A program can only make its own failure look like another failure.
    """
    if verdict not in (Verdict.ERROR, Verdict.KILLED):
        return verdict, why
    if left >= processes * _NEAR:
        return Verdict.PIDS, f"{why}, and {left} processes were left, with a limit of {processes}"
    if peak_bytes is not None and peak_bytes >= memory * _NEAR:
        return Verdict.OOM, f"{why}, with {peak_bytes >> 20} MiB in use, and a limit of {memory >> 20} MiB"
    for messages, limited, limit in (
        (_MEMORY_MESSAGES, Verdict.OOM, f"{memory >> 20} MiB of memory"),
        (_PROCESS_MESSAGES, Verdict.PIDS, f"{processes} processes"),
    ):
        if found := next((message for message in messages if message in stderr), None):
            return limited, f"{why}, and it has written {found!r}, with a limit of {limit}"
    return verdict, why
