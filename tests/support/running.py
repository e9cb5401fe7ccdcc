"""Programs that run during a block, and no longer: a test that fails must not wait for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import nsbox

__all__ = ["ended"]


@contextlib.contextmanager
def ended(program: nsbox.Popen) -> Iterator[nsbox.Popen]:
    """Kill a program at the end of a block, also when that raises."""
    with program:
        try:
            yield program
        finally:
            program.kill()
