"""A child that stays in the namespaces which its parent leaves, and does there what the parent no longer can."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import NoReturn

__all__ = ["Bystander"]

_LONGEST = 4096
"""Bytes that travel through a pipe in one piece (pipe(7), PIPE_BUF)."""


class Bystander:
    """A child that carries out acts when it is told to, each once. It ends after the last one, or with its parent."""

    def __init__(self) -> None:
        """Make one that has nothing to do yet."""
        self._acts: dict[str, Callable[[], None]] = {}
        self._pid = self._go = self._answers = -1

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._acts)

    def add(self, name: str, act: Callable[[], None]) -> Callable[[], None]:
        """Take on an act; return what has it done."""
        self._acts[name] = act
        return lambda: self._ask(name)

    def start(self) -> None:
        """Leave it behind."""
        orders, self._go = os.pipe()
        self._answers, answers = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._go)
            os.close(self._answers)
            self._stand_by(orders, answers)
        os.close(orders)
        os.close(answers)

    def _stand_by(self, orders: int, answers: int) -> NoReturn:
        try:
            while self._acts:
                # The end of the pipe without a word means that there is nothing left to do.
                if not (name := os.read(orders, _LONGEST).decode()):
                    break
                answer = "0"
                try:
                    self._acts.pop(name)()
                except OSError as error:
                    answer = f"{error.errno or errno.EIO} {error.strerror or ''}"
                os.write(answers, answer.encode(errors="replace")[:_LONGEST])
        finally:
            os._exit(0)

    def _ask(self, name: str) -> None:
        os.write(self._go, name.encode())
        answer = os.read(self._answers, _LONGEST).decode(errors="replace")
        del self._acts[name]
        number, _, words = (answer or f"{errno.ESRCH}").partition(" ")
        if number != "0" or not self._acts:
            os.close(self._go)
            os.close(self._answers)
            os.waitpid(self._pid, 0)
        if number != "0":
            raise OSError(int(number), words or os.strerror(int(number)))
