"""`/metrics` over HTTP: for whoever has the token, also while the bot is not ready."""

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest

from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import JobState
from bot.domain.ports.metrics import GaugeSnapshot
from bot.server.health import Health
from bot.server.http import serve
from bot.server.metrics import MetricsEndpoint, PrometheusMetrics

TOKEN = "0123456789abcdef-token"


class Fixed(Health):
    """Whatever a test says."""

    found: Mapping[str, str | None] = {"slack": None}

    async def problems(self) -> Mapping[str, str | None]:
        return self.found


class Served:
    """A served port, and what stands behind it."""

    def __init__(self, token: str | None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.metrics = PrometheusMetrics()
        self.health = Fixed()
        self.exposition = MetricsEndpoint(token, self.metrics, self.health)

    async def get(self, authorization: str | None = None) -> tuple[int, str, str]:
        headers = {} if authorization is None else {"Authorization": authorization}
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{self.port}/metrics", headers=headers) as answer,
        ):
            return answer.status, answer.headers.get("Content-Type", ""), await answer.text()


@asynccontextmanager
async def served(token: str | None = TOKEN) -> AsyncIterator[Served]:
    served = Served(token)
    async with serve("127.0.0.1", served.port, served.exposition.routes()):
        yield served


async def read() -> Sequence[GaugeSnapshot]:
    return [GaugeSnapshot(states=[JobState.EXECUTING], requests_per_minute=60, requests_left=4.0)]


async def test_token_gives_prometheus_format() -> None:
    async with served() as port:
        port.exposition.read = read
        port.metrics.edit_sent()
        status, kind, text = await port.get(f"Bearer {TOKEN}")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "omni_job_bot_edits_sent_total 1.0\n" in text
    assert 'omni_job_bot_follows{state="executing"} 1.0\n' in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"bearer  {TOKEN}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer ünknöwn",
    ],
)
async def test_without_the_token_there_are_none(authorization: str | None) -> None:
    async with served() as port:
        status, _, text = await port.get(authorization)
    assert (status, text) == (401, "unauthorized\n")


async def test_metrics_need_a_token() -> None:
    async with served(None) as port:
        for authorization in (None, "Bearer None", "Bearer "):
            assert (await port.get(authorization))[0] == 404


async def test_starting_bot_reports_not_ready() -> None:
    async with served() as port:
        port.health.found = await Health().problems()
        status, _, text = await port.get(f"Bearer {TOKEN}")
    assert status == 200
    assert "omni_job_bot_ready 0.0\n" in text and 'omni_job_bot_part_up{part="slack"} 0.0\n' in text


async def test_metrics_work_without_database() -> None:
    async def unavailable() -> int:
        raise StoreUnavailable("gone")

    async with served() as port:
        port.exposition.read, port.exposition.count = read, unavailable
        status, _, text = await port.get(f"Bearer {TOKEN}")
    assert status == 200
    assert "omni_job_bot_follows_everywhere NaN\n" in text
    assert 'omni_job_bot_follows{state="executing"} 1.0\n' in text
