"""Which call fails, and with which error number."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EACCES, EMFILE, ENOMEM, ENOSYS, EPERM

from tests.support.faults import Fault, Report

__all__ = ["ERRNOS", "faults"]

ERRNOS = (EPERM, EACCES, ENOSYS, ENOMEM, EMFILE)
_MOST = 4
"""Of a call that is made in a loop, only the first ones fail."""


_NOT_OURS = {
    # asyncio.run of Python 3.11 loses a descriptor when it cannot make the loop.
    "aio": {("caller", "socketpair")},
    # Without a PID namespace the descendants of a program are left alone where /proc cannot be read, or cannot be known
    # to be one, and where a signal is refused, as that of a process of another user is (docs/architecture.md).
    "no_pid_namespace": {
        ("init", "openat"),
        ("init", "fsopen"),
        ("init", "fstatfs"),
        ("init", "pread64"),
        ("init", "pidfd_send_signal"),
    },
}


def faults(scenario: str, without: Report) -> Iterator[Fault]:
    """Yield every fault for what a run without one has called."""
    for (role, call), count in sorted(without.calls.items()):
        if (role, call) in _NOT_OURS.get(scenario, ()):
            continue
        for number in range(1, min(count, _MOST) + 1):
            for errno in ERRNOS:
                yield Fault(role, call, number, errno)
