"""The records that the process of a test inside sends to pytest's process: shared memory, read after the end.

The records are in a file in memory, which both have mapped: a number of bytes, and then records, each with its length
before it. A record is there from the moment when it was sent, so what a test has reported before a crash is kept. A
mapping works when the test has closed all descriptors, and under any RLIMIT_FSIZE.

A program that the test starts can write to it. So pytest's process never maps it: it reads the file, once, up to a
limit, and checks all that it finds (`nsbox.plugin.report`).
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from typing import Any

from nsbox import _core
from nsbox.errors import TransferError
from nsbox.remote.encoding import RefusedError, decode, encode

__all__ = ["MAX_REPORT_BYTES", "Channel", "ReportError"]

MAX_REPORT_BYTES = 1 << 26
"""The longest report, with all that the test has printed."""
_NUMBER = struct.Struct("=Q")
_TOO_LONG = 1 << 63


class ReportError(Exception):
    """What arrived is no report; the text says why."""


class Channel:
    """A file in memory with records.

    Attributes:
        dropped: How many records of less importance were not sent, in this process.
    """

    def __init__(self) -> None:
        """Make an empty one, before the fork."""
        self.dropped = 0
        self._fd = os.memfd_create("nsbox-report")
        try:
            os.ftruncate(self._fd, MAX_REPORT_BYTES)
            self._map = mmap.mmap(self._fd, MAX_REPORT_BYTES)
        except BaseException:
            os.close(self._fd)
            raise
        self._at = _NUMBER.size
        self._owner = 0
        self._lock = threading.RLock()

    def close(self) -> None:
        """Give it up."""
        self._map.close()
        os.close(self._fd)

    # In the child

    def own(self) -> None:
        """Let this process be the one whose records count: what the test forks sends nothing."""
        self._owner = _core.this_process()

    @property
    def is_own(self) -> bool:
        """Whether this process is that one."""
        return self._owner == _core.this_process()

    def send(self, *record: Any, droppable: bool = False) -> None:
        """Append a record of plain data.

        Args:
            *record: Its name, and its parts.
            droppable: Whether it is left out when half of the space is used. Without it such a report is too long.
        """
        if not self.is_own:
            return
        try:
            data = encode(record)
        except RefusedError:
            data = b""
        with self._lock:
            size = _NUMBER.size + len(data)
            if droppable and self._at + size > MAX_REPORT_BYTES // 2:
                self.dropped += 1
                return
            if not data or self._at + size > MAX_REPORT_BYTES:
                self._map[: _NUMBER.size] = _NUMBER.pack(_TOO_LONG)
                return
            # A signal handler can send a record here. So the place is taken first, and the end is written last.
            start, self._at = self._at, self._at + size
            self._map[start : start + size] = _NUMBER.pack(len(data)) + data
            self._map[: _NUMBER.size] = _NUMBER.pack(self._at)

    # In pytest's process

    def read(self) -> list[Any]:
        """Return the values that were sent since the last call, not yet checked.

        Raises:
            ReportError: when there are too many bytes, or none that `send` writes.
        """
        size = os.fstat(self._fd).st_size
        end = _NUMBER.unpack(self._read(0, _NUMBER.size))[0] or _NUMBER.size
        if size > MAX_REPORT_BYTES or end > MAX_REPORT_BYTES:
            raise ReportError(f"it has {max(size, end)} bytes, and at most {MAX_REPORT_BYTES} are read")
        if end < self._at:
            raise ReportError("its end is before its beginning")
        data = self._read(self._at, end - self._at)
        self._at = end
        records: list[Any] = []
        at = 0
        while at < len(data):
            start = at + _NUMBER.size
            length = _NUMBER.unpack(data[at:start])[0] if start <= len(data) else len(data)
            at = start + length
            if at > len(data):
                raise ReportError("it ends in the middle of a record")
            try:
                records.append(decode(data[start:at]))
            except TransferError as error:
                raise ReportError(str(error)) from None
        return records

    def _read(self, start: int, size: int) -> bytes:
        data = os.pread(self._fd, size, start)
        if len(data) < size:
            raise ReportError("it is cut off")
        return data
