"""An interactive shell in new namespaces, controlled from Python: `Shell`.

The shell has a terminal of its own and *is* PID 1 of a new PID namespace, as after ``unshare -mipf``. The output of a
command is found without prompts: after each command the shell's echo prints a mark with ``$?`` and ``$$``
(`shell_marks.py`). The mark is printed when the command has ended, with its status and the PID of the shell, so nested
shells work too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import math
import os
import re
import select
import shutil
import signal
import subprocess
import termios
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from nsbox import _core
from nsbox.diagnosis import pid_namespace
from nsbox.errors import ClosedError, SpecError
from nsbox.spec.kinds import Namespaces
from nsbox.spec.spec import Options
from nsbox.start import shell_marks
from nsbox.start.ending import await_end
from nsbox.start.fork_exec import fork_exec
from nsbox.start.launch import Environment
from nsbox.start.output import MaxOutput, OutputLimit, OutputLimitError, output_limit

if TYPE_CHECKING:
    from nsbox.seeing.layer import WrittenFiles

__all__ = ["POSIX_SHELLS", "Shell", "ShellResult"]

POSIX_SHELLS = ("bash", "dash", "sh", "ash", "ksh", "mksh", "zsh")
_PLAIN = {"bash": ("--norc", "--noprofile", "--noediting", "+H", "-i"), "zsh": ("-f", "+Z", "-i")}
_MAX_LINE_BYTES = 4095
"""The longest line that a terminal in canonical mode accepts (termios(3))."""
_INTERRUPT_SECONDS = (0.3, 0.7, 1.0)
"""How long to wait for the shell after each Ctrl-C; before the last one the foreground job is killed."""
_JOB_START_SECONDS = 0.1
"""A shell that has read a command starts it within this time."""
_EXIT_SECONDS = 5.0
_TIOCGPTPEER = 0x5441
"""Opens the other side of the terminal (ioctl_tty(2))."""
_DRAIN_SECONDS = 0.05
"""After a shell has ended, the last of its output arrives within this time."""

ENOMEM_EXPLAINED = (
    "The reason is not a lack of memory: the new PID namespace has lost its PID 1. Without a fork the shell itself "
    "stayed in the old PID namespace. Its first child became PID 1 of the new one, and ended. The kernel starts no "
    "more processes in a namespace without PID 1; the error is ENOMEM (pid_namespaces(7)). Fork after unsharing "
    "(unshare -f, fork=True)."
)


@dataclass(frozen=True, slots=True)
class ShellResult:
    """The result of a command.

    Attributes:
        command: The command as given.
        stdout: Its output on the terminal, standard output and error together.
        returncode: ``$?`` after it; if it ended the shell, the exit status of the shell.
        pid: ``$$`` of the shell that ran it; None if the shell has ended.
        explanation: The meaning of a message in the output that is known to mislead; None if there is none.
        truncated: Whether a part of the output is missing, as there was more than `max_output`.
    """

    command: str
    stdout: str
    returncode: int
    pid: int | None
    explanation: str | None = None
    truncated: bool = False

    def __str__(self) -> str:
        """Return the output of the command."""
        return self.stdout


class Shell:
    r"""An interactive shell as PID 1 of new namespaces: ``unshare -mipf``, from Python.

    >>> with Shell("mip") as shell:
    ...     shell.run("echo $$").stdout
    '1\n'

    The shell and all processes that it started are ended when the ``with`` block is left, and when the calling process
    ends.

    Attributes:
        program: The shell.
        timeout: Seconds that a command may take, unless `run` is given a timeout; None for no limit.
        returncode: The shell's exit status; None while it runs.
    """

    _elsewhere = ""
    """Why there is a child of os.fork that has a copy of it, and what to do instead, for an error there."""

    def __init__(
        self,
        unshare: Namespaces = "mip",
        *,
        shell: str | os.PathLike[str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Environment | None = None,
        columns: int = 80,
        timeout: float | None = 60,
        **options: Unpack[Options],
    ) -> None:
        """Start the shell and wait until it is ready for a command.

        Args:
            unshare: The new namespaces; see `nsbox.Spec`.
            shell: The program; by default ``$SHELL`` if it is a POSIX shell, else bash or sh. Its start-up files are
                not read.
            cwd: Its working directory.
            env: Its environment; by default that of the caller. SHELL is added if it is missing.
            columns: The width of its terminal in characters.
            timeout: Seconds that a command may take, unless `run` is given a timeout; None for no limit.
            **options: Further options of `nsbox.Spec`. ``fork=False`` is ``unshare`` without ``--fork``: the shell
                stays in the old PID namespace, and its second command fails.

        Raises:
            SpecError: for arguments that make no sense.
            OSError: as `subprocess` for a shell that cannot be executed.
            SpawnError: when setting up the namespaces failed.
        """
        __tracebackhide__ = True
        if options.get("init"):
            raise SpecError("init: the shell itself is PID 1; for a program under nsbox-init use Popen or run")
        options["init"] = False
        self._begin(functools.partial(fork_exec, unshare=unshare, **options), shell, cwd, env, columns, timeout)

    @classmethod
    def _within(cls, fork_exec: Callable[..., _core.Child], **keywords: Any) -> Self:
        """Start a shell by another function than `nsbox.fork_exec`, such as that of a box."""
        shell = cls.__new__(cls)
        shell._begin(fork_exec, **keywords)
        return shell

    def _begin(
        self,
        fork_exec: Callable[..., _core.Child],
        shell: str | os.PathLike[str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Environment | None = None,
        columns: int = 80,
        timeout: float | None = 60,
    ) -> None:
        __tracebackhide__ = True
        self.timeout = timeout
        self.returncode: int | None = None
        self._marks = shell_marks.Marks()
        self._buffer = bytearray()
        self._limit: OutputLimit | None = None
        self._kept = b""
        self._untyped = b""
        self.program = os.fspath(shell) if shell is not None else _default_shell()
        self._child, self._terminal = _start(fork_exec, self.program, cwd, env, columns)
        try:
            # What the shell prints before its first command is not part of any command's output.
            self._frame(":", self._deadline(timeout))
        except BaseException:
            self._close()
            raise

    @property
    def pid(self) -> int:
        """The PID of the shell as the caller sees it."""
        return self._child.pid

    @property
    def pid_inside(self) -> int:
        """The PID of the shell in its own PID namespace."""
        return self._child.pid_inside

    @property
    def init_pid(self) -> int:
        """The PID of nsbox-init, which waits for the shell from outside its namespaces."""
        return self._child.init_pid

    @property
    def pidfd(self) -> int:
        """A pidfd of the shell (pidfd_open(2)); it belongs to this object."""
        return self._child.pidfd

    @property
    def plan(self) -> _core.Plan:
        """The steps by which it was started."""
        return self._child.plan

    def changes(self, max_files: int | None = None) -> WrittenFiles:
        """Return the files that its processes have created, changed and deleted in a root that is an `Overlay`.

        They stay readable when the shell has ended: ``shell.changes().keep(DIRECTORY)`` copies them.

        Args:
            max_files: The number of files to read at most; by default 100,000.

        Raises:
            SpecError: when the root is no overlay, or that of a box.
            NsboxError: when there are more files.
        """
        found: WrittenFiles = self._child.changes(max_files)
        return found

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names of its new namespaces."""
        return tuple(self.plan.namespaces)

    @property
    def alive(self) -> bool:
        """Whether the shell still runs. In a child of os.fork it does not."""
        if self.returncode is None and self._child.is_own and (end := self._child.wait(0)):
            self.returncode = end.returncode
        return self.returncode is None and self._child.is_own

    def run(
        self,
        command: str,
        *,
        timeout: float | EllipsisType | None = ...,
        check: bool = False,
        output: Callable[[str], object] | None = None,
        max_output: MaxOutput = None,
    ) -> ShellResult:
        """Type a command and return when it has ended.

        Redirect the standard input of a command that reads it: from the terminal it would read the next command.

        A KeyboardInterrupt is passed on as Ctrl-C. A foreground job that does not end is killed. Then the shell is
        ready for the next command; if it is not, it is killed too.

        Args:
            command: One or more lines for the shell.
            timeout: Seconds that it may take; None for no limit; by default the attribute `timeout`. After that the
                command is interrupted as above.
            check: Whether a return code other than 0 is an error.
            output: A function that is called with each piece of the output as soon as it arrives.
            max_output: Bytes that it may write to the terminal. After more of them it is interrupted as above. An
                `OutputLimit` can truncate instead: then the rest is read and dropped, up to the end of the command.

        Raises:
            SpecError: for a command that cannot be typed.
            ClosedError: if the shell has ended already, and in a child of os.fork.
            subprocess.TimeoutExpired: with the output so far.
            OutputLimitError: with the output up to the limit.
            subprocess.CalledProcessError: with `check`, for a return code other than 0.
        """
        self._limit = output_limit(max_output)
        if self.returncode is None and not self._child.is_own:
            raise ClosedError(f"{self!r} cannot be used in a child of os.fork{self._elsewhere}")
        if not self.alive:
            raise ClosedError(f"the shell has ended with {self.returncode}")
        if "\0" in command or any(len(os.fsencode(line)) > _MAX_LINE_BYTES for line in command.split("\n")):
            raise SpecError(f"command: a terminal accepts lines of at most {_MAX_LINE_BYTES} bytes, without NUL")
        limit = self.timeout if isinstance(timeout, EllipsisType) else timeout
        follower = None if output is None else self._marks.follow(output)
        try:
            stdout, returncode, pid = self._frame(command, self._deadline(limit), follower)
        except TimeoutError:
            written = self._interrupt(follower)
            raise subprocess.TimeoutExpired(command, limit or 0, output=written) from None
        except OutputLimitError as error:
            self._limit = None
            self._interrupt(None)
            error.cmd, error.output = command, self._marks.text(self._kept)
            raise
        except KeyboardInterrupt:
            self._interrupt(follower)
            raise
        if check and returncode:
            raise subprocess.CalledProcessError(returncode, command, output=stdout)
        truncated = self._limit is not None and bool(self._kept)
        return ShellResult(command, stdout, returncode, pid, self._explanation(stdout, pid), truncated)

    def exit(self) -> int:
        """Type ``exit``, wait until all processes in the namespaces have ended, and return the shell's exit status."""
        if self.returncode is None:
            with contextlib.suppress(OSError):
                os.write(self._terminal.fileno(), b"\nexit\n")
            self._child.wait(_EXIT_SECONDS)
        return self._close()

    def __enter__(self) -> Self:
        """Return the shell itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the shell and all processes that it started."""
        self._close()

    def __del__(self) -> None:
        """End a shell that was not closed, with a ResourceWarning."""
        child: _core.Child | None = getattr(self, "_child", None)
        # The copy of the object in a child of os.fork must not end the shell.
        if child is not None and child.is_own and self.returncode is None:
            try:
                warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            finally:
                # As in `Box.__del__`.
                self._close()

    def __repr__(self) -> str:
        """Show the PIDs and the state of the shell."""
        state = "running" if self.alive else f"ended with {self.returncode}"
        if self.returncode is None and not self._child.is_own:
            state = "of another process"
        rights = "".join(f"; {note}" for note in self.plan.notes)
        return f"<nsbox.Shell: process {self.pid} ({self.pid_inside} inside), {state}{rights}>"

    def _close(self) -> int:
        try:
            if self.returncode is None:
                self._child.kill()
                self.returncode = await_end(self._child.wait, self.init_pid, self.pid).returncode
        finally:
            self._terminal.close()
        return self.returncode

    @staticmethod
    def _deadline(timeout: float | None) -> float | None:
        return None if timeout is None else time.monotonic() + timeout

    def _frame(
        self, command: str, deadline: float | None, follower: shell_marks.Follower | None = None
    ) -> tuple[str, int, int | None]:
        """Type a command and the echo of a mark. Return the output before the mark, ``$?`` and ``$$``."""
        self._buffer.clear()
        self._kept = b""
        self._type(command)
        found = self._read_to_mark(deadline, follower)
        if found is None:
            # It has closed its terminal, and may still run.
            end = self._child.wait(_rest(deadline))
            if end is None:
                raise TimeoutError
            self.returncode = end.returncode
            return self._output(len(self._buffer)), self.returncode, None
        return self._output(found.start()), int(found[1]), int(found[2])

    def _output(self, end: int) -> str:
        """Return the output as text, up to the limit. `end` is where it ends in the buffer.

        Raises:
            OutputLimitError: when it is too long, and is not to be truncated.
        """
        self._keep(end)
        return self._marks.text(self._kept or self._buffer[:end])

    def _keep(self, length: int) -> None:
        """Keep the beginning of the output, if this many bytes are more than the limit."""
        if self._limit is None or self._kept or length <= self._limit.bytes:
            return
        # Not empty, which means that the limit is not reached.
        self._kept = bytes(self._buffer[: max(1, self._limit.bytes)])
        if self._limit.on_exceed == "kill":
            raise OutputLimitError("", self._limit.bytes)

    def _type(self, command: str) -> None:
        """Set what `_read` writes to the terminal. It writes while it reads, as the terminal's buffer may be full."""
        self._untyped = os.fsencode(command) + b"\n" + self._marks.next()

    def _read_to_mark(self, deadline: float | None, follower: shell_marks.Follower | None) -> re.Match[bytes] | None:
        """Read until the mark is found; None if the output ends before."""
        begin = 0
        while (found := self._marks.seen(self._buffer, begin)) is None:
            # What was searched is not searched again, but for the beginning of a mark.
            begin = max(0, len(self._buffer) - shell_marks.MAX_BYTES)
            part = self._read(deadline)
            if follower is not None:
                follower.feed(part)
            if not part:
                return None
            self._buffer += part
            self._keep(len(self._buffer) - shell_marks.MAX_BYTES)
            if self._kept:
                del self._buffer[: -shell_marks.MAX_BYTES]
                begin = 0
        if follower is not None:
            follower.feed(b"")
        return found

    def _read(self, deadline: float | None) -> bytes:
        """Read what has arrived; empty at the end. read(2) fails with EIO when no process has the other side open."""
        while True:
            rest = _rest(deadline)
            if rest == 0:
                # Also while there is output: it may have no end.
                raise TimeoutError
            output, room, ended = self._poll(rest)
            if output:
                break
            if ended:
                # Background jobs that outlive the shell keep the other side open, so that there is no EIO.
                if not self._poll(_DRAIN_SECONDS)[0]:
                    return b""
                break
            if not room:
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                self._untyped = self._untyped[os.write(self._terminal.fileno(), self._untyped) :]
        try:
            return os.read(self._terminal.fileno(), 65536)
        except OSError as error:
            # The handler of a signal may raise another one, such as TimeoutError.
            if error.errno != errno.EIO:
                raise
            return b""

    def _poll(self, seconds: float | None) -> tuple[bool, bool, bool]:
        """Wait, and return whether there is output, whether there is room to type, and whether the shell has ended."""
        poll = select.poll()
        poll.register(self._terminal, select.POLLIN | (select.POLLOUT if self._untyped else 0))
        poll.register(self.pidfd, select.POLLIN)
        ready = dict(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))
        terminal = ready.get(self._terminal.fileno(), 0)
        return bool(terminal & ~select.POLLOUT), bool(terminal & select.POLLOUT), self.pidfd in ready

    def _interrupt(self, follower: shell_marks.Follower | None) -> str:
        """Type Ctrl-C, then kill the foreground job, then the shell, until it is ready; return the output."""
        self._await_job_start()
        for seconds in _INTERRUPT_SECONDS:
            if seconds == _INTERRUPT_SECONDS[-1]:
                self._kill_foreground_job()
            # Ctrl-C makes the terminal discard its input (termios(3), NOFLSH), the echo of the mark included. But a
            # full terminal does not accept Ctrl-C, so the input is discarded first.
            self._discard_input()
            self._type("\x03")
            with contextlib.suppress(TimeoutError):
                found = self._read_to_mark(self._deadline(seconds), follower)
                if found is None:
                    break
                return self._marks.text(self._buffer[: found.start()])
        output = self._marks.text(self._buffer)
        self._close()
        return output

    def _await_job_start(self) -> None:
        """Wait a moment until the shell has given the terminal to its job.

        A Ctrl-C before that can prevent it from taking the terminal back. Then all its reads fail with EIO (bash 5.2).
        """
        end = time.monotonic() + _JOB_START_SECONDS
        with contextlib.suppress(OSError):
            while os.tcgetpgrp(self._terminal.fileno()) == self.pid and time.monotonic() < end:
                time.sleep(0.002)

    def _discard_input(self) -> None:
        self._untyped = b""
        with contextlib.suppress(OSError):
            termios.tcflush(self._terminal, termios.TCOFLUSH)
            with _core.Descriptor(fcntl.ioctl, self._terminal, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY) as theirs:
                termios.tcflush(theirs, termios.TCIFLUSH)

    def _kill_foreground_job(self) -> None:
        """Kill the job that has the terminal, unless it is the shell itself. A job of another user cannot be killed."""
        with contextlib.suppress(OSError):
            # 0 would be a group outside our PID namespace, which cannot happen.
            group = os.tcgetpgrp(self._terminal.fileno())
            if group not in (0, self.pid):
                os.killpg(group, signal.SIGKILL)

    def _explanation(self, stdout: str, pid: int | None) -> str | None:
        if pid is None or not re.search(r"fork", stdout, re.IGNORECASE):
            return None
        from nsbox.seeing.target import pid_of  # noqa: PLC0415 - few shells need it

        try:
            shown = pid_of(self, "self")
        except (OSError, SpecError):
            return None
        return ENOMEM_EXPLAINED if pid_namespace.for_children(shown) == "dead" else None


def _rest(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _default_shell() -> str:
    own = os.environ.get("SHELL", "")
    if Path(own).name in POSIX_SHELLS and os.access(own, os.X_OK):
        return own
    return shutil.which("bash") or "/bin/sh"


def _start(
    fork_exec: Callable[..., _core.Child],
    program: str,
    cwd: str | os.PathLike[str] | None,
    env: Environment | None,
    columns: int,
) -> tuple[_core.Child, _core.Descriptor]:
    """Start the shell on a new terminal; return the process and our side of the terminal."""
    __tracebackhide__ = True
    variables = {os.fsencode(name): os.fsencode(value) for name, value in (os.environ if env is None else env).items()}
    # As login(1) does: programs such as unshare(1) start $SHELL.
    variables.setdefault(b"SHELL", os.fsencode(program))
    # No prompts, no colours, no history; PROMPT_COMMAND would print between commands.
    variables |= {b"PS1": b"", b"PS2": b"", b"TERM": b"dumb", b"HISTFILE": b""}
    variables.pop(b"PROMPT_COMMAND", None)
    ours, theirs = _core.Descriptor.pair(os.openpty)
    with theirs:
        os.set_blocking(ours.fileno(), False)
        settings = termios.tcgetattr(theirs)
        settings[1] &= ~termios.ONLCR
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        termios.tcsetwinsize(theirs.fileno(), (24, columns))
        child = fork_exec(
            [program, *_PLAIN.get(Path(program).name, ("-i",))],
            env=variables,
            cwd=cwd,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=theirs.fileno(),
            start_new_session=True,
            controlling_terminal=True,
        )
    return child, ours
