"""Call a function of this process in a forked child inside a box: `Within`.

    the caller
    └── keeper      stays outside; adopts the child and orphans, kills leftover processes
        └── forker  enters the box's user and PID namespaces, forks the child, and exits
            └── child   enters the other namespaces, waits until the forker has exited, and calls the function

Only a child can be in another PID namespace than its parent, and an ordinary user can enter a PID namespace only from
its user namespace (setns(2)). Root of that user namespace could trace what is in it, and all three have the memory of
the caller. So the keeper does not enter it, and the forker, which is not dumpable, is gone before the child calls the
function. The keeper stays in a mount namespace where /proc shows all processes that the child starts. It has a pidfd of
the caller, and exits with it. It has no other descriptors of the caller.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import gc
import json
import os
import random
import resource
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from nsbox import _core, raw
from nsbox.errors import NsboxError
from nsbox.records.names import safe_lines
from nsbox.spec.kinds import KINDS
from nsbox.spec.limits import RLIMITS, rlimits_of
from nsbox.start.stdlib_hooks import forget_fork_server
from nsbox.tasks.prctl import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl

if TYPE_CHECKING:
    from nsbox.box.box import Box

__all__ = ["Within"]

_STACK_SIGNAL = signal.SIGRTMAX - 1
"""The signal on which the child writes the stacks of its threads to a file (faulthandler)."""
_STACK_SECONDS = 2.0
_END_SECONDS = 5.0


class Within:
    """A call of a function in a child inside a box.

    >>> with Within(box, function) as within:
    ...     status = within.wait()

    Leaving the ``with`` block ends the child and all processes that it has started. The child is a copy of this process
    with one thread, so the function must not need other threads. Its return value is lost: results must be written to a
    descriptor.

    Attributes:
        keeper: The PID of the keeper.
        stack: The stacks of the child's threads when it was killed; empty if it had exited by itself.
    """

    def __init__(self, box: Box, function: Callable[[], object]) -> None:
        """Start nothing yet. If the function raises an exception, the status will be 1."""
        self._box = box
        self._function = function
        self.keeper = 0
        self.stack = ""

    def __enter__(self) -> Self:
        """Start the child."""
        self._stack_file = os.memfd_create("nsbox-stack")
        try:
            self._start()
        except BaseException:
            # A signal handler has raised. The pipe that the keeper polls is closed by now, so it exits.
            if self.keeper:
                self._reap()
            self._read_stack()
            raise
        return self

    def _start(self) -> None:
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours, contextlib.ExitStack() as lifeline:
            links = {
                kind: theirs.enter_context(self._box._open_own(path, link=True)).fileno()
                for kind, path in self._paths().items()
            }
            self._result, result_writer = os.pipe()
            lifeline_reader, lifeline_writer = os.pipe()
            caller = os.pidfd_open(os.getpid())
            for stack, fds in (
                (ours, (self._result,)),
                (lifeline, (lifeline_writer,)),
                (theirs, (result_writer, lifeline_reader, caller)),
            ):
                for fd in fds:
                    stack.callback(os.close, fd)
            # Text that is in a buffer at the fork would be written twice.
            sys.stdout.flush()
            sys.stderr.flush()
            # An exception in the keeper before `run` would make it continue as a second copy of the caller.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            random_state = random.getstate()
            try:
                self.keeper = _fork()
                if self.keeper == 0:
                    keeper = _Keeper(
                        links,
                        self._function,
                        result_writer,
                        lifeline_reader,
                        caller,
                        self._stack_file,
                        self._box,
                    )
                    keeper.random_state = random_state
                    keeper.run(mask, (self._result, lifeline_writer))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._fds, self._lifeline = ours.pop_all(), lifeline.pop_all()

    def _paths(self) -> dict[str, str]:
        """Return the links to the namespaces, as nsbox-init opens them. It is not in the new time namespace itself."""
        links = {kind: KINDS[kind].link for kind in self._box.namespaces}
        return {kind: f"self/ns/{'time_for_children' if kind == 'time' else link}" for kind, link in links.items()}

    def wait(self) -> int:
        """Wait until the child has ended, and return its status, negative for a signal.

        Raises:
            NsboxError: when it could not enter a namespace, or the keeper was killed.
        """
        __tracebackhide__ = True
        poll = select.poll()
        poll.register(self._result, select.POLLIN)
        poll.poll()
        data = os.read(self._result, select.PIPE_BUF)
        if not data:
            raise NsboxError("the keeper, the parent process of the child, was killed")
        result = json.loads(data.splitlines()[0])
        if isinstance(result, str):
            raise NsboxError(result)
        return int(result)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child, wait for the keeper, and read the stacks of the child."""
        self._lifeline.close()
        try:
            self._reap()
        except BaseException:
            # A signal handler has raised. The keeper exits within seconds.
            self._reap()
            raise
        finally:
            self._read_stack()
            self._fds.close()

    def _read_stack(self) -> None:
        # The child can write anything to this file.
        self.stack = safe_lines(os.pread(self._stack_file, 1 << 20, 0).decode(errors="surrogateescape"))
        os.close(self._stack_file)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.keeper, 0)


class _Keeper:
    """The process between the caller and the child; its methods are also those of the forker and the child."""

    random_state: object

    def __init__(
        self,
        links: dict[str, int],
        function: Callable[[], object],
        result: int,
        lifeline: int,
        caller: int,
        stack_file: int,
        box: Box,
    ) -> None:
        self.links = links
        self.rights = box.spec.hardened.rights()
        self.rule = _core.landlock_rule(box.spec, box.plan)
        self.plan = box.plan
        self.keep_caps = box.spec.keep_caps
        self.leads_session = box.spec.hardened.new_session
        self.rlimits = rlimits_of(box.spec.rlimits)
        self.function = function
        self.result = result
        self.lifeline = lifeline
        self.caller = caller
        self.stack_file = stack_file

    def run(self, mask: set[int], others: tuple[int, ...]) -> NoReturn:
        """Have the child forked and wait for it, with signals blocked: Ctrl-C is for the caller and the child."""
        status = 1
        try:
            # Garbage of the caller must not be collected here, as its finalizers would run in this process too.
            gc.freeze()
            _close(*others)
            prctl(PR_SET_CHILD_SUBREAPER, 1)
            # The forker sends the PID of the child. The child waits for this process to close its end of the other.
            pid_reader, pid_writer = os.pipe()
            start_reader, start_writer = os.pipe()
            forker = _fork()
            if forker == 0:
                _close(pid_reader, start_writer)
                self.be_forker(mask, pid_writer, start_reader)
            _close(pid_writer, start_reader)
            _close_all_but(self.result, self.lifeline, self.caller, self.stack_file, pid_reader, start_writer)
            sent = os.read(pid_reader, select.PIPE_BUF)
            os.waitpid(forker, 0)
            if sent:
                os.write(start_writer, b"s")
                self.watch(int(sent))
                status = 0
        except OSError as error:
            self.send(f"{error.strerror} ({error.filename or 'in the keeper, the parent process of the child'})")
        finally:
            os._exit(status)

    def be_forker(self, mask: set[int], pid: int, start: int) -> NoReturn:
        """Enter the namespaces that count for children, fork the child, and exit."""
        status = 1
        try:
            # As its memory belongs to the caller's user namespace, root of another one cannot trace it (ptrace(2)).
            prctl(PR_SET_DUMPABLE, 0)
            self.enter("user", "pid")
            # A change of capabilities may have set another value (proc_sys_fs(5), suid_dumpable).
            prctl(PR_SET_DUMPABLE, 0)
            child = _fork()
            if child == 0:
                os.close(pid)
                self.be_child(mask, start)
            with contextlib.suppress(BrokenPipeError):  # the keeper was killed; the child notices that, too
                os.write(pid, b"%d" % child)
            status = 0
        except OSError as error:
            self.send(f"{error.strerror} ({error.filename or 'in the forker, the parent process of the child'})")
        finally:
            os._exit(status)

    def enter(self, *kinds: str) -> None:
        for kind in kinds:
            if kind in self.links:
                try:
                    raw.setns(self.links[kind])
                except OSError as error:
                    raise OSError(error.errno, error.strerror, f"setns into the {kind} namespace") from None
                os.close(self.links.pop(kind))

    def send(self, result: str | int) -> None:
        with contextlib.suppress(OSError):
            os.write(self.result, json.dumps(result).encode() + b"\n")

    def be_child(self, mask: set[int], start: int) -> NoReturn:
        status = 1
        try:
            directory = os.getcwd()
            self.enter(*list(self.links))
            with contextlib.suppress(OSError):
                os.chdir(directory)
            if not os.read(start, 1):
                os._exit(status)  # the keeper is gone
            if self.leads_session:
                os.setsid()
            self.set_limits()
            _core.change_ids(self.plan.uid, self.plan.gid, self.plan.leaves_groups)
            if "user" in self.plan.namespaces:
                # The user namespace has given it all capabilities. An exec, which does not follow, would take them
                # from a process that is not root in it (capabilities(7)).
                _core.shed_privileges(self.keep_caps, False)
            if any(self.rights.values()):
                _core.give_up_rights(**self.rights, rule=self.rule)
            # From now on the keeper is the parent, whose end is the signal's reason. A change of ids clears both.
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            prctl(PR_SET_DUMPABLE, 1)
        except OSError as error:
            self.send(f"{error.strerror} ({error.filename or 'in the child'})")
            os._exit(status)
        try:
            poll = select.poll()
            poll.register(start, 0)
            if poll.poll(0):
                os._exit(status)  # it has ended before the signal was asked for
            faulthandler.register(_STACK_SIGNAL, file=self.stack_file, all_threads=True)
            _close(self.result, self.lifeline, self.caller, start)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            forget_fork_server()
            # After a fork Python seeds this generator anew. The function continues where the caller is.
            random.setstate(self.random_state)  # type: ignore[arg-type]
            self.function()
            status = 0
        finally:
            os._exit(status)

    def set_limits(self) -> None:
        for name, limits in self.rlimits:
            try:
                resource.setrlimit(RLIMITS[name], limits)
            except ValueError as error:
                # Only CAP_SYS_RESOURCE may raise a hard limit (getrlimit(2)).
                raise OSError(errno.EPERM, f"rlimits: {name}: {error}") from None

    def watch(self, child: int) -> None:
        """Wait until the child exits, then until the caller closes the lifeline; then kill all remaining processes."""
        pidfd = os.pidfd_open(child)
        poll = select.poll()
        for fd in (pidfd, self.caller, self.lifeline):
            poll.register(fd, select.POLLIN)
        if pidfd in {fd for fd, _ in poll.poll()}:
            self.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            poll.unregister(pidfd)
            poll.poll()
        else:
            self.write_stack(pidfd)
            os.kill(child, signal.SIGKILL)
            # Before the others: its PID namespace does not end before it is reaped (pid_namespaces(7)).
            os.waitpid(child, 0)
        _end_children()

    def write_stack(self, pidfd: int) -> None:
        """Have the child write its stacks, and wait until the file is complete."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(pidfd, _STACK_SIGNAL)
        deadline = time.monotonic() + _STACK_SECONDS
        size = 0
        while time.monotonic() < deadline and (size == 0 or size != os.fstat(self.stack_file).st_size):
            size = os.fstat(self.stack_file).st_size
            time.sleep(0.02)


def _end_children() -> None:
    """Kill all children until there are none: the children of a killed one become children of this process."""
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        # As bytes: text could need a codec to be imported, from a directory that this user cannot read.
        with open("/proc/thread-self/children", "rb") as file:
            for pid in map(int, file.read().split()):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _fork() -> int:
    """Call fork(2) without Python's warning about threads, as this fork takes them into account."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def _close_all_but(*kept: int) -> None:
    """Close all descriptors of this process but the standard ones and these. Nothing may use the others any more."""
    for name in os.listdir("/proc/thread-self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):  # that of the directory itself
                os.close(int(name))
