"""`subprocess`, in namespaces: `Popen`, `run`, and the bare `fork_exec` under both."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Unpack

from nsbox import _core
from nsbox.errors import SpecError
from nsbox.launch import Argument, Environment, Launch, bare, candidates, environment, finish, inheritable, start
from nsbox.spec import Namespaces, Options, Spec, namespace_names, spec_of

__all__ = ["Popen", "fork_exec", "run"]

_OPTIONS = frozenset({"unshare", *Options.__annotations__})


def fork_exec(
    argv: Sequence[Argument],
    *,
    unshare: Namespaces = "mip",
    executable: Argument | None = None,
    env: Environment | None = None,
    cwd: Argument | None = None,
    stdin: int = -1,
    stdout: int = -1,
    stderr: int = -1,
    pass_fds: Sequence[int] = (),
    start_new_session: bool = False,
    controlling_terminal: bool = False,
    **options: Unpack[Options],
) -> _core.Child:
    """Start a program in new namespaces and return its bare handle: no pipes, no policy.

    The handle has ``pid``, ``pid_inside``, ``pidfd``, ``init_pid``, ``init_pidfd``, ``wait(timeout)``,
    ``send_signal(number)``, ``kill()`` and ``plan``. The process ends with the calling process, and when
    the handle is forgotten.

    Args:
        argv: The program and its arguments.
        unshare: The new namespaces; see `Spec`.
        executable: What to execute instead of ``argv[0]``.
        env: Its environment; the caller's own by default.
        cwd: Its working directory.
        stdin: The descriptor that becomes its standard input; -1 for the caller's own.
        stdout: The same for standard output.
        stderr: The same for standard error.
        pass_fds: Further descriptors it gets, under their own numbers.
        start_new_session: Whether it leads a new session (setsid(2)).
        controlling_terminal: Whether its standard input becomes its controlling terminal (ioctl_tty(2)).
        **options: Further options of `Spec`.

    Raises:
        SpecError: for arguments that make no sense.
        OSError: as `subprocess` for a program that cannot be executed.
        SpawnError: when another step failed.
    """
    spec = spec_of(unshare, options)
    launch, program = bare(
        argv,
        executable=executable,
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=start_new_session,
        controlling_terminal=controlling_terminal,
    )
    return start(spec, launch, program=program, cwd=cwd)


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen` with namespaces: the same arguments, methods and exceptions, plus the options of `Spec`.

    ``wait()`` and ``communicate()`` return when everything is over: with a new PID namespace, when no process of it is
    alive. ``kill()`` ends all of it at once. When the calling process dies, however it dies, so does all of it.

    Attributes:
        pid: The PID of the program as the caller sees it.
        pid_inside: Its PID in its own PID namespace.
        init_pid: The PID of nsbox-init, its parent.
        spec: What was asked for.
        plan: The steps by which it was started.
        namespaces: The names of its new namespaces.
        rusage: What it and its reaped children used (getrusage(2)), once it has ended.
    """

    pid_inside: int
    init_pid: int
    spec: Spec
    plan: _core.Plan
    namespaces: tuple[str, ...]
    rusage: resource.struct_rusage | None = None
    _nsbox_child: _core.Child | None = None

    def __init__(self, *args: Any, spec: Spec | None = None, **keywords: Any) -> None:
        """Start a program.

        Args:
            *args: As for `subprocess.Popen`.
            spec: The namespaces, instead of separate options.
            **keywords: As for `subprocess.Popen`, and the options of `Spec`.

        Raises:
            SpecError: for arguments that make no sense.
            OSError: as `subprocess.Popen`.
            SpawnError: when setting up the namespaces failed.
        """
        options: Any = {name: keywords.pop(name) for name in _OPTIONS & keywords.keys()}
        if spec is not None and options:
            raise SpecError(f"spec: cannot be combined with {', '.join(sorted(options))}")
        self.spec = spec_of(options.pop("unshare", "mip"), options) if spec is None else spec
        super().__init__(*args, **keywords)

    @property
    def pidfd(self) -> int:
        """A pidfd of the program (pidfd_open(2)); it belongs to this object."""
        return self._child.pidfd

    @property
    def _child(self) -> _core.Child:
        if self._nsbox_child is None:
            raise SpecError("nothing has been started")
        return self._nsbox_child

    # The private methods of subprocess.Popen that decide how a process is started and waited for. Their arguments are
    # subprocess's own business, and so are the types.

    def _execute_child(  # type: ignore[no-untyped-def]
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, restore_signals, gid, gids, uid, umask,
        start_new_session, process_group,
    ):  # fmt: skip
        if preexec_fn is not None:
            raise SpecError("preexec_fn: cannot be called between the clone and the exec, where there is no Python")
        if process_group > 0 and "pid" in namespace_names(self.spec.unshare):
            raise SpecError(
                "process_group: a group of the caller has no number in a new PID namespace; 0 makes a new one"
            )
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
        stdio = (p2cread, c2pwrite, errwrite)
        launch = Launch(
            paths=candidates(executable, env),
            argv=tuple(map(os.fsencode, args)),
            env=environment(env),
            cwd=None if cwd is None else os.fsencode(cwd),
            stdio=stdio,
            pass_fds=tuple(sorted(set(pass_fds))) if close_fds else inheritable(stdio),
            close_fds=close_fds,
            restore_signals=restore_signals,
            start_new_session=start_new_session,
            process_group=None if process_group == -1 else process_group,
            umask=None if umask < 0 else umask,
            groups=None if gids is None else tuple(_kernel_id("extra_groups", group, ValueError) for group in gids),
            gid=None if gid is None else _kernel_id("group", gid),
            uid=None if uid is None else _kernel_id("user", uid),
        )
        self._nsbox_child = child = self._start(launch, executable, cwd)
        try:
            self.plan, self.namespaces = child.plan, tuple(child.plan.namespaces)
            self.pid, self.pid_inside, self.init_pid = child.pid, child.pid_inside, child.init_pid
            self._child_created = True
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]
        except BaseException:
            # A handler of a signal has raised; nobody has this object yet, so nobody else could end it.
            self._end()
            raise

    def _start(self, launch: Launch, program: Argument, cwd: Argument | None) -> _core.Child:
        """Start what has been made ready. A subclass that starts differently replaces this and nothing else."""
        return start(self.spec, launch, program=program, cwd=cwd)

    def _end(self) -> None:
        """Kill what still runs, and wait for its end."""
        if self._nsbox_child is not None and self.returncode is None:
            self._nsbox_child.kill()
            self._learn(self._nsbox_child.wait())

    def _internal_poll(self, _deadstate: int | None = None, **_: object) -> int | None:
        if self.returncode is None:
            try:
                self._learn(self._child.wait(0))
            except ChildProcessError:
                # In a child of os.fork. As in subprocess, __del__ passes what to take for the return code then.
                self.returncode = _deadstate
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None and not self._learn(self._child.wait(timeout)):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def _learn(self, end: _core.Exit | None) -> bool:
        if end is None:
            return False
        if end.rusage is not None:
            user, system, counts = end.rusage
            self.rusage = resource.struct_rusage((user, system, *counts))
        self.returncode = end.returncode
        return True

    def send_signal(self, sig: int) -> None:
        """Send a signal to the program through its pidfd; SIGKILL ends everything (pidfd_send_signal(2))."""
        self.poll()
        if self.returncode is not None:
            return
        if sig == signal.SIGKILL:
            self._child.kill()
        else:
            self._child.send_signal(sig)

    def __repr__(self) -> str:
        """Say what runs, under which numbers, and where."""
        args = repr(list(self.args) if not isinstance(self.args, str | bytes | os.PathLike) else self.args)
        if self._nsbox_child is None:
            return f"<nsbox.Popen: {args}, not started>"
        state = "running" if self.returncode is None else f"ended with {self.returncode}"
        where = f"in new {', '.join(self.namespaces)} namespaces" if self.namespaces else "in the caller's namespaces"
        return f"<nsbox.Popen: {args} as process {self.pid} ({self.pid_inside} inside), {where}, {state}>"


def _kernel_id(argument: str, value: int, error: type[Exception] = OverflowError) -> int:
    """Check that a number fits the kernel's ids, whose last value means "none". `subprocess` raises these classes."""
    if not 0 <= value < 2**32 - 1:
        raise error(f"{argument}: {value} is no user or group id")
    return value


def run(
    *args: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **keywords: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program in new namespaces and return when nothing of it is alive: `subprocess.run` with namespaces.

    Args:
        *args: As for `subprocess.run`.
        input: Bytes or text for its standard input.
        capture_output: Whether standard output and error are captured.
        timeout: Seconds after which everything is killed.
        check: Whether a return code other than 0 is an error.
        **keywords: As for `subprocess.run`, and the options of `Spec`.

    Raises:
        subprocess.TimeoutExpired: with the output so far.
        subprocess.CalledProcessError: with `check`, for a return code other than 0.
        SpecError: for arguments that make no sense.
        OSError: as `subprocess.run`.
        SpawnError: when setting up the namespaces failed.
    """
    if len(args) == 1 and input is None and not capture_output and timeout is None and keywords.keys() <= _OPTIONS:
        returncode = _run_unattended(args[0], **keywords)
        if check and returncode:
            raise subprocess.CalledProcessError(returncode, args[0])
        return subprocess.CompletedProcess(args[0], returncode)
    return complete(Popen, *args, input=input, capture_output=capture_output, timeout=timeout, check=check, **keywords)


def complete(
    kind: type[Popen],
    *args: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **keywords: Any,
) -> subprocess.CompletedProcess[Any]:
    """Do what `run` does by a `Popen` of this kind, all other arguments being its own."""
    if input is not None:
        if keywords.get("stdin") is not None:
            raise SpecError("input: cannot be combined with stdin")
        keywords["stdin"] = subprocess.PIPE
    if capture_output:
        if keywords.get("stdout") is not None or keywords.get("stderr") is not None:
            raise SpecError("capture_output: cannot be combined with stdout or stderr")
        keywords["stdout"] = keywords["stderr"] = subprocess.PIPE
    # Bound to a name before anything is started: wherever a handler of a signal raises, what has been started is ended.
    process = kind.__new__(kind)
    try:
        process.__init__(*args, **keywords)  # type: ignore[misc]
        with process:
            try:
                stdout, stderr = process.communicate(input, timeout=timeout)
            except BaseException:
                # Leaving the with block waits for the end of everything.
                process.kill()
                raise
    finally:
        process._end()
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, output=stdout, stderr=stderr)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _run_unattended(args: Any, unshare: Namespaces = "mip", **options: Unpack[Options]) -> int:
    """Run a program that needs nothing from us while it runs: what `Popen` does for it is then half of the work."""
    argv = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
    program = argv[0]
    sys.audit("subprocess.Popen", program, argv, None, None)
    launch = Launch(paths=candidates(program, None), argv=tuple(map(os.fsencode, argv)))
    return finish(spec_of(unshare, options), launch, program=program).returncode
