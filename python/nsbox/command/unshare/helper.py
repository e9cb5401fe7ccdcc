"""A child that stays in the old namespaces when its parent leaves them, and carries out functions for it there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import NoReturn

__all__ = ["Helper"]

_MAX_MESSAGE = 4096
"""Bytes that a pipe passes on in one piece (pipe(7), PIPE_BUF)."""


class Helper:
    """A child that carries out functions on request, each once. It exits after the last one, or with its parent."""

    def __init__(self) -> None:
        """Make one without functions. The child is started by `start`."""
        self._functions: dict[str, Callable[[], None]] = {}
        self._pid = self._requests = self._replies = -1

    def __bool__(self) -> bool:
        """Whether it has a function that was not carried out yet."""
        return bool(self._functions)

    def add(self, name: str, function: Callable[[], None]) -> Callable[[], None]:
        """Add a function; return one by which the parent requests it."""
        self._functions[name] = function
        return lambda: self._request(name)

    def start(self) -> None:
        """Start the child, in the namespaces in which this process is now."""
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._requests)
            os.close(self._replies)
            self._serve(requests, replies)
        os.close(requests)
        os.close(replies)

    def _serve(self, requests: int, replies: int) -> NoReturn:
        try:
            while self._functions:
                # Nothing to read means that the parent has exited.
                if not (name := os.read(requests, _MAX_MESSAGE).decode()):
                    break
                reply = "0"
                try:
                    self._functions.pop(name)()
                except OSError as error:
                    reply = f"{error.errno or errno.EIO} {error.strerror or ''}"
                os.write(replies, reply.encode(errors="replace")[:_MAX_MESSAGE])
        finally:
            os._exit(0)

    def _request(self, name: str) -> None:
        os.write(self._requests, name.encode())
        reply = os.read(self._replies, _MAX_MESSAGE).decode(errors="replace")
        del self._functions[name]
        number, _, text = (reply or f"{errno.ESRCH}").partition(" ")
        if number != "0" or not self._functions:
            os.close(self._requests)
            os.close(self._replies)
            os.waitpid(self._pid, 0)
        if number != "0":
            raise OSError(int(number), text or os.strerror(int(number)))
