"""The shell that the steps of a transcript are typed into: `Session` and `check`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, Self, Unpack

from nsbox import Box, NsboxError, Shell, ShellResult
from nsbox.spec.kinds import Namespaces
from nsbox.spec.spec import Options
from nsbox.transcript.forms import Step, Transcript, read
from nsbox.transcript.match import check_masks, diff, matches

__all__ = ["Checked", "Session", "StepResult", "check"]

TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did.

    Attributes:
        step: The step.
        outcome: ``"passed"``, ``"failed"``, ``"skipped"``, or ``"not run"`` when the shell was no longer there.
        output: The lines that came out.
        status: The status of the command; None if it did not come to an end.
        pid: ``$$`` of the shell that it left behind: another one after a command such as ``unshare -mipf``.
        why: Why it failed; several lines.
        seconds: How long it took.
    """

    step: Step
    outcome: Literal["passed", "failed", "skipped", "not run"]
    output: tuple[str, ...] = ()
    status: int | None = None
    pid: int | None = None
    why: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return a line, and the reason below it."""
        mark = {"passed": "ok", "failed": "NOT", "skipped": "skip", "not run": "----"}[self.outcome]
        first, *more = self.step.command.split("\n")
        head = f"{mark:4} {self.step.line:4}  {first}{' ...' if more else ''}"
        return "\n".join([head, *(f"           {line}" for line in self.why.splitlines())])


@dataclass(frozen=True, slots=True)
class Checked:
    """A transcript that was run.

    Attributes:
        transcript: The transcript.
        results: What its steps did, in order.
    """

    transcript: Transcript
    results: tuple[StepResult, ...] = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether no step failed."""
        return all(result.outcome in ("passed", "skipped") for result in self.results)

    def __str__(self) -> str:
        """Return a line for each step, and the reason below those that failed."""
        count = sum(result.outcome == "passed" for result in self.results)
        lines = [f"{self.transcript.path}: {count} of {len(self.results)} steps as written"]
        return "\n".join([*lines, *map(str, self.results)])


class Session:
    """A shell in a box, in an empty directory of its own, for the steps of a transcript.

    The box has a mount namespace, so that no mount of a handout reaches the machine. When the session ends, so does
    all that was started in it. Without a PID namespace of its own, as by default, it sees the machine's processes,
    as the reader of a handout does; with one it is beyond escape.
    """

    def __init__(
        self,
        unshare: Namespaces = "mount",
        *,
        timeout: float = TIMEOUT,
        masks: Iterable[str] = (),
        commands_only: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Start the shell.

        Args:
            unshare: The new namespaces around everything; a mount namespace is always among them.
            timeout: Seconds a step may take, unless its file says otherwise.
            masks: Masks for all steps, besides those of the file.
            commands_only: Whether only the status of commands is looked at, not what came out.
            **options: Further options of `nsbox.Box`.

        Raises:
            SpecError: for arguments that make no sense.
            SpawnError: when the namespaces cannot be made.
        """
        self._timeout = timeout
        self._masks = check_masks(masks)
        self._commands_only = commands_only
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="nsbox-check-"))
            box = stack.enter_context(
                Box([unshare, "mount"] if isinstance(unshare, str | int) else [*unshare, "mount"], **options)
            )
            # What is written there goes with the box, even if nobody is left to remove it.
            box.mount("none", directory, "tmpfs", "nosuid,nodev")
            self._shell: Shell = stack.enter_context(
                box.shell(cwd=directory, env=_environment(directory), timeout=timeout)
            )
            self._stack = stack.pop_all()

    def run(self, step: Step) -> StepResult:
        """Type a command, and compare."""
        if step.skip:
            return StepResult(step, "skipped")
        if not self._shell.alive:
            return StepResult(step, "not run", why="the shell had ended before")
        step = replace(step, masks=(*step.masks, *(mask for mask in self._masks if mask not in step.masks)))
        limit = self._timeout if step.timeout is None else step.timeout
        begin = time.monotonic()
        try:
            result = self._shell.run(step.command, timeout=limit)
        except subprocess.TimeoutExpired as error:
            # An interrupted shell begins a new line by itself.
            lines = _lines(str(error.output or "").rstrip("\n"))
            why = "\n".join([f"not done after {limit:g} seconds; so far:", *lines])
            return StepResult(step, "failed", lines, why=why, seconds=time.monotonic() - begin)
        except NsboxError as error:
            return StepResult(step, "not run", why=str(error))
        lines = _lines(_without_farewell(step.command, result))
        why = self._complaint(step, result, lines)
        return StepResult(
            step, "failed" if why else "passed", lines, result.returncode, result.pid, why, time.monotonic() - begin
        )

    def _complaint(self, step: Step, result: ShellResult, lines: tuple[str, ...]) -> str:
        found: list[str] = []
        compared = step.expected is not None and not self._commands_only
        if compared and not matches(step.expected or (), lines, step.masks):
            found.append(diff(step.expected or (), lines, step.masks))
        # The status of a nested shell is that of the last command typed into it.
        if result.returncode != step.status and not _leaves(step.command):
            shown = [] if compared else lines
            found.append("\n".join([f"ended with status {result.returncode}, not {step.status}", *shown]))
        if found and result.explanation:
            found.append(result.explanation)
        return "\n".join(found)

    def close(self) -> None:
        """End the shell and all that was started from it, and remove its directory."""
        self._stack.close()

    def __enter__(self) -> Self:
        """Return the session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def check(
    transcript: Transcript | str | os.PathLike[str],
    unshare: Namespaces = "mount",
    *,
    timeout: float = TIMEOUT,
    masks: Iterable[str] = (),
    commands_only: bool = False,
    **options: Unpack[Options],
) -> Checked:
    """Type the commands of a file into a new shell, one after the other, and compare what comes out.

    Args:
        transcript: The file, read already or not.
        unshare: As for `Session`, and so are the others.
        timeout: Seconds a step may take.
        masks: Masks for all steps.
        commands_only: Whether only the status of commands is looked at.
        **options: Further options of `nsbox.Box`.

    Raises:
        SpecError: for arguments and files that make no sense.
        SpawnError: when the namespaces cannot be made.
        OSError: when the file cannot be read.
    """
    if not isinstance(transcript, Transcript):
        transcript = read(transcript)
    with Session(unshare, timeout=timeout, masks=masks, commands_only=commands_only, **options) as session:
        return Checked(transcript, tuple(map(session.run, transcript.steps)))


def _environment(directory: str) -> dict[str, str]:
    """Return the caller's environment, but with one language, time zone and width, and no start-up files."""
    return os.environ | {
        "HOME": directory,
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "",
        "TZ": "UTC",
        "COLUMNS": "80",
        "CDPATH": "",
    }


def _lines(output: str) -> tuple[str, ...]:
    return tuple(output.removesuffix("\n").split("\n")) if output else ()


def _leaves(command: str) -> bool:
    return command.split()[:1] in (["exit"], ["logout"])


def _without_farewell(command: str, result: ShellResult) -> str:
    """Return the output, without the word that an interactive shell says when it is left."""
    if _leaves(command):
        return result.stdout.removesuffix("exit\n").removesuffix("logout\n")
    return result.stdout
