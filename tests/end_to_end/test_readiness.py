"""Health checks and metrics of one process on SQLite, from its start to its end."""

import asyncio
import socket

import aiohttp
import pytest

from bot.demo.omni.timeline import Script
from bot.rendering import replies
from tests.end_to_end.world import World

LONG = Script(0.0, ((60.0, "Thinking", 1),))
TOKEN = "0123456789abcdef-token"


def a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def get(port: int, path: str, *, token: str = "") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def becomes(port: int, path: str, text: str, *, token: str = "") -> None:
    """Wait until an address says something."""
    async with asyncio.timeout(20):
        while text not in (await get(port, path, token=token))[1]:
            await asyncio.sleep(0.1)


@pytest.mark.socket_mode  # it chooses the port itself
async def test_bot_becomes_ready_and_reports_jobs(world: World) -> None:
    port, job = a_free_port(), world.omni.add(LONG)
    async with world.bot(port=port, metrics_token=TOKEN):
        await becomes(port, "/readyz", "ready\n")
        await world.type(job)
        await world.card("Omni is working on it")
        await becomes(port, "/metrics", 'omni_job_bot_follows{state="executing"} 1.0\n', token=TOKEN)
        _, figures = await get(port, "/metrics", token=TOKEN)
        assert "omni_job_bot_follows_everywhere 1.0\n" in figures
        assert "omni_job_bot_ready 1.0\n" in figures
        assert (await get(port, "/metrics"))[0] == 401
        assert job not in figures


async def test_metrics_require_token(world: World) -> None:
    port = a_free_port()
    async with world.bot(port=port):
        assert (await get(port, "/healthz"))[0] == 200
        assert (await get(port, "/metrics", token=TOKEN))[0] == 404


@pytest.mark.socket_mode  # it chooses the port itself
async def test_deleted_database_file_is_noticed(world: World) -> None:
    port = a_free_port()
    async with world.bot(port=port):
        await becomes(port, "/readyz", "ready\n")
        (world.folder / "follows.sqlite3").unlink()
        await becomes(port, "/readyz", "database can't be written\n")
        await world.type(world.omni.add(LONG))
        await world.reply_to(world.ada, replies.storage_down())
