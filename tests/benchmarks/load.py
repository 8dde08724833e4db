"""Measure the cost of many open jobs: one process on SQLite between the simulated Slack and Omni.

Measured from the start of the process: when its socket is open, when a command typed then has its card, when every open
follow is taken up; then over a minute CPU; over another, with five commands a second, CPU and the time to acknowledge;
and the peak of its memory.
"""

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.demo.omni.server import SimulatedOmni
from bot.demo.slack.simulator import SimulatedSlack
from bot.storage.database import Database
from bot.storage.tables import cards, followers
from tests.benchmarks.ack import a_channel
from tests.benchmarks.restart import HOURS, PER_CHANNEL
from tests.end_to_end.world import World

SECONDS = 60.0
COMMANDS = 300


@dataclass(frozen=True, slots=True)
class Load:
    """Cost of a number of open jobs."""

    follows: int
    connected_seconds: float
    answered_seconds: float
    followed_seconds: float
    cpu_percent: float
    """Of one core, over a minute after all jobs are resumed and without commands."""
    busy_cpu_percent: float
    """The same over a minute with five commands a second."""
    peak_mib: float
    ack_milliseconds: tuple[float, ...]
    """Of each command, sorted."""

    def ack(self, part: float) -> float:
        """The milliseconds within which such a part of the commands was acknowledged."""
        return self.ack_milliseconds[
            min(len(self.ack_milliseconds) - 1, int(part * len(self.ack_milliseconds)))
        ]


async def measure(follows: int, requests_per_minute: int = 60) -> Load:
    """Start the bot on so many open follows of jobs that run for hours."""
    async with (
        SimulatedSlack(limits=False) as slack,
        SimulatedOmni(requests_per_minute=requests_per_minute) as omni,
    ):
        with tempfile.TemporaryDirectory() as folder:
            world = World(slack, omni, Path(folder))
            url = f"sqlite+aiosqlite:///{folder}/follows.sqlite3"
            await _open_follows(url, slack, omni, follows)
            engine = create_async_engine(url)
            try:
                return await _measure(world, engine, follows)
            finally:
                await world.close()
                await engine.dispose()


async def _measure(world: World, engine: AsyncEngine, follows: int) -> Load:
    began = time.monotonic()
    process = await world.bot_process()
    connected = time.monotonic()
    followed = asyncio.create_task(_until_claimed(engine))
    channel = a_channel(world.slack, 990)
    await world.type(world.omni.add(HOURS), channel=channel, user=world.grace)
    await world.slack.until(lambda: bool(world.slack.messages(channel)), timeout=60)
    answered = time.monotonic()
    await followed
    is_followed = time.monotonic()
    await asyncio.sleep(10.0)
    meter = _Meter(process.pid)
    await asyncio.sleep(SECONDS)
    quiet = meter.percent()
    acks = await _acks(world)
    return Load(
        follows,
        connected - began,
        answered - began,
        is_followed - began,
        quiet,
        meter.percent(),
        _peak_mib(process.pid),
        tuple(sorted(acks)),
    )


async def _until_claimed(engine: AsyncEngine) -> None:
    """Wait until every open follow has been claimed; asked seldom, to leave the database to the bot."""
    unclaimed = select(func.count()).where(cards.c.token.is_(None))
    async with asyncio.timeout(300):
        while True:
            async with engine.connect() as connection:
                if await connection.scalar(unclaimed) == 0:
                    return
            await asyncio.sleep(1.0)


async def _acks(world: World) -> list[float]:
    """Milliseconds of commands that come evenly over a minute."""
    acks = []
    for number in range(COMMANDS):
        text = ("help", "list", "", "not an id")[number % 4]
        acked = await world.slack.command(text, user=world.grace, channel=world.channel)
        acks.append(acked.seconds * 1_000 if acked.acked else float("inf"))
        await asyncio.sleep(SECONDS / COMMANDS)
    return acks


async def _open_follows(url: str, slack: SimulatedSlack, omni: SimulatedOmni, follows: int) -> None:
    """Cards of running jobs in Slack, and their rows in the database."""
    opened = await Database.open(url)
    ada, now = slack.workspace.user("ada").id, datetime.now(UTC)
    rows = []
    for number in range(follows):
        if number % PER_CHANNEL == 0:
            channel = slack.workspace.channel(a_channel(slack, number // PER_CHANNEL))
        card = slack.workspace.post(channel, slack.workspace.bot.id, "A card")
        rows.append(
            {
                "id": str(uuid4()),
                "job": omni.add(HOURS),
                "team": slack.workspace.team,
                "channel": channel.id,
                "requester": ada,
                "requested_at": now,
                "post_started_at": now,
                "message_ts": card.ts,
            }
        )
    async with opened.engine.begin() as connection:
        await connection.execute(insert(cards), rows)
        await connection.execute(insert(followers), [{"card": row["id"], "user": ada} for row in rows])
    await opened.close()


class _Meter:
    """Per cent of one core that a process used since the last reading."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._read_at, self._seconds = time.monotonic(), self._cpu_seconds()

    def percent(self) -> float:
        at, seconds = time.monotonic(), self._cpu_seconds()
        used = 100.0 * (seconds - self._seconds) / (at - self._read_at)
        self._read_at, self._seconds = at, seconds
        return used

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
