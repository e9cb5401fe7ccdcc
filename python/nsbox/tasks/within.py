"""Call a function of this process in a forked child inside a box: `Within`.

    the caller
    └── child       enters the box, and calls the function (`nsbox.tasks.entry`)

In a box with a PID namespace, the end of the box ends all that the child has started. Without one there is a process
between the two that does it (`nsbox.tasks.keeper`):

    the caller
    └── keeper      stays outside; adopts orphans, kills leftover processes
        └── child
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nsbox import _core, raw
from nsbox.errors import NsboxError
from nsbox.records.names import safe_lines
from nsbox.spec.kinds import KINDS
from nsbox.tasks import keeper
from nsbox.tasks.entry import Entry

if TYPE_CHECKING:
    from nsbox.box.box import Box

__all__ = ["Within"]

_END_SECONDS = 5.0
"""The longest wait for killed processes."""


class Within:
    """A call of a function in a child inside a box.

    >>> with Within(box, function) as within:
    ...     status = within.wait()

    Leaving the ``with`` block ends the child, and in a box without a PID namespace all processes that it has started;
    with one these end with the box. The child is a copy of this process with one thread, so the function must not need
    other threads. Its return value is lost: results must be written to a descriptor or to shared memory.

    Attributes:
        child: The PID of the child; 0 if there is a keeper.
        keeper: The PID of the keeper; 0 if there is none.
        stack: The stacks of the child's threads when it was killed; empty if it had exited by itself.
    """

    def __init__(
        self,
        box: Box,
        function: Callable[[], object],
        *,
        ids: tuple[int, int] | None = None,
        directory: bytes | None = None,
    ) -> None:
        """Start nothing yet. If the function raises an exception, the status will be 1.

        Args:
            box: The box.
            function: What the child calls.
            ids: The user and the group inside that the child becomes; by default those of programs of the box.
            directory: Its working directory; by default the current one of the caller, if it is there in the box.
        """
        self._box = box
        self._function = function
        self._ids = ids
        self._directory = directory
        self._pid_namespace = -1
        self.child = self.keeper = 0
        self._pidfd = -1
        self._status: int | None = None
        self.stack = ""

    def __enter__(self) -> Self:
        """Start the child."""
        self._stack_file = os.memfd_create("nsbox-stack")
        self._closing = contextlib.ExitStack()
        try:
            self._start()
        except BaseException:
            # A signal handler may have raised.
            self._end()
            raise
        return self

    def _start(self) -> None:
        with contextlib.ExitStack() as theirs:
            links = {
                kind: theirs.enter_context(self._box._open_own(path, link=True)).fileno()
                for kind, path in self._paths().items()
            }
            own = []
            if "pid" in links:
                self._pid_namespace = os.dup(links["pid"])
                self._closing.callback(os.close, self._pid_namespace)
                own.append(self._pid_namespace)
            self._result, result_writer = os.pipe()
            self._closing.callback(os.close, self._result)
            theirs.callback(os.close, result_writer)
            entry = Entry(
                box=self._box,
                function=self._function,
                links=links,
                ids=self._ids,
                directory=self._directory,
                error=result_writer,
                stack=self._stack_file,
                others=[self._result, *own],
                rule=_core.landlock_rule(self._box.spec, self._box.plan),
            )
            # Text that is in a buffer at the fork would be written twice.
            sys.stdout.flush()
            sys.stderr.flush()
            # An exception in a child before its function is called would make it a second copy of the caller.
            entry.mask = _core.block_signals()
            try:
                if "pid" in links:
                    self._fork(entry)
                else:
                    self._fork_keeper(entry, theirs)
            finally:
                _core.set_signal_mask(entry.mask)

    def _fork(self, entry: Entry) -> None:
        try:
            self.child = entry.fork()
        except OSError as error:
            sent = self._sent()
            raise NsboxError(sent if isinstance(sent, str) else f"{error.strerror} ({error.filename})") from None
        self._closing.callback(os.close, entry.start_writer)
        self._pidfd = os.pidfd_open(self.child)
        self._closing.callback(os.close, self._pidfd)

    def _fork_keeper(self, entry: Entry, theirs: contextlib.ExitStack) -> None:
        lifeline, self._lifeline = os.pipe()
        theirs.callback(os.close, lifeline)
        caller = os.pidfd_open(os.getpid())
        theirs.callback(os.close, caller)
        entry.others.clear()
        try:
            self.keeper = keeper.start(entry, caller, lifeline, (self._result, self._lifeline))
        except BaseException:
            os.close(self._lifeline)
            raise

    def _paths(self) -> dict[str, str]:
        """Return the links to the namespaces, as nsbox-init opens them. It is not in the new time namespace itself."""
        links = {kind: KINDS[kind].link for kind in self._box.namespaces}
        return {kind: f"self/ns/{'time_for_children' if kind == 'time' else link}" for kind, link in links.items()}

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the child has ended, and return its status, negative for a signal.

        Raises:
            As `wait_or_read`.
        """
        __tracebackhide__ = True
        status = self.wait_or_read(None, timeout)
        assert status is not None
        return status

    def wait_or_read(self, also: int | None, timeout: float | None = None) -> int | None:
        """Wait until the child has ended, or something can be read from a descriptor.

        Args:
            also: The descriptor, or None.
            timeout: Seconds to wait at most.

        Returns:
            The status of the child, negative for a signal; None if it has not ended.

        Raises:
            TimeoutError: when `timeout` has passed.
            NsboxError: when it could not enter a namespace, or the keeper was killed.
        """
        __tracebackhide__ = True
        if self._status is None:
            poll = select.poll()
            for fd in (self._pidfd if self.child else self._result, -1 if also is None else also):
                if fd >= 0:
                    poll.register(fd, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(None if timeout is None else max(timeout, 0) * 1000)}
            if not ready:
                raise TimeoutError
            if ready == {also}:
                return None
            self._status = self._status_of_child() if self.child else self._status_of_keeper()
        return self._status

    def _status_of_child(self) -> int:
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        except ChildProcessError:
            status = 0  # another thread has reaped it
        sent = self._sent()
        if isinstance(sent, str):
            self._status = status
            raise NsboxError(sent)
        return status

    def _status_of_keeper(self) -> int:
        sent = self._sent()
        if sent is None:
            raise NsboxError("the keeper, the parent process of the child, was killed")
        if isinstance(sent, str):
            raise NsboxError(sent)
        return sent

    def _sent(self) -> str | int | None:
        """Return what was sent: the error of a step, or the status of the child; None for nothing."""
        poll = select.poll()
        poll.register(self._result, select.POLLIN)
        data = os.read(self._result, select.PIPE_BUF) if poll.poll(0) else b""
        result: str | int | None = json.loads(data.splitlines()[0]) if data else None
        return result

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child, and read its stacks."""
        self._end()

    def _end(self) -> None:
        if self.keeper:
            os.close(self._lifeline)
        try:
            self._reap()
        except BaseException:
            # A signal handler has raised. The child or the keeper ends within seconds.
            self._reap()
            raise
        finally:
            # The child can write anything to this file.
            self.stack = safe_lines(os.pread(self._stack_file, 1 << 20, 0).decode(errors="surrogateescape"))
            os.close(self._stack_file)
            self._closing.close()

    def _reap(self) -> None:
        if self.child and self._status is None:
            keeper.write_stack(self._pidfd, self._stack_file)
            # Before the end of the box: a PID namespace ends when its processes are reaped (pid_namespaces(7)).
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        for pid in (self.child if self._status is None else 0, self.keeper):
            if pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        if self.child:
            self._end_siblings()

    def _end_siblings(self) -> None:
        """End the children that the child has given to this process (clone(2), CLONE_PARENT), and the box with them.

        As long as one of them is not reaped, the PID namespace does not end.
        """
        deadline = time.monotonic() + _END_SECONDS
        while (siblings := self._siblings()) and time.monotonic() < deadline:
            self._box.kill()
            if not any([_reap(pid) for pid in siblings]):
                time.sleep(0.01)

    def _siblings(self) -> list[int]:
        """Return the children of this process that are in the PID namespace of the box, besides its init."""
        found: list[int] = []
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children", "rb") as children:
                found += map(int, children.read().split())
        return [pid for pid in found if pid != self._box.pid and self._is_inside(pid)]

    def _is_inside(self, pid: int) -> bool:
        # A process can hide its links in /proc from an ordinary user (PR_SET_DUMPABLE(2const)).
        try:
            return raw.ns_get_pid_in_pidns(self._pid_namespace, pid) > 0
        except OSError as error:
            if error.errno == errno.ESRCH:
                return False
        with contextlib.suppress(OSError):  # before Linux 6.11
            return os.path.samestat(os.stat(f"/proc/{pid}/ns/pid"), os.fstat(self._pid_namespace))
        return False


def _reap(pid: int) -> bool:
    """Reap a child if it has ended; return whether it is gone."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
