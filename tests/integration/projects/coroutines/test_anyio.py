"""Coroutines that anyio's own plugin runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import anyio
import pytest

pytestmark = [pytest.mark.unshare("pid"), pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def value() -> AsyncIterator[int]:
    await anyio.sleep(0)
    yield os.getpid()
    await anyio.sleep(0)


async def test_sleeps() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0.001)


async def test_fixture(value: int, request: pytest.FixtureRequest) -> None:
    await anyio.sleep(0)
    assert (value == os.getpid()) != request.config.pluginmanager.has_plugin("nsbox")


async def test_fails() -> None:
    with anyio.fail_after(0.01):
        await anyio.sleep(4763)


async def test_program() -> None:
    assert (await anyio.run_process(["echo", "done"])).stdout == b"done\n"
