"""The arrangements in which attacks are tried."""

from __future__ import annotations

import pytest

from tests.support.attack import ARRANGEMENTS, HARDENED, Arrangement
from tests.support.needs import needs


@pytest.fixture(params=ARRANGEMENTS, ids=lambda arrangement: arrangement.name.replace(", ", "-").replace(" ", "-"))
def arrangement(request: pytest.FixtureRequest) -> Arrangement:
    """Run the test in each arrangement in which nsbox is meant to hold a program."""
    found: Arrangement = request.param
    needs(found.who, found.options["unshare"])
    return found


@pytest.fixture(params=ARRANGEMENTS + HARDENED, ids=lambda one: one.name.replace(", ", "-").replace(" ", "-"))
def every_arrangement(request: pytest.FixtureRequest) -> Arrangement:
    """Run the test in each arrangement, with and without `harden`."""
    found: Arrangement = request.param
    needs(found.who, found.options["unshare"])
    return found


@pytest.fixture(params=ARRANGEMENTS[:2], ids=["root-user-namespace", "user"])
def with_user_namespace(request: pytest.FixtureRequest) -> Arrangement:
    """Run the test in the two arrangements with a user namespace, where the payload is root inside."""
    found: Arrangement = request.param
    needs(found.who, found.options["unshare"])
    return found
