"""What holds for all tests: a limit on their time, and the switch that rewrites the goldens."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.watchdog import LIMIT, Watchdog

# A loaded machine is no failure, and a fixture that takes a census for a whole series of examples is meant so.
settings.register_profile(
    "nsbox", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("nsbox")

_watchdog = Watchdog()

pytest_plugins = ["pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    parser.addoption("--update-goldens", action="store_true", help="rewrite the files the plans are compared with")


def pytest_configure(config: pytest.Config) -> None:
    """Start from the usual actions of signals, and announce our markers."""
    # Whoever runs us in the background of a script has us, and all that we start, ignore the interrupt key.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    config.addinivalue_line("markers", "limit(seconds): how long a test may take before it counts as hanging")
    config.addinivalue_line("markers", "alone(reason): the test cannot share the machine with others")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that may take the longest, so that no process waits for another at the end."""
    items.sort(key=_limit, reverse=True)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at what stays for the whole session: each census collects garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Limit the time of a test, with its fixtures."""
    with _watchdog.limit(_limit(item)):
        return (yield)


def _limit(item: pytest.Item) -> int:
    marker = item.get_closest_marker("limit")
    return int(marker.args[0]) if marker else LIMIT


# The last of the wrappers is the one directly around the test function.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pyfunc_call() -> Iterator[None]:
    """Let the limit raise in the test function."""
    with _watchdog.interruptible():
        return (yield)
