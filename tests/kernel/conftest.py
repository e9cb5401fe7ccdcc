"""Fixtures of the tests with real namespaces. Each test must leave the machine as it found it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import nsbox
import pytest

from tests.support.census import Census, adopt_orphans
from tests.support.far import open_place
from tests.support.forked import Who
from tests.support.needs import needs
from tests.support.threads import busy


@pytest.fixture(scope="session", autouse=True)
def _adopted() -> None:
    """Let no orphan escape the census, and have once what every process has once: the descriptor of nsbox-init."""
    adopt_orphans()
    # A child that is another user, or in a chroot, finds no module any more.
    for name in (*nsbox.__all__, *nsbox._MODULES):
        getattr(nsbox, name)
    importlib.import_module("nsbox.diagnosis.causes")
    nsbox.run(["true"], unshare="")


@pytest.fixture(autouse=True)
def census(_adopted: None) -> Iterator[Census]:
    """Fail a test after which there is more than before."""
    before = Census.take()
    yield before
    left = before.left_behind()
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture(params=["root", "user"])
def who(request: pytest.FixtureRequest) -> Who:
    """Run the test as root and as an ordinary user."""
    who = Who(request.param)
    needs(who, "mip")
    return who


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Keep four threads of this process spinning during the test."""
    with busy(4):
        yield


@pytest.fixture
def place() -> Iterator[Path]:
    """Return an empty directory in which everybody may do everything."""
    with open_place() as path:
        yield path
