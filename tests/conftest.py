"""What holds for all tests: the signals they start from, and the switch that rewrites the goldens."""

from __future__ import annotations

import gc
import signal

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is no failure, and a fixture that takes a census for a whole series of examples is meant so.
settings.register_profile(
    "nsbox", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("nsbox")

pytest_plugins = ["pytester", "tests.support.watchdog"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    parser.addoption("--update-goldens", action="store_true", help="rewrite the files the plans are compared with")


def pytest_configure() -> None:
    """Start from the usual actions of signals."""
    # Whoever runs us in the background of a script has us, and all that we start, ignore the interrupt key.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at what stays for the whole session: each census collects garbage."""
    gc.collect()
    gc.freeze()
