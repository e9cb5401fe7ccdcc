"""The program of a Python inside that forks for each task of an `nsbox.Executor`.

It has imported what the tasks need, and has a single thread, so that a fork costs little and is safe. Each task is
asked for by a message with descriptors: a socket for the call, pipes for its output and for its end, and one for each
namespace of a box that was made for it. A PID namespace is entered before the fork, all others by the child (setns(2)).
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
import threading
from typing import NoReturn

from nsbox import _core
from nsbox.errors import SpecError
from nsbox.remote.protocol import pack_failure, pack_value, receive, send
from nsbox.remote.worker import Streams, carry_out
from nsbox.spec.kinds import KINDS

__all__ = ["END", "ORDER", "serve"]

END = struct.Struct("=ii")
"""How a task has ended: its return code, and the number of the error for which it could not be started, or 0."""

ORDER = struct.Struct("=Q??")
"""What accompanies the descriptors of a task: the CLONE_NEW* flags of its namespaces, whose descriptors come in the
order of the table of kinds, and ``keep_caps`` and ``no_new_privs`` as in `nsbox.Spec`."""

_MOST_DESCRIPTORS = 16
_KINDS = [kind.flag for kind in KINDS.values()]
_CLONE_NEWPID = KINDS["pid"].flag


class _Server:
    """The loop, and the tasks that run."""

    def __init__(self, control: int) -> None:
        self._control = socket.socket(fileno=control)
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        # By the pidfd of each task: its PID, and where its end is told.
        self._running: dict[int, tuple[int, int]] = {}
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> None:
        """Fork and reap until the caller hangs up."""
        control = self._control.fileno()
        while True:
            for fd, _ in self._poll.poll():
                if fd != control:
                    self._ended(fd)
                elif not self._attend():
                    return

    def _attend(self) -> bool:
        space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
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

    def _fork(self, order: bytes, call: int, stdout: int, stderr: int, end: int, *namespaces: int) -> None:
        flags, *privileges = ORDER.unpack(order)
        wanted = list(zip(namespaces, (kind for kind in _KINDS if flags & kind), strict=True))
        try:
            _enter([(fd, kind) for fd, kind in wanted if kind == _CLONE_NEWPID])
            pid = os.fork()
            if pid == 0:
                self._become_task(call, (stdout, stderr), end, wanted, privileges)
            # Another child would be in the task's namespace, and none could be made once that has ended.
            _enter([(self._own_pid_namespace, _CLONE_NEWPID)])
        except OSError as error:
            os.write(end, END.pack(0, error.errno or 0))
            return
        try:
            self._watch(pid, os.dup(end))
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.write(end, END.pack(0, error.errno or 0))

    def _watch(self, pid: int, end: int) -> None:
        pidfd = os.pidfd_open(pid)
        self._running[pidfd] = pid, end
        self._poll.register(pidfd, select.POLLIN)

    def _ended(self, pidfd: int) -> None:
        pid, end = self._running.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):
            os.write(end, END.pack(os.waitstatus_to_exitcode(status), 0))
        os.close(end)

    def _become_task(
        self,
        call: int,
        output: tuple[int, int],
        end: int,
        namespaces: list[tuple[int, int]],
        privileges: list[bool],
    ) -> NoReturn:
        """Go on as the task; the status tells when not even a failure could be told."""
        status = 1
        try:
            # The ends of other tasks are told by the server alone, and its own by its end.
            for fd in (end, self._control.detach(), self._own_pid_namespace):
                os.close(fd)
            for pidfd, (_, other) in self._running.items():
                os.close(pidfd)
                os.close(other)
            os.setsid()
            for number, fd in enumerate(output, 1):
                os.dup2(fd, number)
                os.close(fd)
            streams = Streams()
            own = os.getpid()
            try:
                _enter([(fd, kind) for fd, kind in namespaces if kind != _CLONE_NEWPID])
                _core.shed_privileges(*privileges)
                for fd, _ in namespaces:
                    os.close(fd)
                answer = carry_out(receive(call)[1])
            except BaseException as error:
                answer = pack_failure(error)
            streams.restore()
            if os.getpid() == own:
                send(call, *answer)
            status = 0
        finally:
            os._exit(status)


def _enter(namespaces: list[tuple[int, int]]) -> None:
    for fd, kind in namespaces:
        _core.setns(fd, kind)


def serve(control: int, word: str) -> None:
    """Import the modules named by `word`, say so, and serve.

    Raises:
        SpecError: through the socket, when a module leaves a thread running, which no fork would take along.
    """
    sys.argv[:] = [""]
    os.set_inheritable(control, False)
    try:
        for name in filter(None, word.split(",")):
            importlib.import_module(name)
            if threading.active_count() > 1:
                raise SpecError(f"preload: {name} has started a thread, which no fork takes along")
        server = _Server(control)
    except BaseException as error:
        send(control, *pack_failure(error))
        return
    # A buffer that is not empty would be written by each task.
    sys.stdout.flush()
    sys.stderr.flush()
    # What is there now is not looked at again, so that its memory stays shared with the tasks.
    gc.collect()
    gc.freeze()
    send(control, *pack_value(serve, None))
    server.serve()
