"""Two thousand simultaneous commands on SQLite: each is served or answered, and running jobs continue.

With `--log-cli-level=INFO` the figures are shown.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from bot.demo.omni.timeline import Script
from bot.demo.slack.socket_mode import Acknowledgement
from bot.demo.slack.web_api.dispatch import METHODS
from bot.demo.slack.workspace import Channel, User
from bot.rendering import replies
from tests.crash.nursery import Process, a_nursery
from tests.crash.world import OLD_SECONDS, World, a_world
from tests.end_to_end.world import a_free_port

pytestmark = [pytest.mark.burst, pytest.mark.timeout(300)]

log = logging.getLogger(__name__)

RUNS_ON = Script(0.0, ((3_600.0, "Thinking", 1),))
COMMANDS = 2_000
PEOPLE = 400
CHANNELS = 200
RUNNING = 20
"""How many jobs are followed before. One of them ends in each second after the burst."""
SHOWN_WITHIN_SECONDS = 30.0
"""Slack takes 50 edits a minute, so the last of these jobs has to wait for the others."""
ANSWERED_WITHIN_SECONDS = 60.0
ACKNOWLEDGED_WITHIN_SECONDS = 10.0
"""Slack gives 3 s. A test machine that does other things as well may need more."""
SERVED_AT_LEAST = 50
SPARE_DESCRIPTORS = 110
"""Connections that may stay open for the next request: 100 to Slack and 10 to Omni."""


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A bot with its port open, and many people in many channels."""
    url = f"sqlite:///{tmp_path / 'bot.sqlite3'}"
    async with a_nursery() as nursery, a_world(nursery, url, tmp_path) as world:
        workspace = world.slack.workspace
        for number in range(PEOPLE):
            person = User(_person(number), f"burst-{number}", f"Burst {number}")
            workspace.users[person.id] = person
        for number in range(CHANNELS):
            channel = Channel(f"C0BURST{number:03d}", f"burst-{number}", "public", set(workspace.users))
            workspace.channels[channel.id] = channel
        world.slack.socket_mode.ack_seconds = ACKNOWLEDGED_WITHIN_SECONDS
        # Otherwise Slack's limits for looking up users and channels are the first to be used up.
        monkeypatch.setitem(METHODS, "users.info", replace(METHODS["users.info"], per_minute=COMMANDS))
        world.settings |= {"PORT": str(a_free_port()), "ALLOW_SHARED_CHANNELS": "true"}
        await world.start()
        await world.connected()
        yield world


async def test_burst_is_answered_and_answers_come(world: World) -> None:
    (process,) = world.living
    running = [world.omni.add(RUNS_ON, age_seconds=OLD_SECONDS) for _ in range(RUNNING)]
    for number, job in enumerate(running):
        await _type(world, job, number)
    await world.until(lambda: all(_card(world, job, number) for number, job in enumerate(running)), 60.0)
    before = _descriptors(process)
    supervising = asyncio.create_task(_supervise(world))

    began = time.monotonic()
    new = [world.omni.add(RUNS_ON) for _ in range(COMMANDS)]
    typing = asyncio.gather(*(_type(world, job, number) for number, job in enumerate(new)))
    ending = asyncio.gather(*(_end(world, job, number) for number, job in enumerate(running)))
    acks = await typing
    outcomes: list[str | None] = []
    while None in (
        outcomes := [_outcome(world, job, number, acks[number]) for number, job in enumerate(new)]
    ):
        if time.monotonic() > began + ANSWERED_WITHIN_SECONDS:
            break
        await asyncio.sleep(0.5)
    answered = time.monotonic() - began
    late = max(await ending)
    supervising.cancel()
    statuses = await supervising
    after = _descriptors(process)

    log.info("acknowledged within %.1f s, answered within %.1f s", max(ack.seconds for ack in acks), answered)
    log.info("what people were answered: %s", Counter(outcomes))
    log.info("answers of running jobs shown within %.1f s", late)
    log.info("descriptors: %d before, %d after; supervisor: %s", before, after, statuses)
    # The last of these is seen only where other programs take most of the processor.
    assert set(outcomes) <= {"card", replies.busy(), replies.storage_down()}
    assert outcomes.count("card") >= SERVED_AT_LEAST
    assert late < SHOWN_WITHIN_SECONDS
    assert set(statuses) <= {"/healthz 200", "/readyz 200"}
    assert after < before + SPARE_DESCRIPTORS
    last = world.omni.add(RUNS_ON)
    await _type(world, last, 0)
    await world.until(lambda: _card(world, last, 0) is not None, 10.0)


def _person(number: int) -> str:
    return f"U0BURST{number % PEOPLE:03d}"


def _channel(number: int) -> str:
    """Another one for each command of a person."""
    return f"C0BURST{(number * 7 + number // PEOPLE) % CHANNELS:03d}"


async def _type(world: World, job: str, number: int) -> Acknowledgement:
    return await world.slack.command(job, user=_person(number), channel=_channel(number))


def _card(world: World, job: str, number: int) -> str | None:
    """Text of a job's card."""
    cards = (f"{card.text}{card.blocks}" for card in world.slack.messages(_channel(number)))
    return next((card for card in cards if job in card), None)


def _outcome(world: World, job: str, number: int, ack: Acknowledgement) -> str | None:
    """What the user sees after a command: a card or an ephemeral reply; None while there is neither."""
    if _card(world, job, number):
        return "card"
    if ack.payload:
        return str(ack.payload.get("text"))
    told = world.slack.private(_person(number), _channel(number))
    return told[0].text if told else None


async def _end(world: World, job: str, number: int) -> float:
    """Let a job end. Returns the seconds until its card shows the answer."""
    await asyncio.sleep(float(number))
    world.omni.set(job, state="COMPLETE", resultSummary=f"The answer {number}.")
    began = time.monotonic()
    with suppress(TimeoutError):
        await world.until(lambda: f"The answer {number}." in (_card(world, job, number) or ""), 90.0)
    return time.monotonic() - began


async def _supervise(world: World) -> Counter[str]:
    """Sample the bot's own state until cancelled."""
    found: Counter[str] = Counter()
    address = f"http://127.0.0.1:{world.settings['PORT']}"
    with suppress(asyncio.CancelledError):
        async with aiohttp.ClientSession() as client:
            while True:
                for path in ("/healthz", "/readyz"):
                    async with client.get(address + path) as answer:
                        found[f"{path} {answer.status}"] += 1
                await asyncio.sleep(0.5)
    return found


def _descriptors(process: Process) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
