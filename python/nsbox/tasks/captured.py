"""The captured output of a task, up to a limit."""

from __future__ import annotations

import codecs

from nsbox.start.output import OutputLimit, OutputLimitError

__all__ = ["Captured"]


class Captured:
    """What a task writes to one of its streams, up to the limit."""

    def __init__(self, name: str, limit: OutputLimit | None) -> None:
        """Begin without any. The name is that of the function."""
        self._name, self._limit = name, limit
        self._data = bytearray()
        self.truncated = False

    def add(self, data: bytes, final: bool) -> None:
        """Keep bytes: the `Sink` of a task.

        Raises:
            OutputLimitError: when it is too much, and the limit does not truncate.
        """
        if self.truncated:
            return
        room = len(data) if self._limit is None else self._limit.bytes - len(self._data)
        self._data += data[:room]
        if self._limit is not None and len(data) > room:
            self.truncated = True
            if self._limit.on_exceed == "kill":
                raise OutputLimitError(self._name, self._limit.bytes)

    @property
    def text(self) -> str:
        """What was kept. A character that the limit has cut is left out."""
        return codecs.getincrementaldecoder("utf-8")("replace").decode(self._data, not self.truncated)
