"""The wire format of plans, written down a second time, to make plans that nsbox itself never makes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["HEADER", "Operation", "headed", "pack", "unpack"]

HEADER = 8
"""Bytes of the header: length of the whole, count of operations."""


@dataclass(frozen=True)
class Operation:
    """One operation as it travels."""

    tag: int
    step: int
    fields: bytes


def headed(body: bytes, count: int) -> bytes:
    """Return a plan with a correct header for any body."""
    return struct.pack("=II", HEADER + len(body), count) + body


def pack(operations: list[Operation]) -> bytes:
    """Return the plan of these operations."""
    lines = (struct.pack("=HHI", op.tag, op.step, len(op.fields)) + op.fields for op in operations)
    return headed(b"".join(lines), len(operations))


def unpack(plan: bytes) -> list[Operation]:
    """Return the operations of a plan."""
    operations, at = [], HEADER
    while at < len(plan):
        tag, step, length = struct.unpack_from("=HHI", plan, at)
        operations.append(Operation(tag, step, plan[at + 8 : at + 8 + length]))
        at += 8 + length
    return operations
