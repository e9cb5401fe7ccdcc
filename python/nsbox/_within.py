"""A function of ours, called in a forked child inside a box: `Within`.

    the caller
    └── keeper      enters the box's user and PID namespaces, forks, adopts orphans, ends what is left
        └── child   enters the others, and calls the function

Only a child can be in another PID namespace than its parent, so there are two forks. The keeper stays where /proc shows
all that the child starts, and ends with the caller, of whose process it holds a pidfd.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from nsbox import raw
from nsbox.errors import NsboxError
from nsbox.spec import KINDS

if TYPE_CHECKING:
    from nsbox.box import Box

__all__ = ["Within"]

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
_WHERE = signal.SIGRTMAX - 1
"""The signal on which the child writes down where it is."""
_WHERE_GRACE = 2.0
_END_GRACE = 5.0


class Within:
    """A call of a function in a child inside a box.

    >>> with Within(box, function) as within:
    ...     status = within.wait()

    Leaving the ``with`` block ends the child and what it has started. The child is a copy of this process with one
    thread, so the function must not need the others. It does not return: what it has to say goes through a descriptor.

    Attributes:
        keeper: The PID of the keeper.
        stack: Where the threads of the child were when it was ended; empty if it had ended by itself.
    """

    def __init__(self, box: Box, function: Callable[[], object]) -> None:
        """Remember what to do; an exception that the function raises makes the status 1."""
        self._box = box
        self._function = function
        self.keeper = 0
        self.stack = ""

    def __enter__(self) -> Self:
        """Start the child."""
        try:
            self._start()
        except BaseException:
            # A handler of a signal has raised. What the keeper waits for is closed by now.
            if self.keeper:
                self._reap()
            raise
        return self

    def _start(self) -> None:
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours, contextlib.ExitStack() as word:
            links = {kind: theirs.enter_context(self._box.open(path)).fileno() for kind, path in self._paths().items()}
            self._told, tell = os.pipe()
            held, hold = os.pipe()
            self._where = os.memfd_create("nsbox-where")
            caller = os.pidfd_open(os.getpid())
            for stack, fds in ((ours, (self._told, self._where)), (word, (hold,)), (theirs, (tell, held, caller))):
                for fd in fds:
                    stack.callback(os.close, fd)
            # What is in a buffer at the fork would be written twice.
            sys.stdout.flush()
            sys.stderr.flush()
            # Nothing may raise in the keeper before it is prepared: it would go on as a second caller.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                self.keeper = _fork()
                if self.keeper == 0:
                    _Keeper(links, self._function, tell, held, caller, self._where).run((self._told, hold), mask)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._fds, self._word = ours.pop_all(), word.pop_all()

    def _paths(self) -> dict[str, str]:
        """Return where nsbox-init finds its namespaces; it is outside of its time namespace (time_namespaces(7))."""
        links = {kind: KINDS[kind].link for kind in self._box.namespaces}
        return {
            kind: f"/proc/self/ns/{'time_for_children' if kind == 'time' else link}" for kind, link in links.items()
        }

    def wait(self) -> int:
        """Wait for the end of the child, and return its status, negative for a signal.

        Raises:
            NsboxError: when it could not enter a namespace, or the keeper was killed.
        """
        __tracebackhide__ = True
        poll = select.poll()
        poll.register(self._told, select.POLLIN)
        poll.poll()
        answer = os.read(self._told, select.PIPE_BUF)
        if not answer:
            raise NsboxError("the process that watches over the child was killed")
        said = json.loads(answer.splitlines()[0])
        if isinstance(said, str):
            raise NsboxError(said)
        return int(said)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child, wait for the keeper, and learn where the child was."""
        self._word.close()
        try:
            self._reap()
        except BaseException:
            # A handler of a signal has raised. The keeper takes its time, but not much.
            self._reap()
            raise
        finally:
            self.stack = os.pread(self._where, 1 << 20, 0).decode(errors="replace")
            self._fds.close()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.keeper, 0)


class _Keeper:
    """The process between the caller and the child."""

    def __init__(
        self, links: dict[str, int], function: Callable[[], object], tell: int, held: int, caller: int, where: int
    ) -> None:
        self.links = links
        self.function = function
        self.tell = tell
        self.held = held
        self.caller = caller
        self.where = where

    def run(self, others: tuple[int, ...], mask: set[int]) -> NoReturn:
        """Do all of it, with signals blocked: Ctrl-C is for the caller and the child."""
        status = 1
        try:
            _close(*others)
            # What the caller left unreferenced is not this process's business.
            gc.freeze()
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
            self.enter("user", "pid")
            child = _fork()
            if child == 0:
                self.be_child(mask)
            self.watch(child)
            status = 0
        except OSError as error:
            self.say(f"{error.strerror} ({error.filename or 'in the process that watches over the child'})")
        finally:
            os._exit(status)

    def enter(self, *kinds: str) -> None:
        for kind in kinds:
            if kind in self.links:
                try:
                    raw.setns(self.links.pop(kind))
                except OSError as error:
                    raise OSError(error.errno, error.strerror, f"setns into the {kind} namespace") from None

    def say(self, what: str | int) -> None:
        with contextlib.suppress(OSError):
            os.write(self.tell, json.dumps(what).encode() + b"\n")

    def be_child(self, mask: set[int]) -> NoReturn:
        status = 1
        try:
            directory = os.getcwd()
            self.enter(*list(self.links))
            with contextlib.suppress(OSError):
                os.chdir(directory)
            # Both are lost when capabilities are gained (prctl(2)), as by entering a user namespace.
            _prctl(_PR_SET_DUMPABLE, 1)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        except OSError as error:
            self.say(f"{error.strerror} ({error.filename or 'in the child'})")
            os._exit(status)
        try:
            faulthandler.register(_WHERE, file=self.where, all_threads=True)
            _close(self.tell, self.held, self.caller)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self.function()
            status = 0
        finally:
            os._exit(status)

    def watch(self, child: int) -> None:
        """Wait for the child, then for the caller's word; end what is left then."""
        pidfd = os.pidfd_open(child)
        poll = select.poll()
        for fd in (pidfd, self.caller, self.held):
            poll.register(fd, select.POLLIN)
        if pidfd in {fd for fd, _ in poll.poll()}:
            self.say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            poll.unregister(pidfd)
            poll.poll()
        else:
            self.ask_where(pidfd)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            # Before anything else, as its PID namespace cannot end while it has not been reaped (pid_namespaces(7)).
            os.waitpid(child, 0)
        _end_children()

    def ask_where(self, pidfd: int) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(pidfd, _WHERE)
        deadline = time.monotonic() + _WHERE_GRACE
        size = 0
        while time.monotonic() < deadline and (size == 0 or size != os.fstat(self.where).st_size):
            size = os.fstat(self.where).st_size
            time.sleep(0.02)


def _end_children() -> None:
    """Kill the children until there are none: their own children are adopted and become ours."""
    deadline = time.monotonic() + _END_GRACE
    while time.monotonic() < deadline:
        # As bytes: a codec may have to be imported, from where this user cannot read.
        with open("/proc/thread-self/children", "rb") as file:
            for pid in map(int, file.read().split()):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _fork() -> int:
    """Call fork(2), without Python's warning about threads, which is given for those who do not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), f"prctl({option}, {value})")
