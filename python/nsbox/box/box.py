"""Namespaces that live until they are closed, and the processes in them: `Box`."""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, Unpack

from nsbox import _core
from nsbox.box import popen
from nsbox.box.inside import BoxRequests
from nsbox.box.popen import BoxConnection, BoxPopen, sent_stdio
from nsbox.box.steps import Steps
from nsbox.errors import ClosedError, SpecError, WorkerDiedError
from nsbox.records.steps import StepResult, data_of
from nsbox.spec.kinds import Namespaces
from nsbox.spec.mounts import Bind, Overlay
from nsbox.spec.paths import path_of
from nsbox.spec.spec import Options, Spec, box_spec
from nsbox.start.completed import Completed
from nsbox.start.hardening import check_other_ids, inherited, within_masked
from nsbox.start.id_ranges import resolve
from nsbox.start.idmapped import idmapped
from nsbox.start.launch import Argument, Environment, ProgramOptions, cgroup_for, launch_of
from nsbox.start.shell import Shell
from nsbox.start.world import arranged

__all__ = ["Box", "Event", "StepResult", "Steps"]

Event = _core.Event
AnyBox: TypeAlias = "Box"
"""`Box`, for annotations in the class, where that name is its method."""

T = TypeVar("T")

_KILLED_BOX_SECONDS = 0.2
"""The time that a box takes to end after its processes were killed."""


class Box(BoxRequests):
    r"""Namespaces with nsbox-init as their init, in which programs can be started, and which can be changed.

    >>> with Box("mip") as box:
    ...     before = box.run(["ps", "-e"], capture_output=True, text=True).stdout
    ...     box.mount_proc()
    ...     after = box.run(["ps", "-e"], capture_output=True, text=True).stdout
    >>> len(after) < len(before)
    True

    Every program is a child of nsbox-init, which is PID 1 if the PID namespace is new. All processes of the box are
    ended when the ``with`` block is left, and when the calling process ends. Several threads can use a box at once.

    Attributes:
        spec: The namespaces as the caller asked for them.
        plan: The steps by which it was made.
    """

    spec: Spec
    _outer: Box | None = None
    """The box it is in, which it keeps open."""
    _cgroup: _core.Cgroup | None = None
    """The cgroup of its programs, for limits."""
    _switches: list[Any]
    """The switches (`nsbox.Switch`) that connect it, which it keeps open."""

    def __init__(
        self,
        unshare: Namespaces = "mip",
        *,
        cwd: Argument | None = None,
        reap: bool = True,
        trust: bool = False,
        spec: Spec | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Make the namespaces, and start nsbox-init in them.

        Args:
            unshare: The new namespaces; see `nsbox.Spec`.
            cwd: The working directory of programs that are started without one; by default the current one of the
                caller.
            reap: Whether orphans are reaped as soon as they end. With False they stay zombies until `reap` is called.
            trust: Whether only your own functions and programs run in it, so that results of `call` may be unpickled.
            spec: The namespaces, instead of separate options.
            **options: Further options of `nsbox.Spec`, except ``fork=False`` and ``init=False``.

        Raises:
            SpecError: for arguments that make no sense.
            SpawnError: when a step failed.
            UnsupportedError: when this kernel lacks a feature.
        """
        __tracebackhide__ = True
        self._open(None, box_spec(unshare, spec, options), cwd, reap, trust)

    def _open(self, outer: AnyBox | None, spec: Spec, cwd: Argument | None, reap: bool, trust: bool) -> None:
        __tracebackhide__ = True
        directory = None if cwd is None else path_of("cwd", cwd)
        facts = _core.facts() if outer is None else outer._facts()
        if outer is not None and outer._connection.directory is not None:
            # Something was mounted there since: the directory that its init has open may be hidden.
            directory = os.path.join(outer._connection.directory, directory or b"")
        mapped = outer is not None and outer._has_own_ids()
        if outer is not None:
            spec = within_masked(inherited(spec, outer.spec), outer.spec)
            if mapped and outer.plan.reaches_root:
                check_other_ids(spec)
        spec = resolve(spec, nested=outer is not None, mapped=mapped)
        # In a hardened box the same places of this machine are shown already.
        stranger = mapped and outer is not None and outer.spec.root is None
        spec = self.spec = arranged(spec, directory, stranger=stranger)
        if outer is not None and spec.limits is not None:
            raise SpecError("limits: a box inside another box shares its limits; give them to the outer box")
        made_in = None if outer is None else outer.plan
        self._outer = outer
        self._trust = trust
        self._directory = _path_inside(spec, facts.directory, directory)
        self._returncode = None
        self._later_steps = []
        self._switches = []
        with idmapped(spec, _core.copied_tree if outer is None else outer._copied_tree) as prepared:
            self._cgroup = cgroup_for(spec)
            plan = _core.compile_box(prepared, facts, directory, self._cgroup, outer is not None, made_in)
            self._handle = _core.open_box(plan, None if outer is None else outer._handle)
        self._connection = BoxConnection(self._handle, spec)
        if not reap:
            try:
                self._step(_core.Request.reap(False, False))
            except BaseException:
                self.close()
                raise

    @property
    def steps(self) -> Steps:
        """The system calls that made it and changed it since, with their results and how long each took."""
        times = dict(self._handle.times)
        made = [
            StepResult(
                step.name, step.actor, step.call, step.manual, step.why,
                microseconds=times[step.index] / 1000 if step.index in times else None,
                calls=data_of(step.calls),
            )
            for step in self.plan.steps
        ]  # fmt: skip
        return Steps(made + self._later_steps)

    @property
    def events(self) -> list[Event]:
        """Its events: processes that were started or have ended, orphans that were reaped, signals to init.

        The last 10,000 are kept. They are numbered. If there were too many between two reads, numbers are missing.

        Raises:
            ClosedError: in a child of os.fork.
        """
        self._check_own()
        return self._handle.events()

    # Running things

    def run(self, *args: Any, **keywords: Any) -> Completed[Any]:
        """Run a program in the box and wait until it has ended; arguments and exceptions are those of `subprocess.run`.

        Processes that the program leaves behind stay in the box.

        Raises:
            ClosedError: when the box has ended.
        """
        with self._in_use():
            return popen.run(self._connection, *args, **keywords)

    def Popen(self, *args: Any, **keywords: Any) -> BoxPopen:  # noqa: N802 - the name in subprocess
        """Start a program in the box; the arguments and exceptions are those of `subprocess.Popen`.

        Raises:
            ClosedError: when the box has ended.
        """
        with self._in_use():
            process = BoxPopen(*args, box=self._connection, **keywords)
        process._child.keep(self)
        return process

    def fork_exec(self, argv: Sequence[Argument], **options: Unpack[ProgramOptions]) -> _core.Child:
        """Start a program in the box and return its handle, which keeps the box open; see `nsbox.fork_exec`.

        Raises:
            ClosedError: when the box has ended.
        """
        child = self._fork_exec(argv, **options)
        child.keep(self)
        return child

    def _fork_exec(self, argv: Sequence[Argument], **options: Unpack[ProgramOptions]) -> _core.Child:
        launch, program = launch_of(argv, **options)
        launch.stdio = sent_stdio(launch.stdio)
        with self._in_use():
            return self._connection.start(launch, program=program, cwd=options.get("cwd"))

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
        """Call a Python function in the box, and return its result.

        The function runs in a worker, a process with the same Python interpreter and the same ``sys.path``, in the
        directory where the box starts its programs. The worker is started for the first call and kept for the next, so
        modules stay imported. Calls from several threads use one worker each. The output of the function and of its
        programs is printed here while it runs. Processes that it leaves behind stay in the box.

        The function and its arguments are sent by pickle. Lambdas and functions that are defined in a notebook need
        cloudpickle. The result is sent as data: numbers, texts, containers, dates, paths, records of nsbox, standard
        exceptions and arrays of numpy; docs/functions.md lists the types. Any program in the box can trace the worker
        and send a result of its own. Unpickling that would run its code here (pickle, "Warning"), so a result of
        another type is refused, unless the box was made with ``trust=True``.

        Args:
            function: The function to call.
            *args: Its arguments.
            fresh: Whether a worker is started for this call alone.
            timeout: Seconds after which the worker is killed.
            **kwargs: Its keyword arguments; for ``fresh`` and ``timeout`` of the function itself use
                `functools.partial`.

        Raises:
            Exception: what the function raises, with the traceback from inside as its cause.
            RemoteError: when the function raises an exception whose class would run code of its own here, or whose
                attributes are no data; docs/functions.md has the rule.
            SpecError: for arguments that make no sense, and for a function that is asynchronous or a generator.
            TransferError: when the function or an argument does not pickle, when the result is no plain data, or when
                what arrives is no reply to this call; then the worker is ended.
            CallTimeoutError: when `timeout` has passed.
            WorkerDiedError: when the worker ends before the function returns.
            ClosedError: when the box has ended.
        """
        __tracebackhide__ = True
        # Imported only here, as most boxes call no function.
        from nsbox.remote.pool import Workers  # noqa: PLC0415
        from nsbox.remote.protocol import check_call  # noqa: PLC0415

        check_call(function, timeout)
        workers: Workers = self.__dict__.setdefault("_workers", Workers())
        with self._in_use():
            try:
                reply = workers.call(self, function, args, kwargs, fresh, timeout, self._trust)
            except WorkerDiedError as error:
                if error.returncode == -signal.SIGKILL and self._is_ending():
                    raise ClosedError(f"{self!r} ended meanwhile") from None
                raise
        result: T = reply.result()
        return result

    def Box(  # noqa: N802 - the name of the class
        self,
        unshare: Namespaces = "mip",
        *,
        cwd: Argument | None = None,
        reap: bool = True,
        trust: bool = False,
        spec: Spec | None = None,
        **options: Unpack[Options],
    ) -> AnyBox:
        """Make a box inside this one. Its namespaces are made in those of this one, which own them.

        The arguments are those of `nsbox.Box`. The inner box ends with this one.

        Raises:
            ClosedError: when this box has ended.
            SpawnError: when a step failed; ENOSPC means the limit of 32 levels (namespaces(7)).
        """
        inner = Box.__new__(Box)
        with self._in_use():
            inner._open(self, box_spec(unshare, spec, options), cwd, reap, trust)
        inner._outer = self
        return inner

    def reap(self) -> StepResult:
        """Reap the orphans that have ended by now, as PID 1 must (wait(2)).

        Raises:
            ClosedError: when the box has ended.
        """
        return self._step(_core.Request.reap(False, True))

    # Ending it

    def kill(self) -> None:
        """Kill all its processes at once, by SIGKILL to PID 1 (pid_namespaces(7))."""
        if self.alive:
            self._handle.kill()
            self._was_killed = True

    def close(self) -> None:
        """Kill all its processes, and return when they have ended.

        Raises:
            NotEndedError: when they have not ended long after that.
        """
        try:
            if self._handle.is_own:
                self.kill()
                self.wait()
        finally:
            self._end_workers()
            for switch in self.__dict__.get("_switches", ()):
                switch._box_closed()

    def _end_workers(self) -> None:
        """End the workers of `call` that wait for the next call."""
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
        """Close a box that was not closed, with a ResourceWarning."""
        core: _core.Box | None = getattr(self, "_handle", None)
        # The copy of the object in a child of os.fork must not end the box.
        if core is not None and core.is_own and self.alive:
            try:
                warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            finally:
                # The warning may be an error, with which a hook may keep this object (sys.unraisablehook).
                self.close()

    def __repr__(self) -> str:
        """Show its namespaces, the PID of its init, and whether it is alive."""
        core = getattr(self, "_handle", None)
        if core is None:
            return "<nsbox.Box, not made>"
        kinds = ", ".join(self.namespaces)
        new = f"new {kinds} namespace{'s' * (len(self.namespaces) > 1)}" if kinds else "no new namespaces"
        if not core.is_own:
            return f"<nsbox.Box with {new}, of another process>"
        state = "alive" if self.alive else f"ended with {self._returncode}"
        init = "PID 1" if "pid" in self.namespaces else "its init"
        rights = "".join(f"; {note}" for note in self.plan.notes)
        return f"<nsbox.Box with {new}; {init} is process {self.pid}{rights}; {state}>"

    def _is_ending(self) -> bool:
        """Return whether the box has ended or is about to end: its processes die before its PID 1."""
        with contextlib.suppress(TimeoutError):
            self.wait(_KILLED_BOX_SECONDS)
        return not self.alive

    def _copied_tree(self, path: str, recursive: bool) -> _core.Descriptor:
        """Return a copy of what is mounted at a path in the box, for a bind with other owners."""
        if self._has_own_ids():
            raise SpecError(
                "idmap: the box has a user namespace, and only root outside of it can change owners; give the bind to "
                "that box"
            )
        if not self._has_own_mounts():
            return _core.copied_tree(path, recursive)
        return self._fetched(_core.Request.send_tree(os.fsencode(path), recursive))

    def _has_own_mounts(self) -> bool:
        """Return whether it, or a box around it, has a mount namespace."""
        return "mount" in self.namespaces or (self._outer is not None and self._outer._has_own_mounts())

    def _has_own_ids(self) -> bool:
        """Return whether the ids inside are others than the caller's: it, or a box around it, has a user namespace."""
        return "user" in self.namespaces or (self._outer is not None and self._outer._has_own_ids())

    def _facts(self) -> _core.Facts:
        """Return the ids and capabilities of nsbox-init, on which the plan of an inner box depends."""
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
            directory=None if self._directory is None else os.fsdecode(self._directory),
        )


def _path_inside(spec: Spec, current: os.PathLike[str] | str | None, asked: bytes | None) -> bytes | None:
    """Return the path of a box's working directory as its programs see it; None if it has none.

    Args:
        spec: The namespaces of the box.
        current: The working directory of the process that makes it.
        asked: The directory that the caller named.
    """
    is_new_root = isinstance(spec.root, bytes | Overlay) or (isinstance(spec.root, Bind) and spec.root.source != "/")
    before = "/" if is_new_root else current
    if before is None:
        return asked if asked is not None and asked.startswith(b"/") else None
    return os.path.join(os.fsencode(before), asked or b"")
