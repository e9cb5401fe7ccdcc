"""The wire format of plans, written down a second time, to make plans that nsbox itself would never make."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["HEADER", "Operation", "checksum", "pack", "sealed", "unpack"]

HEADER = 24
"""Magic word, version, count of operations, length of the whole, checksum of the rest."""


@dataclass(frozen=True)
class Operation:
    """One operation as it travels."""

    tag: int
    step: int
    fields: bytes


def checksum(data: bytes) -> int:
    """Return the core's variant of FNV-1a, 64 bits: on words, each step followed by a rotation."""
    value = 0xCBF29CE484222325
    whole = len(data) // 8 * 8
    for word in (*struct.unpack(f"={whole // 8}Q", data[:whole]), *data[whole:]):
        value = (value ^ word) * 0x100000001B3 % 2**64
        value = (value << 29 | value >> 35) % 2**64
    return value


def sealed(body: bytes, count: int, *, magic: bytes = b"nsbx", version: int = 1) -> bytes:
    """Return a plan with a right header around whatever the body is."""
    return struct.pack("=4sHHQQ", magic, version, count, HEADER + len(body), checksum(body)) + body


def pack(operations: list[Operation]) -> bytes:
    """Return the plan of these operations."""
    lines = (struct.pack("=HHI", op.tag, op.step, len(op.fields)) + op.fields for op in operations)
    return sealed(b"".join(lines), len(operations))


def unpack(plan: bytes) -> list[Operation]:
    """Return the operations of a plan."""
    operations, at = [], HEADER
    while at < len(plan):
        tag, step, length = struct.unpack_from("=HHI", plan, at)
        operations.append(Operation(tag, step, plan[at + 8 : at + 8 + length]))
        at += 8 + length
    return operations
