"""`subprocess.Popen` in namespaces: `Popen`."""

from __future__ import annotations

import errno
import operator
import os
import pwd
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from nsbox import _core
from nsbox.errors import SpecError
from nsbox.spec.spec import Options, Spec, spec_of
from nsbox.start import ending, stdlib_hooks
from nsbox.start.completed import rusage_of
from nsbox.start.ending import await_end
from nsbox.start.launch import (
    Argument,
    Launch,
    candidates,
    descriptor_numbers,
    environment,
    held,
    inheritable_fds,
    start,
)
from nsbox.start.output import Communication, MaxOutput, output_limit

if TYPE_CHECKING:
    from nsbox.seeing.layer import Layer, WrittenFiles

__all__ = ["OPTIONS", "Popen"]

OPTIONS = frozenset({"unshare", *Options.__annotations__})
"""The keywords that concern the namespaces; all others are those of `subprocess.Popen`."""

stdlib_hooks.check(subprocess.Popen, stdlib_hooks.SUBPROCESS)

_NO_PREEXEC_FN = (
    "preexec_fn: no Python code can run between the clone and the exec, where the new process shares this one's "
    "memory. Use the argument for the purpose: start_new_session, process_group, user, group, extra_groups, umask, "
    "cwd, restore_signals, pass_fds; for anything else start a program that does it and then execs"
)
_NO_PROCESS_GROUP = (
    "process_group: a group of the caller has no number in a new PID namespace (setpgid(2)). 0 makes a new group"
)


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen` with namespaces: the same arguments, methods and exceptions, plus the options of `Spec`.

    With a new PID namespace ``wait()`` and ``communicate()`` return when all of its processes have ended, and
    ``kill()`` ends all of them at once. They also end when the calling process ends, in whatever way.

    Signals are sent to the program alone, through its pidfd. With ``init=False`` and a new PID namespace the program is
    PID 1. It then ignores every signal for which it has no handler, except SIGKILL and SIGSTOP (pid_namespaces(7)), so
    ``terminate()`` has no effect on most programs.

    ``preexec_fn`` is refused, and so is the number of a ``process_group`` in a new PID namespace.

    Attributes:
        pid: The PID of the program as the caller sees it.
        pid_inside: Its PID in its own PID namespace.
        init_pid: The PID of nsbox-init, its parent.
        spec: The namespaces as the caller asked for them.
        plan: The steps by which it was started.
        namespaces: The names of its new namespaces.
        rusage: The resources that it and its reaped children used (getrusage(2)); None before it has ended.
    """

    pid_inside: int
    init_pid: int
    spec: Spec
    plan: _core.Plan
    namespaces: tuple[str, ...]
    rusage: resource.struct_rusage | None = None
    _nsbox_child: _core.Child | None = None
    _was_killed = False
    """Whether all its processes were killed, after which a wait for them has a limit."""
    _was_checked = False
    """Whether `wait` has looked whether the program was executed at all."""
    _used: tuple[float, float, list[int]] | None = None
    _communication: Communication | None = None

    def __init__(self, *args: Any, spec: Spec | None = None, max_output: MaxOutput = None, **keywords: Any) -> None:
        """Start a program.

        Args:
            *args: As for `subprocess.Popen`.
            spec: The namespaces, instead of separate options.
            max_output: Bytes that `communicate` reads of each pipe; more of them kill all processes. An `OutputLimit`
                can truncate instead.
            **keywords: As for `subprocess.Popen`, and the options of `Spec`.

        Raises:
            SpecError: for arguments that make no sense.
            OSError: as `subprocess.Popen`.
            SpawnError: when setting up the namespaces failed.
        """
        options: Any = {name: keywords.pop(name) for name in OPTIONS & keywords.keys()}
        if spec is not None and options:
            raise SpecError(f"spec: cannot be combined with {', '.join(sorted(options))}")
        self.spec = spec_of(options.pop("unshare", "mip"), options) if spec is None else spec
        self._max_output = output_limit(max_output)
        if max_output is not None and subprocess.PIPE not in (
            *args[4:6],
            keywords.get("stdout"),
            keywords.get("stderr"),
        ):
            raise SpecError("max_output: neither standard output nor error is captured, so there is nothing to limit")
        super().__init__(*args, **keywords)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Send input, read all output, wait until all has ended, and return the output: as `subprocess.Popen`.

        Args:
            input: As for `subprocess.Popen.communicate`.
            timeout: As there, in seconds.

        Raises:
            subprocess.TimeoutExpired: as there.
            OutputLimitError: when there is more output than `max_output`.
        """
        if self._max_output is None:
            return self._communicate_in_turns(input, timeout)
        if self._communication is None:
            self._communication = Communication(self, self._max_output, input)
        elif input:
            raise ValueError("Cannot send input after starting communication")
        return self._communication.finish(timeout)

    def _communicate_in_turns(self, input: Any, timeout: float | None) -> tuple[Any, Any]:
        """Do what `subprocess.Popen.communicate` does, and look now and then whether the processes have to be helped.

        One that cannot end after its kill also keeps the other ends of the pipes open.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        limit = time.monotonic() + ending.END_SECONDS
        while True:
            rest = None if deadline is None else deadline - time.monotonic()
            # Without any pipe only the end is waited for, and that wait helps by itself.
            piped = any(one is not None and not one.closed for one in (self.stdin, self.stdout, self.stderr))
            turn = (ending.TURN_SECONDS if rest is None else min(rest, ending.TURN_SECONDS)) if piped else rest
            try:
                return super().communicate(input, turn)
            except subprocess.TimeoutExpired as error:
                if deadline is not None and time.monotonic() >= deadline:
                    error.timeout = timeout or 0
                    raise
            input = None
            self.poll()
            if self._was_killed and deadline is None and time.monotonic() > limit:
                raise ending.not_ended(self.init_pid, self.pid)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all its processes have ended, and return its return code: as `subprocess.Popen`.

        Args:
            timeout: As there, in seconds.

        Raises:
            subprocess.TimeoutExpired: as there.
            SpawnError: when the program was never executed, because a seccomp filter kills a process for that. Raised
                once: the return code is -31 (SIGSYS).
            NotEndedError: when it was killed, and has not ended long after.
        """
        returncode = super().wait(timeout)
        if returncode == -signal.SIGSYS and not self._was_checked:
            self._was_checked = True
            self._child.check_executed()
        return returncode

    @property
    def truncated(self) -> bool:
        """Whether `communicate` has dropped output because of `max_output`."""
        return self._communication is not None and self._communication.truncated

    @property
    def pidfd(self) -> int:
        """A pidfd of the program (pidfd_open(2)); it belongs to this object."""
        return self._child.pidfd

    @property
    def end_fd(self) -> int:
        """A descriptor for poll(2) and the like. It is readable when all has ended, and belongs to this object."""
        return self._child.end_fd

    @property
    def _child(self) -> _core.Child:
        if self._nsbox_child is None:
            raise SpecError("nothing has been started")
        return self._nsbox_child

    def changes(self, max_files: int | None = None) -> WrittenFiles:
        """Return the files that its processes have created, changed and deleted in a root that is an `Overlay`.

        Args:
            max_files: The number of files to read at most; by default 100,000.

        Raises:
            SpecError: when the root is no overlay.
            NsboxError: when there are more files.
        """
        from nsbox.seeing.layer import MAX_FILES  # noqa: PLC0415 - few programs have such a root

        return self._layer().files(MAX_FILES if max_files is None else max_files)

    def _layer(self) -> Layer:
        from nsbox.seeing.layer import layer_of  # noqa: PLC0415

        return layer_of(self.spec, self._child.layer)

    # The private methods of subprocess.Popen that start a process and wait for it; see stdlib_hooks.py. Their arguments
    # are those of CPython, which gives no types.

    def _execute_child(  # type: ignore[no-untyped-def]
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, restore_signals, gid, gids, uid, umask,
        start_new_session, process_group,
    ):  # fmt: skip
        if preexec_fn is not None:
            raise SpecError(_NO_PREEXEC_FN)
        if process_group > 0 and "pid" in self.spec.kinds:
            raise SpecError(_NO_PROCESS_GROUP)
        if isinstance(args, str | bytes | os.PathLike):
            if shell and isinstance(args, os.PathLike):
                raise TypeError("path-like args is not allowed when shell is true")
            args = [args]
        args = list(args)
        if shell:
            args = ["/bin/sh", "-c", *args]
            if executable:
                args[0] = executable
        if executable is None:
            executable = args[0]
        sys.audit("subprocess.Popen", executable, args, cwd, env)
        if min(p2cread, c2pwrite, errwrite) < -1:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if uid is not None and held(self.spec).hardened.drop_groups:
            gid = _group_of(uid) if gid is None else gid
            gids = () if gids is None else gids
        stdio, passed = self._descriptors((p2cread, c2pwrite, errwrite), pass_fds if close_fds else None)
        launch = Launch(
            paths=candidates(executable, env),
            argv=tuple(map(os.fsencode, args)),
            env=environment(env),
            cwd=None if cwd is None else os.fsencode(cwd),
            stdio=stdio,
            pass_fds=passed,
            close_fds=bool(close_fds),
            restore_signals=operator.index(restore_signals) != 0,
            start_new_session=operator.index(start_new_session) != 0,
            process_group=None if process_group < 0 else process_group,
            umask=None if umask < 0 else umask,
            groups=None if gids is None else tuple(_kernel_id("extra_groups", group, ValueError) for group in gids),
            gid=None if gid is None else _kernel_id("group", gid),
            uid=None if uid is None else _kernel_id("user", uid),
        )

        def close_pipes() -> None:
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

        try:
            self._nsbox_child = child = self._start(launch, executable, cwd, close_pipes)
            self.plan, self.namespaces = child.plan, tuple(child.plan.namespaces)
            self.pid, self.pid_inside, self.init_pid = child.pid, child.pid_inside, child.init_pid
            self._child_created = True
        except BaseException:
            # A signal handler has raised. The caller does not have this object yet, and could not end the process.
            self._end()
            raise

    # What a subclass that starts processes in another way replaces.

    def _descriptors(
        self, stdio: tuple[int, int, int], pass_fds: Iterable[Any] | None
    ) -> tuple[tuple[int, int, int], tuple[int, ...]]:
        """Return the sources of the standard streams, and the other descriptors to pass on; for None all inheritable.

        Of the latter only those that are a standard stream as well need to be named: the exec keeps the others.
        """
        return stdio, inheritable_fds(stdio) if pass_fds is None else descriptor_numbers(pass_fds)

    def _start(
        self, launch: Launch, program: Argument, cwd: Argument | None, close_pipes: Callable[[], None]
    ) -> _core.Child:
        """Start a program, and call `close_pipes` as soon as the new process has its ends of the pipes.

        Like `subprocess`, so that a caller at its limit of open descriptors needs no more free ones.
        """
        return start(self.spec, launch, program=program, cwd=cwd, after_clone=close_pipes)

    def _end(self) -> None:
        """Kill what still runs and wait until it has ended, except in a child of os.fork, where this is a copy."""
        child = self._nsbox_child
        if child is not None and self.returncode is None and child.is_own:
            child.kill()
            self._record(await_end(child.wait, child.init_pid, child.pid))

    def _internal_poll(self, _deadstate: int | None = None, **_: object) -> int | None:
        if self.returncode is None:
            try:
                self._record(self._child.wait(0))
            except ChildProcessError:
                # In a child of os.fork. As in subprocess, __del__ passes the return code to use in that case.
                self.returncode = _deadstate
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            child = self._child
            if timeout is None and self._was_killed:
                self._record(await_end(child.wait, child.init_pid, child.pid))
            elif not self._record(child.wait(timeout)):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def _record(self, end: _core.Exit | None) -> bool:
        """Keep how the process ended, and return whether it has."""
        if end is None:
            return False
        self._used, self.rusage = end.rusage, rusage_of(end.rusage)
        self.returncode = end.returncode
        return True

    def send_signal(self, sig: int) -> None:
        """Send a signal to the program through its pidfd (pidfd_send_signal(2)). SIGKILL ends all of its processes."""
        self.poll()
        if self.returncode is not None:
            return
        if sig == signal.SIGKILL:
            self._child.kill()
            self._was_killed = True
        else:
            self._child.send_signal(sig)

    def __repr__(self) -> str:
        """Show the program, its PIDs, its namespaces and its state."""
        if self._nsbox_child is None:
            return super().__repr__()
        args = repr(list(self.args) if not isinstance(self.args, str | bytes | os.PathLike) else self.args)
        joined = f"in joined {', '.join(self.plan.joined)} namespaces" if self.plan.joined else ""
        new = f"in new {', '.join(self.namespaces)} namespaces" if self.namespaces else ""
        where = " and ".join(filter(None, (joined, new))) or "in the caller's namespaces"
        if self.returncode is not None:
            state = f"ended with {self.returncode}"
        elif self.pid_inside == 1:
            state = "running as PID 1, which ignores signals without a handler, except SIGKILL and SIGSTOP"
        else:
            state = "running"
        rights = "".join(f"; {note}" for note in self.plan.notes)
        return f"<nsbox.Popen: {args} as process {self.pid} ({self.pid_inside} inside), {where}, {state}{rights}>"


def _group_of(uid: int) -> int:
    """Return the group of a user (passwd(5)); for a user without an entry the number of the user."""
    try:
        return pwd.getpwuid(uid).pw_gid
    except (KeyError, OverflowError):
        return uid


def _kernel_id(argument: str, value: int, error: type[Exception] = OverflowError) -> int:
    """Check that a number is a user or group id: the last value means "none". `subprocess` raises the same classes."""
    if not 0 <= value < 2**32 - 1:
        raise error(f"{argument}: {value} is no user or group id")
    return value
