"""A living set of namespaces: `Box`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, Unpack

from nsbox import _core
from nsbox.box import popen as resident
from nsbox.box.inside import Surroundings
from nsbox.box.popen import House, ResidentPopen
from nsbox.box.steps import Steps
from nsbox.errors import ClosedError, SpawnError, SpecError, WorkerDiedError
from nsbox.records.steps import StepResult, data_of
from nsbox.spec.kinds import Namespaces
from nsbox.spec.paths import path_of
from nsbox.spec.spec import Options, Spec, box_spec
from nsbox.start.id_ranges import resolve
from nsbox.start.launch import Argument, Environment, bare, cgroup_for
from nsbox.start.shell import Shell

__all__ = ["Box", "Event", "StepResult", "Steps"]

Event = _core.Event
AnyBox: TypeAlias = "Box"
"""`Box` where that name means its method."""

T = TypeVar("T")

_DYING = 0.2
"""Seconds within which a box that is being killed is gone."""


class Box(Surroundings):
    r"""A living set of namespaces with nsbox-init as its init, in which programs are started, and which can be changed.

    >>> with Box("mip") as box:
    ...     before = box.run(["ps", "-e"], capture_output=True, text=True).stdout
    ...     box.mount_proc()
    ...     after = box.run(["ps", "-e"], capture_output=True, text=True).stdout
    >>> len(after) < len(before)
    True

    Every program is a child of nsbox-init (its parent has PID 1 in a new PID namespace). Leaving the ``with`` block,
    or the end of the calling process, ends everything in it. Several threads can use it at once.

    Attributes:
        spec: What was asked for.
        plan: The steps by which it was made.
    """

    spec: Spec
    _handle: _core.Box

    def __init__(
        self,
        unshare: Namespaces = "mip",
        *,
        cwd: Argument | None = None,
        reap: bool = True,
        spec: Spec | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Make the namespaces, and start nsbox-init in them.

        Args:
            unshare: The new namespaces; see `nsbox.Spec`.
            cwd: Where programs start unless they are told otherwise; by default the caller's directory of now.
            reap: Whether orphans are reaped as soon as they end. With False they stay zombies until `reap` is called.
            spec: The namespaces, instead of separate options.
            **options: Further options of `nsbox.Spec`, except ``fork=False`` and ``init=False``.

        Raises:
            SpecError: for arguments that make no sense.
            SpawnError: when a step failed.
            UnsupportedError: when this kernel lacks something.
        """
        self._open(None, box_spec(unshare, spec, options), cwd, reap)

    def _open(self, outer: AnyBox | None, spec: Spec, cwd: Argument | None, reap: bool) -> None:
        spec = self.spec = resolve(spec, nested=outer is not None)
        directory = None if cwd is None else path_of("cwd", cwd)
        facts = _core.facts() if outer is None else outer._facts()
        if outer is not None and spec.limits is not None:
            raise SpecError("limits: a box inside another one has that one's; give them to the outer one")
        plan = _core.compile_box(spec, facts, directory, cgroup_for(spec), outer is not None)
        self._ended: int | None = None
        self._later: list[StepResult] = []
        self._handle = _core.open_box(plan, None if outer is None else outer._handle)
        self._house = House(self._handle, spec)
        if not reap:
            try:
                self._errand(_core.Errand.reap(False, False))
            except BaseException:
                self.close()
                raise

    # What it is

    @property
    def pid(self) -> int:
        """The PID of nsbox-init as the caller sees it."""
        return self._handle.pid

    @property
    def pidfd(self) -> int:
        """A pidfd of nsbox-init (pidfd_open(2)); it belongs to this object."""
        return self._handle.pidfd

    @property
    def plan(self) -> _core.Plan:
        """The steps by which it was made."""
        return self._handle.plan

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names of its new namespaces."""
        return tuple(self._handle.plan.namespaces)

    @property
    def alive(self) -> bool:
        """Whether nsbox-init, and so the box, is there."""
        if self._ended is None and (end := self._handle.wait(0)):
            self._ended = end.returncode
        return self._ended is None

    @property
    def steps(self) -> Steps:
        """What was done to make it, and for it since: the system calls, their results, and how long they took."""
        times = dict(self._handle.times)
        made = [
            StepResult(
                step.name, step.actor, step.call, step.manual, step.why,
                microseconds=times[step.index] / 1000 if step.index in times else None,
                calls=data_of(step.calls),
            )
            for step in self.plan.steps
        ]  # fmt: skip
        return Steps(made + self._later)

    @property
    def events(self) -> list[Event]:
        """What happened in it: processes that were started, that ended, orphans that were reaped, signals to init.

        The last 10,000 are kept. They are numbered: if many came while nobody looked, some are missing.

        Raises:
            ClosedError: in a child of os.fork.
        """
        self._check_own()
        return self._handle.events()

    # Running things

    def run(self, *args: Any, **keywords: Any) -> subprocess.CompletedProcess[Any]:
        """Run a program in the box and wait for its end; the arguments and exceptions are those of `subprocess.run`.

        What the program leaves behind lives on in the box.

        Raises:
            ClosedError: when the box has ended.
        """
        with self._in_use():
            return resident.run(self._house, *args, **keywords)

    def Popen(self, *args: Any, **keywords: Any) -> ResidentPopen:  # noqa: N802 - the name everyone knows
        """Start a program in the box; the arguments and exceptions are those of `subprocess.Popen`.

        Raises:
            ClosedError: when the box has ended.
        """
        with self._in_use():
            return ResidentPopen(*args, house=self._house, **keywords)

    def fork_exec(
        self,
        argv: Sequence[Argument],
        *,
        executable: Argument | None = None,
        env: Environment | None = None,
        cwd: Argument | None = None,
        stdin: int = -1,
        stdout: int = -1,
        stderr: int = -1,
        pass_fds: Sequence[int] = (),
        start_new_session: bool = False,
        controlling_terminal: bool = False,
    ) -> _core.Child:
        """Start a program in the box and return its bare handle; see `nsbox.fork_exec`.

        Raises:
            ClosedError: when the box has ended.
        """
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
        with self._in_use():
            return resident.start(self._house, launch, program=program, cwd=cwd)

    def shell(
        self,
        shell: str | os.PathLike[str] | None = None,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Environment | None = None,
        columns: int = 80,
        timeout: float | None = 60,
    ) -> Shell:
        """Start an interactive shell in the box, as a child of its init; see `nsbox.Shell`.

        Raises:
            ClosedError: when the box has ended.
        """
        return Shell._within(self.fork_exec, shell=shell, cwd=cwd, env=env, columns=columns, timeout=timeout)

    def call(
        self,
        function: Callable[..., T],
        /,
        *args: Any,
        fresh: bool = False,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> T:
        """Call a Python function in the box, and return what it returns.

        A Python like this one carries it out, with this one's ``sys.path``, in the directory where the box starts its
        programs. It is started for the first call and kept for the next, so modules stay imported; calls from several
        threads have one each. What the function prints, and what its programs write, is printed here while it runs.
        What it starts and leaves behind lives on in the box.

        The function, its arguments and the result travel by pickle; functions of a notebook and lambdas need
        cloudpickle. So the result is as trustworthy as the function: unpickling can run any code (pickle, "Warning").

        Args:
            function: What to call.
            *args: Its arguments.
            fresh: Whether a Python is started for this call alone.
            timeout: Seconds after which the Python that carries it out is killed.
            **kwargs: Its keyword arguments; `functools.partial` gives it those that have a meaning here.

        Raises:
            Exception: what the function raises, with the traceback from inside as its cause.
            SpecError: for arguments that make no sense.
            TransferError: when the function, an argument or the result does not pickle or unpickle.
            CallTimeoutError: when the time is over.
            WorkerDiedError: when the Python that carries it out ends.
            ClosedError: when the box has ended.
        """
        # Only those who call functions pay for what that takes.
        from nsbox.remote.exchange import result_of  # noqa: PLC0415
        from nsbox.remote.pool import Workers  # noqa: PLC0415
        from nsbox.remote.protocol import check_call  # noqa: PLC0415

        check_call(function, timeout)
        workers: Workers = self.__dict__.setdefault("_workers", Workers())
        with self._in_use():
            try:
                answer = workers.call(self, function, args, kwargs, fresh, timeout)
            except WorkerDiedError as error:
                if error.returncode == -signal.SIGKILL and self._is_ending():
                    raise ClosedError(f"{self!r} ended meanwhile") from None
                raise
        result: T = result_of(function, answer)
        return result

    def Box(  # noqa: N802 - the name everyone knows
        self,
        unshare: Namespaces = "mip",
        *,
        cwd: Argument | None = None,
        reap: bool = True,
        spec: Spec | None = None,
        **options: Unpack[Options],
    ) -> AnyBox:
        """Make a box inside this one: its namespaces are made in, and owned by, those of this one.

        The arguments are those of `nsbox.Box`. It ends with this one.

        Raises:
            ClosedError: when this box has ended.
            SpawnError: when a step failed; ENOSPC is the limit of 32 levels (namespaces(7)).
        """
        inner = Box.__new__(Box)
        with self._in_use():
            inner._open(self, box_spec(unshare, spec, options), cwd, reap)
        return inner

    def reap(self) -> StepResult:
        """Reap the orphans that have ended by now: the duty of PID 1 (wait(2)).

        Raises:
            ClosedError: when the box has ended.
        """
        return self._errand(_core.Errand.reap(False, True))

    # Ending it

    def kill(self) -> None:
        """End everything in it at once: SIGKILL to PID 1 (pid_namespaces(7))."""
        if self.alive:
            self._handle.kill()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            The exit status of nsbox-init, negative for a signal.

        Raises:
            TimeoutError: when it still lives.
        """
        if self._ended is None:
            end = self._handle.wait(timeout)
            if end is None:
                raise TimeoutError(f"{self!r} has not ended in {timeout} seconds")
            self._ended = end.returncode
        return self._ended

    def close(self) -> None:
        """End everything in it, and return when nothing of it is alive."""
        if self._handle.is_own:
            self.kill()
            self.wait()
        if (workers := self.__dict__.get("_workers")) is not None:
            workers.close()

    def __enter__(self) -> Self:
        """Return the box itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __del__(self) -> None:
        """Complain about a box that was forgotten, and close it."""
        core: _core.Box | None = getattr(self, "_handle", None)
        # In a child of os.fork it is not ours to end.
        if core is not None and core.is_own and self.alive:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        """Say what it is, and whether it lives."""
        kinds = ", ".join(self.namespaces)
        new = f"new {kinds} namespace{'s' * (len(self.namespaces) > 1)}" if kinds else "no new namespaces"
        core = getattr(self, "_handle", None)
        if core is None:
            return "<nsbox.Box, not made>"
        if not core.is_own:
            return f"<nsbox.Box with {new}, of another process>"
        state = "alive" if self.alive else f"ended with {self._ended}"
        init = "PID 1" if "pid" in self.namespaces else "its init"
        return f"<nsbox.Box with {new}; {init} is process {self.pid}; {state}>"

    # Within

    def _perform(self, plan: _core.Plan) -> _core.Outcome:
        with self._in_use():
            return self._handle.perform(plan)

    def _note(self, step: StepResult) -> None:
        self._later.append(step)

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Turn the failures of a box that has ended into the error that says so."""
        self._check_own()
        if not self.alive:
            raise ClosedError(f"{self!r} cannot be used any more")
        try:
            yield
        except SpawnError as error:
            if error.step == "request" and not self._handle.is_stopped:
                with contextlib.suppress(TimeoutError):
                    self.wait(1)
                raise ClosedError(f"{self!r} ended meanwhile") from None
            raise

    def _check_own(self) -> None:
        if not self._handle.is_own:
            raise ClosedError(f"{self!r} cannot be used in a child of os.fork")

    def _is_ending(self) -> bool:
        """Whether the box has ended or is about to: what runs in it dies before its PID 1 is gone."""
        with contextlib.suppress(TimeoutError):
            self.wait(_DYING)
        return not self.alive

    def _facts(self) -> _core.Facts:
        """Return the situation of nsbox-init, as far as it matters to what it starts."""
        with self._open_own("self/status") as file:
            fields = dict(line.split(b":", 1) for line in file.read().splitlines())
        ours = _core.facts()
        return _core.Facts(
            euid=int(fields[b"Uid"].split()[1]),
            egid=int(fields[b"Gid"].split()[1]),
            effective=int(fields[b"CapEff"], 16),
            permitted=int(fields[b"CapPrm"], 16),
            sigmask=ours.sigmask,
            kernel=ours.kernel,
        )
