"""Tasks of an executor: a box for each, and in it a process that the fork server has made."""

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
from nsbox.errors import CallTimeoutError, SpawnError, WorkerDiedError
from nsbox.remote.exchange import Ends, Exchange, Sink, oom_kills, result_of, to_stderr, to_stdout
from nsbox.remote.pool import start_python
from nsbox.spec.capabilities import has_capability
from nsbox.spec.kinds import KINDS, namespace_names
from nsbox.spec.spec import Spec
from nsbox.tasks.forkserver import END, ORDER

if TYPE_CHECKING:
    from nsbox.remote.protocol import Frame

__all__ = ["ForkServer", "Task"]

_LAST_WAIT = 5.0


class ForkServer:
    """A Python that forks for tasks, alone in a box, inside of which the boxes of the tasks are made."""

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
            self.box = Box(spec=_surroundings())
            try:
                control, stdout, stderr = ends.theirs
                words = ",".join(preload)
                self._child = start_python(self.box, "nsbox.tasks.forkserver", "serve", words, control, stdout, stderr)
                self._exchange.watch(self._child.end_fd)
                result_of(ForkServer, self._ready())
            except BaseException:
                self.box.close()
                raise
        except BaseException:
            self._exchange.close()
            raise
        finally:
            ends.close_theirs()
        self._control = socket.socket(fileno=os.dup(self._exchange.socket))
        self._control.settimeout(_LAST_WAIT)

    def _ready(self) -> Frame:
        before = oom_kills()
        try:
            return self._exchange.ask(b"", None)
        except EOFError:
            end = self._child.wait(_LAST_WAIT)
            returncode = -9 if end is None else end.returncode
            raise WorkerDiedError("preload", returncode, oom_kills() > before) from None

    @property
    def is_alive(self) -> bool:
        """Whether it can serve."""
        return self.box.alive and self._child.wait(0) is None

    def fork(self, order: bytes, fds: Sequence[int]) -> None:
        """Have a task made.

        Raises:
            OSError: when the server is gone.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        # So few bytes are not divided, so several threads can send at once.
        self._control.sendmsg([order], rights)

    def close(self) -> None:
        """End it, with all its tasks."""
        self.box.close()
        self._control.close()
        self._exchange.close()


def _surroundings() -> Spec:
    """Return what the box of the server is.

    Without privilege it also has a user namespace. For user namespaces below that one, its init writes the maps through
    a proc that it makes, which takes a mount namespace of its own; mounts of the machine still arrive there.
    """
    if has_capability(_core.facts().effective, "CAP_SYS_ADMIN"):
        return Spec(unshare="p")
    return Spec(unshare="mp", propagation="slave")


class Task:
    """One call in a box of its own, inside that of the server: a context manager that leaves nothing of it alive."""

    box: Box | None = None

    def __init__(self, server: ForkServer, spec: Spec) -> None:
        """Make the box and the process.

        Raises:
            SpawnError: when a step failed.
            ClosedError: when the server is gone.
        """
        # Where the server needed a user namespace to be root, each task gets one too, as its rights would otherwise
        # reach to the server and to other tasks.
        if spec.map_root_user is not False and "user" in server.box.namespaces:
            spec = replace(spec, unshare={*namespace_names(spec.unshare), "user"})
            if spec.map_current_user:
                # In the box of the server the current user is root already.
                spec = replace(spec, map_current_user=False, map_user=os.geteuid(), map_group=os.getegid())
        self._oom_kills = oom_kills()
        ends = Ends()
        self._exchange = Exchange(ends.mine)
        self._over, told = os.pipe()
        namespaces: list[int] = []
        try:
            self._exchange.watch(self._over)
            self.box = server.box.Box(spec=spec)
            kinds = [KINDS[name] for name in self.box.namespaces]
            for kind in kinds:
                # nsbox-init cannot enter a time namespace itself; its children do (time_namespaces(7)).
                link = "time_for_children" if kind.name == "time" else kind.link
                with self.box.open(f"/proc/self/ns/{link}") as file:
                    namespaces.append(os.dup(file.fileno()))
            order = ORDER.pack(sum(kind.flag for kind in kinds), spec.keep_caps, spec.no_new_privs)
            server.fork(order, [*ends.theirs, told, *namespaces])
        except BaseException:
            self.close()
            raise
        finally:
            ends.close_theirs()
            for fd in (told, *namespaces):
                os.close(fd)

    def ask(
        self, name: str, request: bytes, deadline: float | None, stdout: Sink = to_stdout, stderr: Sink = to_stderr
    ) -> Frame:
        """Have it carry out a request, and return the answer.

        Raises:
            CallTimeoutError: when the time is over.
            WorkerDiedError: when it ends before.
            SpawnError: when it could not be made.
        """
        try:
            return self._exchange.ask(request, deadline, stdout, stderr)
        except TimeoutError:
            raise CallTimeoutError(f"{name} took too long, and was killed") from None
        except EOFError:
            raise self._death(name) from None

    def _death(self, name: str) -> WorkerDiedError | SpawnError:
        # It may have hung up and go on; if it is ending, this does not change how.
        self.kill()
        poll = select.poll()
        poll.register(self._over, select.POLLIN)
        told = os.read(self._over, END.size) if poll.poll(_LAST_WAIT * 1000) else b""
        if len(told) < END.size:
            # The server has died before it, and nobody else can say how it ended.
            returncode = -9
        else:
            returncode, errno = END.unpack(told)
            if errno:
                return spawn_error(errno, "fork", "caller", [_core.Call("fork")], "in the fork server of the executor")
        return WorkerDiedError(name, returncode, returncode == -9 and oom_kills() > self._oom_kills)

    def kill(self) -> None:
        """End everything in it; whoever waits for the answer learns of it."""
        if self.box is not None:
            self.box.kill()

    def close(self) -> None:
        """End everything in it, and return when nothing of it is alive."""
        try:
            if self.box is not None:
                self.box.close()
        finally:
            self._exchange.close()
            if self._over >= 0:
                os.close(self._over)
                self._over = -1

    def __enter__(self) -> Self:
        """Return the task itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
