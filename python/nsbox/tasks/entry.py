"""The start of a function in a forked child inside a box: what the child does before it calls the function.

    the parent      enters the box's PID namespace for its children, forks, and is where it was
    └── child       enters the other namespaces, gives up rights, and calls the function

Only a child can be in another PID namespace than its parent, and an ordinary user can enter a PID namespace only from
its user namespace (setns(2)), which cannot be left. Then there is a process between the two:

    the parent      adopts the child
    └── forker      enters the box's user and PID namespaces, forks the child, and exits
        └── child   waits until the forker has exited

Root of that user namespace could trace what is in it, and the forker has the memory of the parent. So the forker is not
dumpable (PR_SET_DUMPABLE(2const)), and is gone before the child calls the function.
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
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from nsbox import _core, raw
from nsbox.spec.limits import RLIMITS, rlimits_of
from nsbox.start.stdlib_hooks import forget_fork_server

if TYPE_CHECKING:
    from nsbox.box.box import Box

__all__ = ["STACK_SIGNAL", "Entry", "fork"]

STACK_SIGNAL = signal.SIGRTMAX - 1
"""The signal on which the child writes the stacks of its threads to a file (faulthandler)."""


@dataclass(kw_only=True)
class Entry:
    """What the processes of a start have in common.

    Attributes:
        box: The box.
        function: What the child calls.
        links: Descriptors of the box's namespaces, by kind.
        ids: The user and the group that the child becomes inside; None for those that programs of the box have.
        directory: Its working directory; None for that of the parent.
        error: The descriptor to which a text is written, as JSON, if a step fails.
        stack: The descriptor of the file for stacks.
        others: Descriptors of the parent that the child closes.
        mask: The signal mask of the child.
    """

    box: Box
    function: Callable[[], object]
    links: dict[str, int]
    ids: tuple[int, int] | None
    directory: bytes | None
    error: int
    stack: int
    others: list[int] = field(default_factory=list)
    mask: int = 0
    rule: Any = None
    """The Landlock rule of the box."""
    _random_state: Any = field(default_factory=random.getstate)
    _start: tuple[int, int] = (-1, -1)
    """A pipe: the child starts when something was written, and ends with its parent, which has the other end."""

    def fork(self) -> int:
        """Fork the child, with all signals blocked, and return its PID. The calling process is its parent.

        Raises:
            OSError: when the kernel refuses a step.
        """
        self._start = os.pipe()
        try:
            child = self._fork_directly()
            if child is None:
                child = self._fork_by_forker()
            os.write(self._start[1], b"s")
        except BaseException:
            os.close(self._start[1])
            raise
        finally:
            os.close(self._start[0])
        return child

    @property
    def start_writer(self) -> int:
        """The descriptor by which the child notices the end of its parent, which has to keep it open."""
        return self._start[1]

    def _fork_directly(self) -> int | None:
        """Fork the child; return None where the PID namespace can be entered only from its user namespace."""
        link = self.links.get("pid")
        if link is None:
            return self._fork_child()
        own = os.open("/proc/thread-self/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                raw.setns(link)
            except OSError as error:
                if error.errno != errno.EPERM:
                    raise
                return None
            # The child is in it already.
            self.others += [own, self.links.pop("pid")]
            try:
                return self._fork_child()
            finally:
                raw.setns(own)
        finally:
            os.close(own)

    def _fork_by_forker(self) -> int:
        reader, writer = os.pipe()
        # The parent adopts the child when the forker exits.
        adopts = _core.is_child_subreaper()
        if not adopts:
            _core.set_child_subreaper(True)
        try:
            forker = fork()
            if forker == 0:
                self.others += [reader]
                self._be_forker(writer)
            os.close(writer)
            sent = os.read(reader, select.PIPE_BUF)
            os.waitpid(forker, 0)
        finally:
            os.close(reader)
            if not adopts:
                _core.set_child_subreaper(False)
        if not sent:
            raise ChildProcessError(errno.ECHILD, "the forker, the parent process of the child, has ended")
        return int(sent)

    def _be_forker(self, pid: int) -> NoReturn:
        """Enter the namespaces that count for children, fork the child, and exit."""
        status = 1
        try:
            # As its memory belongs to the caller's user namespace, root of another one cannot trace it (ptrace(2)).
            _core.set_dumpable(False)
            self._enter("user", "pid")
            # A change of capabilities may have set another value (proc_sys_fs(5), suid_dumpable).
            _core.set_dumpable(False)
            self.others.append(pid)
            child = self._fork_child()
            with contextlib.suppress(BrokenPipeError):  # the parent was killed; the child notices that, too
                os.write(pid, b"%d" % child)
            status = 0
        except OSError as error:
            self._report(error, "in the forker, the parent process of the child")
        finally:
            os._exit(status)

    def _fork_child(self) -> int:
        child = fork()
        if child == 0:
            self._be_child()
        return child

    def _be_child(self) -> NoReturn:
        status = 1
        try:
            # The garbage of the parent must not be collected here: its finalizers are for the parent.
            gc.freeze()
            for fd in (*self.others, self._start[1]):
                os.close(fd)
            self._set_up()
        except BaseException as error:  # it must not get to the frames of the parent
            self._report(error, "in the child")
            os._exit(status)
        try:
            poll = select.poll()
            poll.register(self._start[0], 0)
            if poll.poll(0):
                os._exit(status)  # it has ended before the signal was asked for
            faulthandler.register(STACK_SIGNAL, file=self.stack, all_threads=True)
            os.close(self.error)
            os.close(self._start[0])
            _core.set_signal_mask(self.mask)
            forget_fork_server()
            # After a fork Python seeds this generator anew. The function continues where the parent is.
            random.setstate(self._random_state)
            self.function()
            status = 0
        finally:
            os._exit(status)

    def _set_up(self) -> None:
        """Enter the namespaces, and take the rights that a program of the box has."""
        directory = self.directory or os.getcwdb()
        limits = self.box._cgroup and os.open(f"{self.box._cgroup.path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        if limits is not None:
            os.write(limits, b"0")
            os.close(limits)
        self._enter(*list(self.links))
        if self.directory is not None:
            os.chdir(directory)
        else:
            with contextlib.suppress(OSError):
                os.chdir(directory)
        if not os.read(self._start[0], 1):
            os._exit(1)  # the parent is gone
        if self.box.spec.hardened.new_session:
            os.setsid()
        elif not os.isatty(0):
            # The process group of the parent is not the child's to kill. Reading a terminal takes being in that group.
            os.setpgid(0, 0)
        spec, plan = self.box.spec, self.box.plan
        for name, limit in rlimits_of(spec.rlimits) if spec.rlimits else ():
            try:
                resource.setrlimit(RLIMITS[name], limit)
            except ValueError as error:  # the error of Python for EINVAL and EPERM
                raise PermissionError(errno.EPERM, str(error), f"rlimits: {name}") from None
        if self.ids is None:
            _core.change_ids(plan.uid, plan.gid, plan.leaves_groups)
        else:
            _core.change_ids(*self.ids, _may_leave_groups())
        rights = spec.hardened.rights()
        if any(rights.values()):
            _core.give_up_rights(**rights, rule=self.rule)
        # As an exec would do it, after all else: to give up some rights takes others.
        _core.shed_privileges(spec.keep_caps, False)
        # From now on the parent is the one whose end is the signal's reason. A change of ids clears both.
        _core.die_with_parent(signal.SIGKILL)
        _core.set_dumpable(True)

    def _enter(self, *kinds: str) -> None:
        for kind in kinds:
            if kind in self.links:
                try:
                    raw.setns(self.links[kind])
                except OSError as error:
                    raise OSError(error.errno, error.strerror, f"setns into the {kind} namespace") from None
                os.close(self.links.pop(kind))

    def _report(self, error: BaseException, where: str) -> None:
        text = f"{type(error).__name__}: {error} ({where})"
        if isinstance(error, OSError):
            text = f"{error.strerror} ({error.filename or where})"
        with contextlib.suppress(OSError):
            os.write(self.error, json.dumps(text).encode() + b"\n")


def fork() -> int:
    """Fork without Python's warning about threads, as this fork takes them into account."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _may_leave_groups() -> bool:
    """Return whether setgroups(2) is allowed, which it is not in a user namespace without it."""
    with open("/proc/self/setgroups") as file:
        return file.read() == "allow\n"
