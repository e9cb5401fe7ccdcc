"""Assertions that do not end a test: plugins collect them, and let it fail in a hook."""

import threading

import pytest
import pytest_check as check

ONE, TWO = 1, 2
pytestmark = pytest.mark.unshare("pid mount")


def test_check():
    check.equal(1, 2)
    check.equal(1, 3)


def test_check_context():
    with check.check:
        assert ONE == TWO


def test_check_fixture(check):
    check.is_true(False)


def test_check_thread():
    thread = threading.Thread(target=check.equal, args=(1, 2))
    thread.start()
    thread.join()


def test_check_and_fails():
    check.equal(1, 2)
    pytest.fail("after it")


def test_check_and_skips():
    check.equal(1, 2)
    pytest.skip("after it")


@pytest.mark.xfail
def test_check_expected():
    check.equal(1, 2)


@pytest.mark.xfail(raises=ValueError)
def test_check_expected_another():
    check.equal(1, 2)


def test_check_with_xfail():
    check.equal(1, 2, xfail="known")


def test_assume():
    pytest.assume(ONE == TWO)
    pytest.assume(TWO > ONE)


def test_assume_context():
    with pytest.assume:
        assert ONE == TWO


def test_assume_and_fails():
    pytest.assume(ONE == TWO)
    pytest.fail("after it")


@pytest.mark.xfail(strict=True)
def test_assume_expected():
    pytest.assume(ONE == TWO)


def test_passes():
    check.equal(1, 1)
    pytest.assume(True)
