"""Tests that all use the same port at the same time."""

from __future__ import annotations

import contextlib
import socket

import pytest


@pytest.mark.unshare("net")
@pytest.mark.parametrize("number", range(8))
def test_port(number: int, inside: bool) -> None:
    with socket.create_server(("127.0.0.1", 8080)) if inside else contextlib.nullcontext():
        assert number != 5


@pytest.mark.xdist_group("group")
class TestGroup:
    def test_first(self) -> None:
        pass

    @pytest.mark.unshare("uts")
    def test_second(self) -> None:
        pass
