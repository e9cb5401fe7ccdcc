"""What both files use."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def inside(request: pytest.FixtureRequest) -> bool:
    """Whether the plugin of nsbox is there, and so the test runs in namespaces of its own."""
    return bool(request.config.pluginmanager.has_plugin("nsbox"))


@pytest.fixture(scope="module")
def module_pid() -> int:
    """Return the PID of the process that runs the fixtures."""
    return os.getpid()
