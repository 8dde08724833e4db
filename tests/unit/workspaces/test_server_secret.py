"""What the processes of a database know and nobody else."""

import asyncio

import pytest

from bot.workspaces.processes import BYTES, server_secret
from tests.support.databases import opened


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database."""
    return str(request.getfixturevalue(request.param))


async def test_all_processes_share_one_secret(url: str) -> None:
    async with opened(url) as database:
        processes = [await database.process() for _ in range(3)]
        known = await asyncio.gather(*(server_secret(process, "one") for process in processes))
        assert len(set(known)) == 1 and len(known[0]) == BYTES
    async with opened(url) as database:
        process = await database.process()
        assert await server_secret(process, "one") == known[0]
        assert await server_secret(process, "another") != known[0]
