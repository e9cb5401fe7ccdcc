"""What holds for all tests: a limit on their time, and the switch that rewrites the goldens."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is no failure, and a fixture that takes a census for a whole series of examples is meant so.
settings.register_profile(
    "nsbox", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("nsbox")

_LIMIT = 60

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


@pytest.fixture(autouse=True)
def _no_hang(request: pytest.FixtureRequest) -> Iterator[None]:
    """Raise in a test that hangs, instead of waiting for ever."""
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else _LIMIT

    def late(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise TimeoutError(f"the test hangs: not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
