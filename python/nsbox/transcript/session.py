"""The shell into which the commands of a transcript are typed: `Session` and `check`."""

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
from nsbox.records.names import safe_lines
from nsbox.spec.kinds import Namespaces
from nsbox.spec.spec import Options
from nsbox.transcript.forms import Step, Transcript, read
from nsbox.transcript.match import check_masks, diff, matches

__all__ = ["Checked", "CheckedStep", "Session", "check"]

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class CheckedStep:
    """A step that was run, and whether its output and exit status are the expected ones.

    Attributes:
        step: The step.
        outcome: ``"passed"``, ``"failed"``, ``"skipped"``, or ``"not run"`` when the shell had exited before.
        output: The lines of its output.
        status: The exit status of the command; None after a timeout.
        pid: ``$$`` of the shell that runs the next command: another one after a command such as ``unshare -mipf``.
        why: Why it failed; it can have several lines.
        seconds: Its duration.
    """

    step: Step
    outcome: Literal["passed", "failed", "skipped", "not run"]
    output: tuple[str, ...] = ()
    status: int | None = None
    pid: int | None = None
    why: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return a line, and the reason below it. Control characters of the output are escaped."""
        mark = {"passed": "ok", "failed": "FAIL", "skipped": "skip", "not run": "----"}[self.outcome]
        first, *more = self.step.command.split("\n")
        head = f"{mark:4} {self.step.line:4}  {first}{' ...' if more else ''}"
        return safe_lines("\n".join([head, *(f"           {line}" for line in self.why.split("\n") if self.why)]))


@dataclass(frozen=True, slots=True)
class Checked:
    """A transcript that was run.

    Attributes:
        transcript: The transcript.
        results: Its steps, in order.
    """

    transcript: Transcript
    results: tuple[CheckedStep, ...] = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether no step failed."""
        return all(result.outcome in ("passed", "skipped") for result in self.results)

    def __str__(self) -> str:
        """Return a line for each step, and the reason below those that failed."""
        count = sum(result.outcome == "passed" for result in self.results)
        lines = [f"{self.transcript.path}: {count} of {len(self.results)} steps passed"]
        return "\n".join([*lines, *map(str, self.results)])


class Session:
    """A shell in a box, in a new empty directory, for the steps of a transcript.

    The box has a mount namespace, so that a mount in a handout does not change the machine. When the session is
    closed, all that was started in it is killed. By default there is no new PID namespace: the shell sees the
    processes of the machine, as the reader of a handout does. With one, no process can escape from the session.
    """

    def __init__(
        self,
        unshare: Namespaces = "mount",
        *,
        timeout: float = TIMEOUT_SECONDS,
        masks: Iterable[str] = (),
        commands_only: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Start the shell.

        Args:
            unshare: The new namespaces of the shell; a mount namespace is always added.
            timeout: The timeout of each step in seconds, unless the file has another one.
            masks: Masks for all steps, in addition to those of the file.
            commands_only: Whether only exit statuses are compared, not output.
            **options: Further options of `nsbox.Box`.

        Raises:
            SpecError: for invalid arguments.
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
            # The files in it are gone with the box, also when this process is killed and cannot remove them.
            box.mount("none", directory, "tmpfs", "nosuid,nodev")
            self._shell: Shell = stack.enter_context(
                box.shell(cwd=directory, env=_environment(directory), timeout=timeout)
            )
            self._stack = stack.pop_all()

    def run(self, step: Step) -> CheckedStep:
        """Type a command, and compare its output and exit status."""
        if step.skip:
            return CheckedStep(step, "skipped")
        if not self._shell.alive:
            return CheckedStep(step, "not run", why="the shell had exited before")
        step = replace(step, masks=(*step.masks, *(mask for mask in self._masks if mask not in step.masks)))
        timeout = self._timeout if step.timeout is None else step.timeout
        begin = time.monotonic()
        try:
            result = self._shell.run(step.command, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            # An interrupted shell begins a new line.
            lines = _lines(str(error.output or "").rstrip("\n"))
            why = "\n".join([f"timeout after {timeout:g} seconds; output so far:", *lines])
            return CheckedStep(step, "failed", lines, why=why, seconds=time.monotonic() - begin)
        except NsboxError as error:
            return CheckedStep(step, "not run", why=str(error))
        lines = _lines(_without_exit_message(step.command, result))
        why = self._differences(step, result, lines)
        return CheckedStep(
            step, "failed" if why else "passed", lines, result.returncode, result.pid, why, time.monotonic() - begin
        )

    def _differences(self, step: Step, result: ShellResult, lines: tuple[str, ...]) -> str:
        """Return what differs from the expected output and status, and the likely reason; empty if nothing does."""
        found: list[str] = []
        compared = step.expected is not None and not self._commands_only
        if compared and not matches(step.expected or (), lines, step.masks):
            found.append(diff(step.expected or (), lines, step.masks))
        # A nested shell exits with the status of the last command that was typed into it.
        if result.returncode != step.status and not _is_exit(step.command):
            shown = [] if compared else lines
            found.append("\n".join([f"exit status {result.returncode}, expected {step.status}", *shown]))
        if found and result.explanation:
            found.append(result.explanation)
        return "\n".join(found)

    def close(self) -> None:
        """Kill the shell and all that was started from it, and remove its directory."""
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
    timeout: float = TIMEOUT_SECONDS,
    masks: Iterable[str] = (),
    commands_only: bool = False,
    **options: Unpack[Options],
) -> Checked:
    """Type the commands of a file into a new shell, one after the other, and compare their output.

    Args:
        transcript: The file, or what `read` returned for it.
        unshare: As for `Session`, like all other arguments.
        timeout: The timeout of each step in seconds.
        masks: Masks for all steps.
        commands_only: Whether only exit statuses are compared.
        **options: Further options of `nsbox.Box`.

    Raises:
        SpecError: for invalid arguments and directives.
        SpawnError: when the namespaces cannot be made.
        OSError: when the file cannot be read.
    """
    if not isinstance(transcript, Transcript):
        transcript = read(transcript)
    with Session(unshare, timeout=timeout, masks=masks, commands_only=commands_only, **options) as session:
        return Checked(transcript, tuple(map(session.run, transcript.steps)))


def _environment(directory: str) -> dict[str, str]:
    """Return the caller's environment with a fixed language, time zone and width, and no start-up files."""
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


def _is_exit(command: str) -> bool:
    return command.split()[:1] in (["exit"], ["logout"])


def _without_exit_message(command: str, result: ShellResult) -> str:
    """Return the output, without the "exit" or "logout" that an interactive shell prints when it exits."""
    if _is_exit(command):
        return result.stdout.removesuffix("exit\n").removesuffix("logout\n")
    return result.stdout
