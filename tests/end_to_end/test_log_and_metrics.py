"""The log and the metrics show everything an operator needs, without secrets."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import make_url

from bot.demo.faults import Fault
from bot.demo.omni.job_data import JobData, Query
from bot.demo.omni.organization import MODEL
from bot.demo.omni.server import CANCEL, SUBMIT
from bot.demo.omni.timeline import Complete, Failed, Script
from bot.demo.slack.simulator import too_many_requests
from bot.demo.slack.workspace import StoredMessage
from bot.rendering.ask_replies import COMMAND
from tests.end_to_end.conftest import POSTGRESQL
from tests.end_to_end.world import World, environment
from tests.support.forked_bot import ForkedBot

DATABASES = (POSTGRESQL,)
TOKEN, SIGNING_SECRET, PASSWORD = "metrics-MARKED-secret", "0123456789abcdef" * 2, "MARKED-p@ss"
DATA = JobData(
    (Query("MARKED query", "MARKED column,n\nMARKED cell,1\n", message="MARKED message"),),
    steps=(("search_model", "MARKED step"),),
)
ANSWERED = Script(end=Complete("MARKED answer"))
FAILED = Script(0.0, (), 0.0, Failed("MARKED reason", "MARKED_CODE", "MARKED detail"))
LONG = Script(0.0, ((60.0, "MARKED progress", 1),), 0.0, Complete("MARKED answer"))
PROBLEM = '{"detail": "MARKED detail of a problem", "status": %s}'
REFUSED = '{"detail": "Bad Request: prompt: Invalid value", "status": 400}'
"""Omni's reason for refusing a question is logged."""
MARK = "MARKED"


class Watched:
    """The bot as a separate process, with its log and metrics."""

    def __init__(self, world: World, log: Path) -> None:
        self._world = world
        self._log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        world = self._world
        url = make_url(world.database_url).set(password=PASSWORD)
        more = {
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",
            "METRICS_TOKEN": TOKEN,
            "OMNI_MODEL_ID": MODEL,
            "PORT": str(self._port),
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
        }
        self._log.write_bytes(b"")
        process = ForkedBot(
            environment=environment(world.slack, world.omni, world.database_url) | more,
            folder=world.folder,
            stdout=self._log,
            stderr=self._log,
        )
        world.processes.append(process)
        await world.slack.connected(timeout=20)
        yield
        process.terminate()
        assert await process.wait() == 0

    async def get(self, path: str) -> str:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(headers=headers) as client,
            client.get(f"http://127.0.0.1:{self._port}{path}") as answer,
        ):
            return await answer.text()

    async def figures(self) -> dict[str, float]:
        """The samples, by their name and labels."""
        return {
            " ".join([sample.name.removeprefix("omni_job_bot_"), *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(await self.get("/metrics"))
            for sample in family.samples
        }

    async def ready(self) -> None:
        """Wait until it says so: on PostgreSQL its worker registers when Slack is already connected."""
        async with asyncio.timeout(10):
            while await self.get("/readyz") != "ready\n":
                await asyncio.sleep(0.1)

    async def nothing_under_way(self) -> None:
        """Wait until nothing is being done for a person: then what they see is also stored."""
        while (await self.figures())["waiting interactions"]:
            await asyncio.sleep(0.05)

    def written(self) -> str:
        return self._log.read_text("utf-8")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written().splitlines()]


@pytest.fixture
def watched(world: World, tmp_path: Path) -> Watched:
    return Watched(world, tmp_path / "log")


async def ask(world: World, question: str) -> None:
    acked = await world.slack.command(question, user=world.ada, channel=world.channel, command=COMMAND)
    assert acked.acked


async def a_card(world: World, saying: str) -> StoredMessage:
    """Wait for one of the channel's cards to say something."""

    def found() -> list[StoredMessage]:
        return [each for each in world.slack.messages(world.channel) if saying in str(each.blocks)]

    await world.slack.until(lambda: bool(found()), timeout=20)
    return found()[0]


async def press(world: World, card: StoredMessage, button: str) -> None:
    acked = await world.slack.click(user=world.ada, channel=card.channel, ts=card.ts, action_id=button)
    assert acked.acked


async def play(world: World, watched: Watched) -> None:
    """A question that is answered, with its data and steps; one that fails and is retried in vain; one that is
    cancelled in vain, and left; a job that somebody else follows too; and what a person mistypes."""
    world.omni.script_for_submitted = ANSWERED
    world.omni.data_for_submitted = DATA
    await ask(world, "MARKED question")
    card = await a_card(world, "MARKED answer")
    await watched.nothing_under_way()
    for button in ("show_data", "show_steps"):
        await press(world, card, button)
    await world.slack.until(lambda: "MARKED step" in str(world.replies(card)), timeout=20)
    await world.slack.until(lambda: "MARKED cell" in str(world.replies(card)), timeout=20)

    world.omni.script_for_submitted = FAILED
    await ask(world, "MARKED second question")
    failed = await a_card(world, "MARKED detail")
    await watched.nothing_under_way()
    world.omni.faults.plan(Fault("status", 429, PROBLEM % 429, headers=(("Retry-After", "1"),)), on=SUBMIT)
    world.omni.faults.plan(Fault("status", 400, REFUSED), on=SUBMIT)
    for saying in ("Omni is limiting", "accept this question"):
        await press(world, failed, "retry_job")
        await world.reply_to(world.ada, saying)

    world.omni.script_for_submitted = LONG
    await ask(world, "MARKED third question")
    long = await a_card(world, "MARKED progress")
    await watched.nothing_under_way()
    world.omni.faults.plan(Fault("status", 500, PROBLEM % 500), on=CANCEL)
    await press(world, long, "cancel_job")
    await world.reply_to(world.ada, "Omni didn't respond")
    world.slack.faults.plan(too_many_requests(1), on="chat.update")
    await press(world, long, "stop_following")
    await world.type("MARKED words that are no job")
    await world.type(next(iter(world.omni.jobs)), user=world.grace)
    await world.reply_to(world.grace, "already")
    await world.slack.until(lambda: "no longer follows" in str(long.blocks))
    await world.slack.open_home(world.ada)
    await world.slack.until(lambda: world.slack.home(world.ada) is not None)


@pytest.mark.socket_mode  # it chooses the port itself
async def test_log_and_metrics_show_jobs_without_secrets(world: World, watched: Watched) -> None:
    world.omni.requests_per_minute = 600  # no request waits for the rate limit
    async with watched.running():
        await watched.ready()
        async with asyncio.timeout(40):
            await play(world, watched)
        figures = await watched.figures()
        exposed = await watched.get("/metrics")
    lines, written = watched.lines(), watched.written()

    secrets = [world.slack.bot_token, world.slack.app_token, world.omni.api_key, SIGNING_SECRET]
    secrets += [TOKEN, PASSWORD]
    people = ["ada@example.com", "grace@example.com", "hooks.slack.com", "response_url"]
    for told in (written, exposed):
        assert [each for each in (MARK, *secrets, *people) if each in told] == []
    assert not [job for job in world.omni.jobs if job in exposed]

    for line in lines:
        assert line["timestamp"].endswith("Z") and {"level", "event"} <= line.keys()
    assert not [line for line in lines if "watch" in line and "job" not in line]
    for job in world.omni.jobs:
        events = Counter(line["event"] for line in lines if line.get("job") == job)
        assert {"audit", "job state"} <= events.keys(), (job, events)
    interactions = {line["interaction"] for line in lines if "interaction" in line}
    assert len(interactions) >= 5
    assert not {"ERROR", "CRITICAL"} & {line["level"].upper() for line in lines}

    assert figures["ready"] == figures["part_up follows"] == figures["part_up database"] == 1
    assert figures["omni_requests_total rate_limited"] == 1
    assert figures["omni_requests_total server_error"] == 1
    assert figures["omni_requests_total ok"] >= 6
    assert figures["slack_calls_total chat.update rate_limited"] == 1
    assert figures["slack_calls_total chat.postMessage ok"] >= 5
    assert figures["edits_sent_total"] >= 1
    assert figures["end_delay_seconds_count"] == 2
    assert 0.0 <= figures["end_delay_seconds_sum"] < 40.0
    assert 0.0 <= figures["omni_requests_left"] <= 4.0
    assert figures["omni_requests_per_minute"] == world.omni.requests_per_minute
    asked = sum(figures[name] for name in figures if name.startswith("omni_requests_total"))
    assert asked <= len(world.omni.requests) <= asked + 3
