"""Fixtures for the tests of the plugin: a directory in which another pytest runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.forked import Who
from tests.support.inner_pytest import Inner
from tests.support.needs import needs


@pytest.fixture
def inner(place: Path, who: Who) -> Inner:
    """A directory for tests, as root and as an ordinary user."""
    return Inner(place, who)


@pytest.fixture
def as_root(place: Path) -> Inner:
    """The same for tests that do not depend on the user."""
    needs(Who("root" if os.geteuid() == 0 else "user"), "mip")
    return Inner(place, Who("root"))
