"""Coroutines that pytest-asyncio runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

pytestmark = [pytest.mark.unshare("pid"), pytest.mark.asyncio]


@pytest_asyncio.fixture
async def value() -> AsyncIterator[int]:
    await asyncio.sleep(0)
    yield os.getpid()
    await asyncio.sleep(0)


async def test_sleeps() -> None:
    await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(3)))


async def test_fixture(value: int, request: pytest.FixtureRequest) -> None:
    await asyncio.sleep(0)
    assert (value == os.getpid()) != request.config.pluginmanager.has_plugin("nsbox")


async def test_thread() -> None:
    assert await asyncio.to_thread(len, "abc") == 3


async def test_program() -> None:
    program = await asyncio.create_subprocess_exec("echo", "done", stdout=asyncio.subprocess.PIPE)
    assert await program.communicate() == (b"done\n", None)
    assert program.returncode == 0


async def test_connection() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    server.close()


async def test_fails() -> None:
    await asyncio.sleep(0)
    assert asyncio.get_running_loop().is_closed()


async def test_times_out() -> None:
    async with asyncio.timeout(0.01):
        await asyncio.sleep(4762)
