"""A living set of namespaces: `Box`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, Unpack

from nsbox import _core, resident
from nsbox.errors import ClosedError, NsboxError, SpawnError, SpecError, UnsupportedError
from nsbox.launch import Argument, Environment, bare
from nsbox.resident import House, ResidentPopen
from nsbox.shell import Shell
from nsbox.spec import KINDS, Namespaces, Options, Spec, spec_of

if TYPE_CHECKING:
    from nsbox.namespaces import Namespace

__all__ = ["Box", "Event", "StepResult"]

Event = _core.Event
AnyBox: TypeAlias = "Box"
"""`Box` where that name means its method."""

_PID_MAX_PER_NAMESPACE = (6, 14)
_MOUNT_FLAGS = {
    "ro": 0x1, "nosuid": 0x2, "nodev": 0x4, "noexec": 0x8, "remount": 0x20, "bind": 0x1000, "rbind": 0x5000,
    "move": 0x2000, "private": 0x40000, "slave": 0x80000, "shared": 0x100000, "rec": 0x4000,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that was carried out for a box.

    Attributes:
        name: Its name, such as ``"mount proc"``.
        actor: Who carried it out: ``"caller"`` or ``"init"``.
        call: The system call with its arguments.
        manual: The manual page that describes it.
        why: Why it was done.
        errno: 0, or the number of the error by which it failed (errno(3)).
        microseconds: How long it took; None where nsbox-init did not measure it.
    """

    name: str
    actor: str
    call: str
    manual: str
    why: str
    errno: int = 0
    microseconds: float | None = None

    def __str__(self) -> str:
        """Say what was done, how it ended, and how long it took."""
        result = "0" if not self.errno else f"-1 ({os.strerror(self.errno)})"
        took = "" if self.microseconds is None else f" <{self.microseconds:.0f} us>"
        return f"{self.actor:<8} {self.name:<16} {self.call} = {result}{took}"


class Box:
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
        self._open(None, _spec(unshare, spec, options), cwd, reap)

    def _open(self, outer: AnyBox | None, spec: Spec, cwd: Argument | None, reap: bool) -> None:
        self.spec = spec
        directory = None if cwd is None else _path("cwd", cwd)
        facts = _core.facts() if outer is None else outer._facts()
        plan = _core.compile_box(spec, facts, directory)
        self._handle = _core.open_box(plan, None if outer is None else outer._handle)
        self._house = House(self._handle, spec)
        self._ended: int | None = None
        self._later: list[StepResult] = []
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
    def steps(self) -> list[StepResult]:
        """What was done to make it, and for it since: the system calls, their results, and how long they took."""
        times = dict(self._handle.times)
        made = [
            StepResult(
                step.name, step.actor, step.call, step.manual, step.why,
                microseconds=times[step.index] / 1000 if step.index in times else None,
            )
            for step in self.plan.steps
        ]  # fmt: skip
        return made + self._later

    @property
    def events(self) -> list[Event]:
        """What happened in it: processes that were started, that ended, orphans that were reaped, signals to init.

        The last 10,000 are kept. They are numbered: if many came while nobody looked, some are missing.
        """
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
            inner._open(self, _spec(unshare, spec, options), cwd, reap)
        return inner

    # Changing it

    def mount_proc(self, target: Argument = "/proc") -> StepResult:
        """Mount a new proc, which shows the PID namespace of the box (proc(5)).

        Raises:
            SpecError: without a mount namespace of its own: the proc would cover the caller's.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("mount_proc", "mount")
        return self._errand(_core.Errand.mount_proc(_path("target", target)))

    def mount(
        self,
        source: Argument | None,
        target: Argument,
        fstype: str | None = None,
        flags: str = "",
    ) -> StepResult:
        """Mount something in the box (mount(2)).

        Args:
            source: What to mount; for a bind mount a path in the box.
            target: Where.
            fstype: The type of the file system.
            flags: Words with commas between: ``ro``, ``nosuid``, ``nodev``, ``noexec``, ``remount``, ``bind``,
                ``rbind``, ``move``, ``private``, ``slave``, ``shared``, ``rec``.

        Raises:
            SpecError: for unknown flags, and without a mount namespace of its own.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("mount", "mount")
        number = 0
        for word in flags.replace(",", " ").split():
            if word not in _MOUNT_FLAGS:
                raise SpecError(f"flags: {word!r} is none of {', '.join(_MOUNT_FLAGS)}")
            number |= _MOUNT_FLAGS[word]
        kind = None if fstype is None else _path("fstype", fstype)
        return self._errand(
            _core.Errand.mount(
                None if source is None else _path("source", source), _path("target", target), kind, number
            )
        )

    def unmount(self, target: Argument, *, detach: bool = False) -> StepResult:
        """Unmount something in the box (umount(2)).

        Args:
            target: Where it is mounted.
            detach: Whether it goes away at once, even if it is in use (MNT_DETACH).

        Raises:
            SpecError: without a mount namespace of its own.
            SpawnError: when the kernel refuses.
            ClosedError: when the box has ended.
        """
        self._needs("unmount", "mount")
        return self._errand(_core.Errand.unmount(_path("target", target), 2 if detach else 0))

    @property
    def hostname(self) -> str:
        """The host name in the box (uts_namespaces(7)). It can be set if the box has a UTS namespace of its own."""
        return self._read(b"/proc/sys/kernel/hostname")

    @hostname.setter
    def hostname(self, name: str) -> None:
        self._needs("hostname", "uts")
        self._errand(_core.Errand.hostname(os.fsencode(name)))

    @property
    def domainname(self) -> str:
        """The NIS domain name in the box. It can be set if the box has a UTS namespace of its own."""
        return self._read(b"/proc/sys/kernel/domainname")

    @domainname.setter
    def domainname(self, name: str) -> None:
        self._needs("domainname", "uts")
        self._errand(_core.Errand.domainname(os.fsencode(name)))

    @property
    def pid_max(self) -> int:
        """One more than the highest PID (proc_sys_kernel(5)). It can be set in a PID namespace of its own."""
        return int(self._read(b"/proc/sys/kernel/pid_max"))

    @pid_max.setter
    def pid_max(self, value: int) -> None:
        self._needs("pid_max", "pid")
        if _core.facts().kernel < _PID_MAX_PER_NAMESPACE:
            raise UnsupportedError(
                "pid_max: each PID namespace has its own since Linux 6.14; this one is the machine's"
            )
        if type(value) is not int:
            raise SpecError(f"pid_max: expected a number, got {value!r}")
        self._errand(_core.Errand.write(b"/proc/sys/kernel/pid_max", str(value).encode()))

    @property
    def loopback(self) -> bool:
        """Whether the loopback interface is up. It can be brought up in a network namespace of its own."""
        with self.open("/proc/self/net/fib_trie") as file:
            return b"127.0.0.1" in file.read()

    @loopback.setter
    def loopback(self, up: bool) -> None:
        self._needs("loopback", "net")
        if up is not True:
            raise SpecError("loopback: can only be brought up, by True")
        self._errand(_core.Errand.loopback())

    def open(self, path: Argument) -> Any:
        """Open a file for reading, as a binary file; nsbox-init opens it, so /proc shows the view of the box.

        Raises:
            SpawnError: when it cannot be opened.
            ClosedError: when the box has ended.
        """
        return os.fdopen(self._fetch(_core.Errand.open(_path("path", path))), "rb")

    def namespace(self, kind: str) -> Namespace:
        """Open one of its namespaces: nsbox-init does, since nobody else but root may look into that process.

        A box is also a target itself, for `nsbox.enter`, `nsbox.setns` and the option ``join``.

        Args:
            kind: A kind of namespace, such as ``"net"``.

        Returns:
            A new handle, which belongs to the caller.

        Raises:
            SpecError: for what is no kind.
            SpawnError: when it cannot be opened.
            ClosedError: when the box has ended.
        """
        if kind not in KINDS:
            raise SpecError(f"kind: {kind!r} is none of {', '.join(KINDS)}")
        # Not for everybody: it brings what hands descriptors to other processes.
        from nsbox.namespaces import Namespace  # noqa: PLC0415

        return Namespace(self._fetch(_core.Errand.open(f"/proc/self/ns/{KINDS[kind].link}".encode())))

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

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Turn the failures of a box that has ended into the error that says so."""
        if not self._handle.is_own:
            raise ClosedError(f"{self!r} cannot be used in a child of os.fork")
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

    def _facts(self) -> _core.Facts:
        """Return the situation of nsbox-init, as far as it matters to what it starts."""
        with self.open("/proc/self/status") as file:
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

    def _needs(self, argument: str, kind: str) -> None:
        if kind not in self.namespaces:
            raise SpecError(f"{argument}: the box has no {kind} namespace of its own; Box({KINDS[kind].letter!r}) has")

    def _perform(self, plan: _core.Plan) -> _core.Outcome:
        with self._in_use():
            return self._handle.perform(plan)

    def _errand(self, plan: _core.Plan) -> StepResult:
        (step,) = plan.steps

        def result(errno: int, microseconds: float | None) -> StepResult:
            done = StepResult(step.name, step.actor, step.call, step.manual, step.why, errno, microseconds)
            self._later.append(done)
            return done

        try:
            return result(0, self._perform(plan).nanoseconds / 1000)
        except SpawnError as error:
            result(error.errno or 0, None)
            raise

    def _read(self, path: bytes) -> str:
        data = self._perform(_core.Errand.read(path)).data
        return bytes(data or b"").decode(errors="surrogateescape").rstrip("\n")

    def _fetch(self, plan: _core.Plan) -> int:
        fd = self._perform(plan).fd
        if fd is None:
            raise NsboxError("nsbox-init sent no descriptor: the limit of open ones may be reached (RLIMIT_NOFILE)")
        return fd


def _spec(unshare: Namespaces, spec: Spec | None, options: Options) -> Spec:
    if spec is None:
        spec = spec_of(unshare, options)
    elif options:
        raise SpecError(f"spec: cannot be combined with {', '.join(sorted(options))}")
    if not (spec.fork and spec.init):
        raise SpecError("init: nsbox-init is what makes a box; Popen and Shell start a program as PID 1")
    if spec.join is not None:
        raise SpecError("join: a box is made of new namespaces; the method Box of a box makes one inside of it")
    return spec


def _path(argument: str, value: Argument) -> bytes:
    path = os.fsencode(value)
    if not path or b"\0" in path:
        raise SpecError(f"{argument}: {value!r} is no path")
    return path
