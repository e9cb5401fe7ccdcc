"""What the oldest pytest that the extra allows must be able to do."""

from __future__ import annotations

import os
from collections.abc import Callable

import nsbox
import pytest


@pytest.mark.unshare("pid mount", mount_proc=True)
def test_passes(record_property: Callable[[str, object], None]) -> None:
    record_property("points", 3)
    assert os.listdir("/proc")


@pytest.mark.unshare("pid")
def test_fails() -> None:
    assert os.getpid() == 0


@pytest.mark.unshare
def test_skips() -> None:
    pytest.skip("not today")


@pytest.mark.unshare
@pytest.mark.xfail(reason="known")
def test_is_expected_to_fail() -> None:
    raise KeyError("known")


def test_box(box: nsbox.Box) -> None:
    assert box.call(len, "ab") == 2


@pytest.mark.needs_namespaces
def test_shell(shell: nsbox.Shell) -> None:
    assert shell.run("echo $$").stdout == "1\n"
