"""nsbox-init trusts no input: a damaged plan is refused as a whole, before any of it is done."""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import nsbox
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nsbox import _core
from nsbox.start.launch import Launch

from tests.support.wire import HEADER, Operation, headed, pack, unpack

FORK, DESCRIPTORS, CHDIR, EXEC = 8, 12, 13, 21

Change = Callable[[list[Operation]], bytes]


@pytest.fixture
def marker(place: Path) -> Path:
    """A file that exists once the payload has been started."""
    return place / "started"


@pytest.fixture
def plan(marker: Path) -> _core.Plan:
    """A plan of many operations whose payload leaves a mark."""
    spec = nsbox.Spec(unshare="mipu", mount_proc=True, hostname="box")
    command = ("/bin/sh", "-c", f"echo > {marker}")
    launch = Launch(paths=(b"/bin/sh",), argv=tuple(map(os.fsencode, command)), cwd=b"/", umask=0o22)
    return _core.compile(spec, launch, _core.facts())


def refused(plan: _core.Plan, encoded: bytes, marker: Path) -> tuple[str, int]:
    """Return why nsbox-init refuses these bytes, and at which offset; fail if it does not."""
    with pytest.raises(nsbox.SpawnError) as caught:
        _core.spawn(plan, encoded=encoded).wait(20)
    error = caught.value
    assert (error.step, error.actor, error.errno) == ("plan", "init", errno.EBADMSG)
    assert not marker.exists()
    found = re.search(r"(\w+) at offset (\d+)", error.evidence)
    assert found, error.evidence
    return found[1], int(found[2])


def test_complete_plan(plan: _core.Plan, marker: Path) -> None:
    """The plan itself is executed, and the second description of the format agrees with the first."""
    encoded = plan.encode()
    assert pack(unpack(encoded)) == encoded
    end = _core.spawn(plan, encoded=encoded).wait(20)
    assert end is not None
    assert end.returncode == 0
    assert marker.exists()


def test_truncated_anywhere(plan: _core.Plan, marker: Path) -> None:
    """Every shorter plan is refused, the empty one included."""
    encoded = plan.encode()
    for length in [*range(HEADER + 40), *range(HEADER + 40, len(encoded), 37), len(encoded) - 1]:
        assert refused(plan, encoded[:length], marker)[0] == "truncated"


def test_too_long(plan: _core.Plan, marker: Path) -> None:
    """A plan with additional bytes is refused."""
    assert refused(plan, plan.encode() + b"\0", marker)[0] == "truncated"
    assert refused(plan, plan.encode() * 2, marker)[0] == "truncated"


@given(st.data())
@settings(max_examples=150)
def test_one_bit_is_wrong(plan: _core.Plan, marker: Path, data: st.DataObject) -> None:
    """Any single bit of the header, or of the length of an operation, is changed: the plan is refused."""
    encoded = bytearray(plan.encode())
    starts = [HEADER]
    for operation in unpack(bytes(encoded)):
        starts.append(starts[-1] + 8 + len(operation.fields))
    lengths = [byte for start in starts[:-1] for byte in range(start + 4, start + 8)]
    byte = data.draw(st.sampled_from([*range(HEADER), *lengths]))
    encoded[byte] ^= 1 << data.draw(st.integers(0, 7))
    fault, _ = refused(plan, bytes(encoded), marker)
    # The count of operations is compared at the very end.
    assert fault in (("truncated",) if byte < 4 else ("order",) if byte < HEADER else ("truncated", "field"))


@given(st.binary(max_size=300))
@example(b"f")  # announces that the plan comes in a file
@example(b"x")  # ends a box
@settings(max_examples=60)
def test_noise(plan: _core.Plan, marker: Path, noise: bytes) -> None:
    """Bytes that are no plan are refused."""
    assert refused(plan, noise, marker)[0] in ("truncated", "operation", "field", "order")


@given(st.binary(max_size=300), st.integers(0, 20))
@settings(max_examples=60)
def test_noise_with_a_right_header(plan: _core.Plan, marker: Path, noise: bytes, count: int) -> None:
    """The header is right, the rest is not."""
    assert refused(plan, headed(noise, count), marker)[0] in ("truncated", "operation", "field", "order")


def _replaced(operations: list[Operation], tag: int, fields: bytes) -> bytes:
    return pack([Operation(op.tag, op.step, fields if op.tag == tag else op.fields) for op in operations])


def _texts(*texts: bytes, count: int | None = None) -> bytes:
    joined = b"".join(texts)
    return struct.pack("=II", len(texts) if count is None else count, len(joined)) + joined


def _body(plan: bytes, *, count: int) -> bytes:
    return headed(plan[HEADER:], count)


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("order", lambda ops: _body(pack(ops), count=len(ops) - 1)),
        ("order", lambda ops: _body(pack(ops), count=len(ops) + 1)),
        ("order", lambda ops: pack(ops[:-1])),
        ("order", lambda ops: pack([*ops, ops[-1]])),
        ("order", lambda ops: pack([op for op in ops if op.tag != FORK])),
        ("order", lambda ops: pack([*[op for op in ops if op.tag == FORK], *ops])),
        ("order", lambda ops: pack([ops[-1], *ops[:-1]])),
        ("order", lambda _: pack([])),
        ("operation", lambda ops: pack([Operation(0, 0, b""), *ops])),
        ("operation", lambda ops: pack([Operation(999, 0, b""), *ops])),
        ("field", lambda ops: _replaced(ops, FORK, bytes(13))),
        ("truncated", lambda ops: _replaced(ops, FORK, bytes(11))),
        ("truncated", lambda ops: _replaced(ops, CHDIR, struct.pack("=I", 1000) + b"/\0")),
        ("truncated", lambda ops: _replaced(ops, CHDIR, struct.pack("=I", 2**32 - 1) + b"/\0")),
        ("field", lambda ops: _replaced(ops, CHDIR, struct.pack("=I", 1) + b"/")),
        ("field", lambda ops: _replaced(ops, CHDIR, struct.pack("=I", 0))),
        ("field", lambda ops: _replaced(ops, CHDIR, struct.pack("=I", 4) + b"/\0/\0")),
        ("field", lambda ops: _replaced(ops, DESCRIPTORS, bytes(12) + struct.pack("=I", 3) + bytes(3 + 4))),
        ("field", lambda ops: _replaced(ops, EXEC, _texts(b"/bin/sh\0", count=2) + _texts(b"sh\0") + _texts())),
        ("field", lambda ops: _replaced(ops, EXEC, _texts(b"/bin/sh\0") + _texts(b"sh\0", count=0) + _texts())),
        ("field", lambda ops: _replaced(ops, EXEC, _texts(b"/bin/sh\0") + _texts(b"sh") + _texts())),
        ("field", lambda ops: _replaced(ops, EXEC, _texts(b"/bin/sh\0", count=2**32 - 1) + _texts() + _texts())),
    ],
)  # fmt: skip
def test_a_complete_plan_with_one_fault(plan: _core.Plan, marker: Path, fault: str, change: Change) -> None:
    """The header is right, and exactly one other thing is wrong."""
    assert refused(plan, change(unpack(plan.encode())), marker)[0] == fault


def test_step_numbers_beyond_the_plan(plan: _core.Plan) -> None:
    """If a step that does not exist fails, the error is still an error."""
    operations = [Operation(op.tag, 60000, op.fields) for op in unpack(plan.encode()) if op.tag != EXEC]
    program = _texts(b"/nonexistent\0") + _texts(b"x\0") + _texts()
    with pytest.raises(nsbox.SpawnError) as caught:
        _core.spawn(plan, encoded=pack([*operations, Operation(EXEC, 60000, program)]))
    assert caught.value.errno == errno.ENOENT
