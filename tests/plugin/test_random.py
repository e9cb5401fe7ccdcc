"""Random numbers of a marked test."""

from __future__ import annotations

from tests.support.inner_pytest import Inner

SEEDED = """
    import random
    import pytest

    @pytest.fixture
    def seeded():
        random.seed(13)
        yield
        # What the test takes, it takes from a copy.
        assert random.random() == random.Random(13).random()

    @pytest.mark.unshare("pid")
    def test_pid(seeded):
        assert random.random() == random.Random(13).random()

    @pytest.mark.unshare("uts")
    def test_uts(seeded):
        assert random.random() == random.Random(13).random()
"""


def test_seed_of_a_fixture(inner: Inner) -> None:
    """They are those of the seed that a fixture has set, as without the marker."""
    inner.write(test_it=SEEDED)
    inner.run().assert_outcomes(passed=2)
