"""Which parts of `harden` this machine has: each is tried by itself, in a child that then exits."""

from __future__ import annotations

import functools
import os
from typing import Any

from nsbox.diagnosis.trial import attempt
from nsbox.records.diagnosis import Trial

__all__ = ["TRIED_PARTS", "try_part"]

TRIED_PARTS = {
    "drop_capabilities": "U", "no_new_privs": "", "seccomp": "", "landlock": "", "keyring": "", "lock_mounts": "Um",
    "mask_proc": "Ump", "private_tmp": "Um", "private_sys": "Um",
}  # fmt: skip
"""The parts that a machine can lack, each with the namespaces in which it is tried."""


def try_part(part: str) -> Trial:
    """Return whether this machine has a part. Each is tried once in a process."""
    return _try_part(part, os.getpid())


@functools.cache
def _try_part(part: str, _pid: int) -> Trial:
    options: Any = {part: True}
    return attempt(TRIED_PARTS[part], **options)
