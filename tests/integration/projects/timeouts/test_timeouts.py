"""A test that hangs, between two that do not."""

from __future__ import annotations

import subprocess
import time

import pytest

pytestmark = pytest.mark.unshare("pid")


def test_before() -> None:
    pass


@pytest.mark.timeout(1)
def test_hangs() -> None:
    subprocess.Popen(["sleep", "4761"], start_new_session=True)
    time.sleep(4761)


@pytest.mark.timeout(600)
def test_after() -> None:
    pass
