"""The fixtures and options of all tests. Each test must leave the machine as it found it."""

from __future__ import annotations

import gc
import importlib
import signal
from collections.abc import Iterator
from pathlib import Path

import nsbox
import pytest
from hypothesis import HealthCheck, settings

from tests.support.census import Census, adopt_orphans
from tests.support.far import open_place
from tests.support.forked import Who
from tests.support.needs import needs
from tests.support.threads import busy

# A busy machine is no failure, and a fixture may take one census for all examples of a test.
settings.register_profile(
    "nsbox", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("nsbox")

pytest_plugins = ["pytester", "tests.support.watchdog"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of these tests."""
    parser.addoption("--update-goldens", action="store_true", help="rewrite the files the plans are compared with")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and restore the default actions of signals."""
    config.addinivalue_line("markers", "pure: needs no kernel: `make check` runs it, and no census is taken")
    # A script that runs pytest in the background makes it, and all its children, ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Exclude the objects that stay for the whole session from the garbage collection that each census starts."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _prepared() -> None:
    """Let the census find orphans, and open the descriptor of nsbox-init, which each process opens once."""
    adopt_orphans()
    # A child that is another user, or in a chroot, can import nothing.
    for name in (*nsbox.__all__, *nsbox._MODULES):
        getattr(nsbox, name)
    importlib.import_module("nsbox.diagnosis.causes")
    nsbox.run(["true"], unshare="")


@pytest.fixture(autouse=True)
def census(request: pytest.FixtureRequest) -> Iterator[Census | None]:
    """Fail a test that leaves processes, descriptors, mounts or files behind."""
    if request.node.get_closest_marker("pure"):
        yield None
        return
    request.getfixturevalue("_prepared")
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
    """Keep four threads of this process busy during the test."""
    with busy(4):
        yield


@pytest.fixture
def place() -> Iterator[Path]:
    """Return an empty directory that every user may use."""
    with open_place() as path:
        yield path
