"""Tasks of an executor: a box for each, and in it a process that the fork server has forked."""

from __future__ import annotations

import array
import os
import select
import socket
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nsbox import _core
from nsbox.box.box import Box
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import CallTimeoutError, SpawnError, SpecError, WorkerDiedError
from nsbox.remote.encoding import MAX_BYTES
from nsbox.remote.exchange import Ends, Exchange, Sink, oom_kills
from nsbox.remote.pool import start_python
from nsbox.remote.protocol import FIRST_TOKEN, TOKEN_BYTES, pack_request, unpack_reply
from nsbox.spec.capabilities import has_capability
from nsbox.spec.kinds import KINDS, namespace_names
from nsbox.spec.limits import rlimits_of
from nsbox.spec.spec import Spec
from nsbox.tasks.forkserver import END, NO_LIMIT, ORDER, SCOPES

if TYPE_CHECKING:
    from nsbox.remote.protocol import CallSettings, Frame, Reply

__all__ = ["ForkServer", "Task"]

_END_SECONDS = 5.0
"""The longest wait for the end or a message of a process that may hang in the kernel."""


class ForkServer:
    """A Python that forks for tasks. It is alone in its box, and the boxes of the tasks are made inside that box."""

    def __init__(self, preload: Sequence[str]) -> None:
        """Start it, and return when it has imported the modules.

        Raises:
            Exception: what importing a module raises.
            WorkerDiedError: when it ends.
            SpawnError: when its box cannot be made.
        """
        ends = Ends()
        self._exchange = Exchange(ends.mine)
        try:
            self.box = Box(spec=_server_spec())
            try:
                control, replies, stdout, stderr = ends.numbers_of_theirs()
                modules = ",".join(preload)
                self._child = start_python(
                    self.box, "nsbox.tasks.forkserver", "serve", modules, control, replies, stdout, stderr
                )
                self._exchange.watch(self._child.end_fd)
                unpack_reply(ForkServer, self._first_reply()).result()
            except BaseException:
                self.box.close()
                raise
        except BaseException:
            self._exchange.close()
            raise
        finally:
            ends.close_theirs()
        duplicate = _core.Descriptor(os.dup, self._exchange.socket)
        self._control: socket.socket = duplicate.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0)
        self._control.settimeout(_END_SECONDS)

    def _first_reply(self) -> Frame:
        before = oom_kills()
        try:
            return self._exchange.ask((), FIRST_TOKEN, None)
        except EOFError:
            end = self._child.wait(_END_SECONDS)
            returncode = -9 if end is None else end.returncode
            raise WorkerDiedError("preload", returncode, oom_kills() > before) from None

    @property
    def is_alive(self) -> bool:
        """Whether it and its box are alive."""
        return self.box.alive and self._child.wait(0) is None

    def fork(self, order: bytes, fds: Sequence[int]) -> None:
        """Have a task forked.

        Raises:
            OSError: when the server has ended.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        # A message of so few bytes is never split, so several threads can send at once.
        self._control.sendmsg([order], rights)

    def close(self) -> None:
        """End it with all its tasks."""
        self.box.close()
        self._control.close()
        self._exchange.close()


def _server_spec() -> Spec:
    """Return the namespaces of the server's box.

    For an ordinary user a user namespace is added. To write the id maps of user namespaces below that one, the init of
    the box needs a proc, and to make one a mount namespace; later mounts of the machine are still propagated there.
    """
    if has_capability(_core.facts().effective, "CAP_SYS_ADMIN"):
        return Spec(unshare="p")
    return Spec(unshare="mp", propagation="slave")


class Task:
    """One call in a box of its own, inside that of the server: a context manager that ends all its processes."""

    box: Box | None = None

    def __init__(self, server: ForkServer, spec: Spec) -> None:
        """Make the box and the process.

        Raises:
            SpecError: when the task would be in the user namespace of the server.
            SpawnError: when a step failed.
            ClosedError: when the server has ended.
        """
        # If the server is root in a user namespace, each task gets one of its own. Otherwise it would have capabilities
        # over the server and over other tasks.
        if "user" in server.box.namespaces:
            if spec.map_root_user is False and "user" not in namespace_names(spec.unshare):
                raise SpecError(
                    "map_root_user: each task of an ordinary user needs a user namespace; name it in unshare="
                )
            spec = replace(spec, unshare={*namespace_names(spec.unshare), "user"})
            if spec.map_current_user:
                # In the box of the server the current user is root already.
                spec = replace(spec, map_current_user=False, map_user=os.geteuid(), map_group=os.getegid())
        self._oom_kills = oom_kills()
        ends = Ends()
        self._exchange = Exchange(ends.mine)
        self._status, status_writer = _core.Descriptor.pair(os.pipe)
        namespaces: list[_core.Descriptor] = []
        try:
            self._exchange.watch(self._status.fileno())
            self.box = server.box.Box(spec=spec)
            kinds = [KINDS[name] for name in self.box.namespaces]
            for kind in kinds:
                # nsbox-init cannot enter a time namespace itself; its children do (time_namespaces(7)).
                link = "time_for_children" if kind.name == "time" else kind.link
                with self.box._open_own(f"self/ns/{link}", link=True) as file:
                    namespaces.append(_core.Descriptor(os.dup, file.fileno()))
            spec = self.box.spec
            rights = spec.hardened.rights()
            plan = self.box.plan
            ids = (-1 if number is None else number for number in (plan.uid, plan.gid))
            flags = sum(kind.flag for kind in kinds)
            core = dict(rlimits_of(spec.rlimits)).get("core", (NO_LIMIT, NO_LIMIT))
            privileges = (*core, plan.leaves_groups, spec.keep_caps, spec.hardened.no_new_privs, *rights.values())
            order = ORDER.pack(flags, *ids, *privileges)
            writable, scopes = _core.landlock_rule(spec, plan)
            with _core.Descriptor(os.memfd_create, "nsbox-landlock") as rule:
                os.pwrite(rule.fileno(), SCOPES.pack(scopes) + b"".join(path + b"\0" for path in writable), 0)
                server.fork(order, [fd.fileno() for fd in (*ends.theirs, status_writer, rule, *namespaces)])
        except BaseException:
            self.close()
            raise
        finally:
            ends.close_theirs()
            for fd in (status_writer, *namespaces):
                fd.close()

    def call(
        self,
        name: str,
        settings: CallSettings,
        calls: list[bytes],
        deadline: float | None,
        trust: bool,
        stdout: Sink | None = None,
        stderr: Sink | None = None,
    ) -> Reply:
        """Run calls in the process, and return the reply of the last one.

        Raises:
            TransferError: when what arrives is no reply to this call.
            CallTimeoutError: when the deadline has passed.
            WorkerDiedError: when the process ends before it replies.
            SpawnError: when the process could not be forked.
        """
        token = os.urandom(TOKEN_BYTES)
        request = pack_request(settings, calls, token, trust)
        limit = None if trust else MAX_BYTES
        try:
            reply = self._exchange.ask(request, token, deadline, stdout, stderr, limit)
        except TimeoutError:
            raise CallTimeoutError(f"{name} took too long, and was killed") from None
        except EOFError:
            raise self._end_error(name) from None
        return unpack_reply(name, reply, trust)

    def _end_error(self, name: str) -> WorkerDiedError | SpawnError:
        # It may have closed the socket and still run. If it is ending, SIGKILL does not change its status.
        self.kill()
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        status = os.read(self._status.fileno(), END.size) if poll.poll(_END_SECONDS * 1000) else b""
        if len(status) < END.size:
            # The server, its parent, has ended before it, so its status is lost.
            returncode, cpu_seconds = -9, None
        else:
            returncode, errno, cpu_seconds = END.unpack(status)
            if errno:
                return spawn_error(errno, "fork", "caller", [_core.Call("fork")], "in the fork server of the executor")
        return WorkerDiedError(name, returncode, returncode == -9 and oom_kills() > self._oom_kills, cpu_seconds)

    def kill(self) -> None:
        """Kill all its processes. A `call` in another thread then raises WorkerDiedError."""
        if self.box is not None:
            self.box.kill()

    def close(self) -> None:
        """Kill all its processes, and return when they have ended."""
        try:
            if self.box is not None:
                self.box.close()
        finally:
            self._exchange.close()
            self._status.close()

    def __enter__(self) -> Self:
        """Return the task itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
