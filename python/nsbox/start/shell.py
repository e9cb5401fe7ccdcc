"""An interactive shell in new namespaces, driven from Python: `Shell`.

The shell sits on a terminal of its own and *is* PID 1 of a new PID namespace, as after ``unshare -mipf``. What it
prints is framed without looking at prompts: after each command its builtin echo prints a mark with ``$?`` and ``$$``
(`shell_marks.py`). The mark appears when the command has ended, and says with which status and which shell printed it,
so nested shells need nothing more.
"""

from __future__ import annotations

import contextlib
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
from types import TracebackType
from typing import Any, Self, Unpack

from nsbox import _core
from nsbox.diagnosis import pid_namespace
from nsbox.errors import ClosedError, SpecError
from nsbox.spec.kinds import Namespaces
from nsbox.spec.spec import Options
from nsbox.start import shell_marks
from nsbox.start.fork_exec import fork_exec
from nsbox.start.launch import Environment

__all__ = ["POSIX_SHELLS", "Shell", "ShellResult"]

POSIX_SHELLS = ("bash", "dash", "sh", "ash", "ksh", "mksh", "zsh")
_PLAIN = {"bash": ("--norc", "--noprofile", "--noediting", "+H", "-i"), "zsh": ("-f", "+Z", "-i")}
_LONGEST_LINE = 4095  # what a terminal in canonical mode takes (termios(3))
_INTERRUPT_GRACES = (0.3, 0.7, 1.0)
_HANDOVER = 0.1
"""Seconds in which a shell that has just read a command has started it."""
_EXIT_GRACE = 5.0
_TIOCGPTPEER = 0x5441  # open the other side (ioctl_tty(2))
_LAST_WORDS = 0.05
"""Seconds in which what a shell wrote before its end comes out of its terminal."""

ENOMEM_EXPLAINED = (
    "Not memory: the new PID namespace has lost its PID 1. Without a fork the shell itself stayed in the old PID "
    "namespace; its first child became PID 1 of the new one, ended, and took the namespace with it. The kernel starts "
    "nothing more there and says ENOMEM (pid_namespaces(7)). Fork after unsharing (unshare -f, fork=True)."
)


@dataclass(frozen=True, slots=True)
class ShellResult:
    """What a command did.

    Attributes:
        command: The command as given.
        stdout: What it wrote to the terminal, standard output and error together.
        returncode: ``$?`` after it; if it ended the shell, the shell's own status.
        pid: ``$$`` of the shell that answered; None if the shell has ended.
        explanation: What a message by the kernel or the shell means, where it is known to mislead.
    """

    command: str
    stdout: str
    returncode: int
    pid: int | None
    explanation: str | None = None

    def __str__(self) -> str:
        """Return what the command wrote."""
        return self.stdout


class Shell:
    r"""An interactive shell as PID 1 of new namespaces: ``unshare -mipf``, from Python.

    >>> with Shell("mip") as shell:
    ...     shell.run("echo $$").stdout
    '1\n'

    Leaving the ``with`` block, or the end of the calling process, ends the shell and everything it started.

    Attributes:
        program: The shell.
        timeout: Seconds a command may take unless `run` says otherwise; None for any time.
        returncode: The shell's exit status; None while it runs.
    """

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
        """Start the shell and wait until it answers.

        Args:
            unshare: The new namespaces; see `nsbox.Spec`.
            shell: The program; by default ``$SHELL`` if it is a POSIX shell, else bash or sh. Its start-up files are
                not read.
            cwd: Its working directory.
            env: Its environment; the caller's own by default. SHELL is added where it is missing.
            columns: The width of its terminal in characters.
            timeout: Seconds a command may take, unless `run` says otherwise; None for any time.
            **options: Further options of `nsbox.Spec`. ``fork=False`` is ``unshare`` without ``--fork``: the shell
                stays in the old PID namespace and breaks with its second command.

        Raises:
            SpecError: for arguments that make no sense.
            OSError: as `subprocess` for a shell that cannot be executed.
            SpawnError: when setting up the namespaces failed.
        """
        if options.get("init"):
            raise SpecError("init: the shell itself is PID 1; use Popen or run for a program under nsbox-init")
        options["init"] = False
        self._begin(functools.partial(fork_exec, unshare=unshare, **options), shell, cwd, env, columns, timeout)

    @classmethod
    def _within(cls, fork_exec: Callable[..., _core.Child], **keywords: Any) -> Self:
        """Start a shell in other ways than as PID 1 of new namespaces."""
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
        self.timeout = timeout
        self.returncode: int | None = None
        self._marks = shell_marks.Marks()
        self._buffer = b""
        self._untyped = b""
        self.program = os.fspath(shell) if shell is not None else _default_shell()
        self._child, self._terminal = _start(fork_exec, self.program, cwd, env, columns)
        try:
            # Whatever the shell says before its first command is not part of any command's output.
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
        """The PID of nsbox-init, which watches the shell from outside."""
        return self._child.init_pid

    @property
    def pidfd(self) -> int:
        """A pidfd of the shell (pidfd_open(2)); it belongs to this object."""
        return self._child.pidfd

    @property
    def plan(self) -> _core.Plan:
        """The steps by which it was started."""
        return self._child.plan

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names of its new namespaces."""
        return tuple(self.plan.namespaces)

    @property
    def alive(self) -> bool:
        """Whether the shell still runs."""
        return self.returncode is None

    def run(
        self,
        command: str,
        *,
        timeout: float | None = -1,
        check: bool = False,
        output: Callable[[str], object] | None = None,
    ) -> ShellResult:
        """Type a command and return when it is over.

        A command that reads the terminal would read what is typed next; give it another standard input.

        An interrupt (KeyboardInterrupt) is passed on as Ctrl-C. What it does not end in the foreground is killed, and
        the shell is ready for the next command; only if that is not so, the shell is killed.

        Args:
            command: One or more lines for the shell.
            timeout: Seconds it may take; None for any time; by default the shell's own limit. When they have passed
                the command is interrupted as above.
            check: Whether a return code other than 0 is an error.
            output: Is called with each piece of what the command writes, as soon as it is there.

        Raises:
            SpecError: for a command that cannot be typed.
            ClosedError: if the shell has ended before.
            subprocess.TimeoutExpired: with the output so far.
            subprocess.CalledProcessError: with `check`, for a return code other than 0.
        """
        if not self.alive:
            raise ClosedError(f"the shell has ended with {self.returncode}")
        if "\0" in command or any(len(os.fsencode(line)) > _LONGEST_LINE for line in command.split("\n")):
            raise SpecError(f"command: a terminal takes lines of at most {_LONGEST_LINE} bytes, without NUL")
        limit = self.timeout if timeout == -1 else timeout
        follower = None if output is None else self._marks.follow(output)
        try:
            stdout, returncode, pid = self._frame(command, self._deadline(limit), follower)
        except TimeoutError:
            written = self._interrupt(follower)
            raise subprocess.TimeoutExpired(command, limit or 0, output=written) from None
        except KeyboardInterrupt:
            self._interrupt(follower)
            raise
        if check and returncode:
            raise subprocess.CalledProcessError(returncode, command, output=stdout)
        return ShellResult(command, stdout, returncode, pid, self._explanation(stdout, pid))

    def exit(self) -> int:
        """Type ``exit``, wait for the end of everything in the namespaces, and return the shell's exit status."""
        if self.returncode is None:
            with contextlib.suppress(OSError):
                os.write(self._terminal, b"\nexit\n")
            end = self._child.wait(_EXIT_GRACE)
            if end is None:
                self._child.kill()
        return self._close()

    def __enter__(self) -> Self:
        """Return the shell itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the shell, and with it all that it started."""
        self._close()

    def __del__(self) -> None:
        """Complain about a shell that was forgotten, and end it."""
        child: _core.Child | None = getattr(self, "_child", None)
        # In a child of os.fork the shell is not ours to end.
        if child is not None and child.is_own and self.returncode is None:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            self._close()

    def __repr__(self) -> str:
        """Say what runs, and under which numbers."""
        state = "running" if self.alive else f"ended with {self.returncode}"
        return f"<nsbox.Shell: process {self.pid} ({self.pid_inside} inside), {state}>"

    def _close(self) -> int:
        if self.returncode is None:
            self._child.kill()
            end = self._child.wait()
            self.returncode = end.returncode if end else None
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        return self.returncode or 0

    @staticmethod
    def _deadline(timeout: float | None) -> float | None:
        return None if timeout is None else time.monotonic() + timeout

    def _frame(
        self, command: str, deadline: float | None, follower: shell_marks.Follower | None = None
    ) -> tuple[str, int, int | None]:
        """Type a command and the echo of the mark; return what came before the mark, ``$?`` and ``$$``."""
        self._buffer = b""
        self._type(command)
        found = self._read_to_mark(deadline, follower)
        if found is None:
            end = self._child.wait()
            self.returncode = end.returncode if end else -1
            return self._marks.text(self._buffer), self.returncode, None
        return self._marks.text(self._buffer[: found.start()]), int(found[1]), int(found[2])

    def _type(self, command: str) -> None:
        """Have it typed while the output is read: a terminal takes so much, and then waits until that was read."""
        self._untyped = os.fsencode(command) + b"\n" + self._marks.next()

    def _read_to_mark(self, deadline: float | None, follower: shell_marks.Follower | None) -> re.Match[bytes] | None:
        """Read until the mark is there, or everything ends."""
        while (found := self._marks.seen(self._buffer)) is None:
            part = self._read(deadline)
            if follower is not None:
                follower.feed(part)
            if not part:
                return None
            self._buffer += part
        if follower is not None:
            follower.feed(b"")
        return found

    def _read(self, deadline: float | None) -> bytes:
        """Read what is there; empty at the end, which a terminal reports as EIO once nobody holds the other side."""
        while True:
            rest = None if deadline is None else max(0.0, deadline - time.monotonic())
            output, room, ended = self._poll(rest)
            if output:
                break
            if ended:
                # Jobs in the background, if they outlive the shell, go on holding the other side.
                if not self._poll(_LAST_WORDS)[0]:
                    return b""
                break
            if not room:
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                self._untyped = self._untyped[os.write(self._terminal, self._untyped) :]
        try:
            return os.read(self._terminal, 65536)
        except OSError:
            return b""

    def _poll(self, seconds: float | None) -> tuple[bool, bool, bool]:
        """Wait until there is output, or room for what is still to be typed, or the shell has ended."""
        poll = select.poll()
        poll.register(self._terminal, select.POLLIN | (select.POLLOUT if self._untyped else 0))
        poll.register(self.pidfd, select.POLLIN)
        ready = dict(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))
        terminal = ready.get(self._terminal, 0)
        return bool(terminal & ~select.POLLOUT), bool(terminal & select.POLLOUT), self.pidfd in ready

    def _interrupt(self, follower: shell_marks.Follower | None) -> str:
        """Type Ctrl-C, then kill what is in the foreground, then the shell, until it answers; return the output."""
        self._await_job()
        for grace in _INTERRUPT_GRACES:
            if grace == _INTERRUPT_GRACES[-1]:
                self._kill_foreground()
            # The terminal throws away what was typed ahead (termios(3), NOFLSH), the echo of the mark included. But it
            # takes no key as long as it is full, so that has to be thrown away first.
            self._forget_the_typed()
            self._type("\x03")
            with contextlib.suppress(TimeoutError):
                found = self._read_to_mark(self._deadline(grace), follower)
                if found is None:
                    break
                return self._marks.text(self._buffer[: found.start()])
        output = self._marks.text(self._buffer)
        self._close()
        return output

    def _await_job(self) -> None:
        """Give the shell a moment to hand the terminal to its job.

        A Ctrl-C in between may make it forget to take the terminal back, and then it reads EIO for ever (bash 5.2).
        """
        end = time.monotonic() + _HANDOVER
        with contextlib.suppress(OSError):
            while os.tcgetpgrp(self._terminal) == self.pid and time.monotonic() < end:
                time.sleep(0.002)

    def _forget_the_typed(self) -> None:
        self._untyped = b""
        with contextlib.suppress(OSError):
            termios.tcflush(self._terminal, termios.TCOFLUSH)
            theirs = fcntl.ioctl(self._terminal, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
            try:
                termios.tcflush(theirs, termios.TCIFLUSH)
            finally:
                os.close(theirs)

    def _kill_foreground(self) -> None:
        """Kill the job that has the terminal, unless that is the shell itself, or has become another user."""
        with contextlib.suppress(OSError):
            # 0 for a group that is not in our PID namespace, which cannot be.
            group = os.tcgetpgrp(self._terminal)
            if group not in (0, self.pid):
                os.killpg(group, signal.SIGKILL)

    def _explanation(self, stdout: str, pid: int | None) -> str | None:
        if pid is None or not re.search(r"fork", stdout, re.IGNORECASE):
            return None
        return ENOMEM_EXPLAINED if pid_namespace.for_children(self.pid) == "dead" else None


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
) -> tuple[_core.Child, int]:
    """Start the shell on a new terminal; return it and our side of the terminal."""
    variables = {os.fsencode(name): os.fsencode(value) for name, value in (os.environ if env is None else env).items()}
    # As login(1) does: what starts a shell without naming one, as unshare(1), means this one.
    variables.setdefault(b"SHELL", os.fsencode(program))
    # No prompts, no colours, no history; PROMPT_COMMAND would print between commands.
    variables |= {b"PS1": b"", b"PS2": b"", b"TERM": b"dumb", b"HISTFILE": b""}
    variables.pop(b"PROMPT_COMMAND", None)
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    try:
        settings = termios.tcgetattr(theirs)
        settings[1] &= ~termios.ONLCR
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        termios.tcsetwinsize(theirs, (24, columns))
        child = fork_exec(
            [program, *_PLAIN.get(Path(program).name, ("-i",))],
            env=variables,
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            controlling_terminal=True,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return child, ours
