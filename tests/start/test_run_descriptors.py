"""The descriptors that `run` passes on."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.forked import Who, in_child


@pytest.mark.parametrize("options", [{}, {"init": False}], ids=["plain", "no init"])
def test_a_passed_descriptor_is_closed_by_another_thread(who: Who, place: Path, options: dict[str, Any]) -> None:
    """Under its number the program gets what the caller had there, or is not started."""

    def check() -> set[object]:
        found: set[object] = set()
        for _ in range(150):
            passed = os.open("/dev/full", os.O_RDONLY)
            command = ["sh", "-c", f"readlink /proc/self/fd/{passed} > {place}/found"]
            close = threading.Timer(random.uniform(0, 5e-4), os.close, (passed,))
            close.start()
            try:
                # No pipes, as one of them could have the number before nsbox sees it.
                nsbox.run(command, unshare="mi", pass_fds=[passed], **options)
                found.add((place / "found").read_text())
            except nsbox.SpawnError as error:
                found.add((error.step, error.errno))
            close.join()
        return found

    assert in_child(lambda: who(check)) <= {"/dev/full\n", ("descriptors", errno.EBADF)}
