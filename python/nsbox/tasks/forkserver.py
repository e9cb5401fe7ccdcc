"""The fork server of an `nsbox.Executor`: a Python inside that forks for each task.

It has imported the modules that the tasks need, and has a single thread, so that a fork is fast and safe. A task is
requested by a message with descriptors: a socket for the call, pipes for its reply, output and status, a file with
the rest of the request, and one for each namespace of the box that was made for it. The server enters a PID namespace
before the fork, the child enters all others (setns(2)).
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
from typing import Any, NoReturn

from nsbox import _core
from nsbox.errors import SpecError
from nsbox.remote.protocol import FIRST_TOKEN, pack_failure, pack_value, receive, send
from nsbox.remote.worker import Streams, run_calls
from nsbox.spec.harden import RIGHTS
from nsbox.spec.kinds import KINDS

__all__ = ["END", "NO_LIMIT", "ORDER", "SCOPES", "serve"]

END = struct.Struct("=iid")
"""How a task has ended: its return code, the errno for which it could not be started, or 0, and its CPU time."""

ORDER = struct.Struct("=Qqqqq???" + "?" * len(RIGHTS))
"""The message with the descriptors of a task: the CLONE_NEW* flags of its namespaces, whose descriptors come in the
order of the table of kinds; the user and the group that the task becomes, or -1; its limits for core files, soft and
hard, or `NO_LIMIT`; whether it leaves its supplementary groups; ``keep_caps`` and ``no_new_privs`` as in `nsbox.Spec`;
and the parts of `harden` that a process gives up by itself. The file has what `landlock_rule` returns: the number, and
the paths, each with a NUL at its end."""
SCOPES = struct.Struct("=Q")

NO_LIMIT = -2
"""Where there is a limit in an `ORDER`: -1 is RLIM_INFINITY."""

_MAX_DESCRIPTORS = 16
_MAX_REAPED = 256
"""Number of children that are reaped in a row: a task can make them as fast as they are reaped."""
_KINDS = [kind.flag for kind in KINDS.values()]
_CLONE_NEWPID = KINDS["pid"].flag


class _Server:
    """The event loop of the server, and its running tasks."""

    def __init__(self, control: int) -> None:
        self._control = socket.socket(fileno=control)
        # A byte for each SIGCHLD. A pidfd of each task would not show the children that a task gives to this process
        # (clone(2), CLONE_PARENT), and as long as one of them is not reaped, the PID namespace of the task cannot end.
        self._signals, self._signalled = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._signalled, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        for fd in (control, self._signals):
            self._poll.register(fd, select.POLLIN)
        # The pipe for the status of each task, by its PID.
        self._running: dict[int, int] = {}
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> None:
        """Fork and reap until the caller closes the socket."""
        control = self._control.fileno()
        while True:
            for fd, _ in self._poll.poll():
                if fd != control:
                    self._reap()
                elif not self._receive_order():
                    return

    def _receive_order(self) -> bool:
        """Receive a request and fork; return False when the caller has closed the socket."""
        space = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)
        data, ancillary, _, _ = self._control.recvmsg(ORDER.size, space, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        fds = array.array("i")
        for _, _, rights in ancillary:
            fds.frombytes(rights)
        try:
            self._fork(data, *fds)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _fork(
        self, order: bytes, call: int, replies: int, stdout: int, stderr: int, end: int, rule: int, *namespaces: int
    ) -> None:
        flags, *privileges = ORDER.unpack(order)
        wanted = list(zip(namespaces, (kind for kind in _KINDS if flags & kind), strict=True))
        try:
            _enter([(fd, kind) for fd, kind in wanted if kind == _CLONE_NEWPID])
            pid = os.fork()
            if pid == 0:
                self._become_task(call, replies, (stdout, stderr), end, rule, wanted, privileges)
            # Otherwise the next child would be in the task's namespace, and once that has ended no fork would succeed.
            _enter([(self._own_pid_namespace, _CLONE_NEWPID)])
        except OSError as error:
            os.write(end, END.pack(0, error.errno or 0, 0.0))
            return
        try:
            self._running[pid] = os.dup(end)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.write(end, END.pack(0, error.errno or 0, 0.0))

    def _reap(self) -> None:
        """Reap all children that have ended, and report the ends of tasks."""
        os.read(self._signals, select.PIPE_BUF)
        for _ in range(_MAX_REAPED):
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (end := self._running.pop(pid, None)) is not None:
                with contextlib.suppress(BrokenPipeError):
                    os.write(end, END.pack(os.waitstatus_to_exitcode(status), 0, usage.ru_utime + usage.ru_stime))
                os.close(end)
        with contextlib.suppress(BlockingIOError):
            os.write(self._signalled, b"\0")

    def _become_task(
        self,
        call: int,
        replies: int,
        output: tuple[int, int],
        end: int,
        rule: int,
        namespaces: list[tuple[int, int]],
        privileges: list[Any],
    ) -> NoReturn:
        """Run the call in this child, and exit: with status 1 if no reply could be sent."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Only the server writes to the status pipes, its own and those of other tasks.
            own_fds = self._control.detach(), self._own_pid_namespace, self._signals, self._signalled
            for fd in (end, *own_fds, *self._running.values()):
                os.close(fd)
            os.setsid()
            for number, fd in enumerate(output, 1):
                os.dup2(fd, number)
                os.close(fd)
            streams = Streams()
            own = _core.this_process()
            token, request = receive(call)
            data = os.pread(rule, os.fstat(rule).st_size, 0)
            os.close(rule)
            try:
                _enter([(fd, kind) for fd, kind in namespaces if kind != _CLONE_NEWPID])
                _take_privileges(privileges, data)
                for fd, _ in namespaces:
                    os.close(fd)
                reply = run_calls(request)
            except BaseException as error:
                reply = pack_failure(error)
            streams.restore()
            if _core.this_process() == own:
                send(replies, token, *reply)
            status = 0
        finally:
            os._exit(status)


def _take_privileges(privileges: list[Any], rule: bytes) -> None:
    uid, gid, soft, hard, leave_groups, keep_caps, no_new_privs, *rights = privileges
    if soft != NO_LIMIT:
        # The filter for system calls keeps it from being changed.
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    _core.change_ids(None if uid < 0 else uid, None if gid < 0 else gid, leave_groups)
    if any(rights):
        (scopes,) = SCOPES.unpack_from(rule)
        writable = rule[SCOPES.size :].split(b"\0")[:-1]
        _core.give_up_rights(**dict(zip(RIGHTS, rights, strict=True)), rule=(writable, scopes))
    # As an exec would do it, after all else: to give up some rights takes others.
    _core.shed_privileges(keep_caps, no_new_privs)


def _enter(namespaces: list[tuple[int, int]]) -> None:
    for fd, kind in namespaces:
        _core.setns(fd, kind)


def serve(control: int, replies: int, modules: str) -> None:
    """Import the modules, separated by commas, send a reply, and serve.

    Raises:
        SpecError: in the reply, when a module leaves a thread running, which a fork would not copy.
    """
    sys.argv[:] = [""]
    for fd in (control, replies):
        os.set_inheritable(fd, False)
    try:
        for name in filter(None, modules.split(",")):
            importlib.import_module(name)
            if threading.active_count() > 1:
                raise SpecError(f"preload: {name} has started a thread, which a fork does not copy")
        server = _Server(control)
    except BaseException as error:
        send(replies, FIRST_TOKEN, *pack_failure(error))
        return
    # Each task would write a copy of what is left in a buffer.
    sys.stdout.flush()
    sys.stderr.flush()
    # The garbage collector skips all present objects from now on, so that their memory stays shared with the tasks.
    gc.collect()
    gc.freeze()
    send(replies, FIRST_TOKEN, *pack_value(serve, None))
    os.close(replies)
    server.serve()
