"""Measure how soon the bot works again after a restart with many open jobs.

    uv run python -m tests.benchmarks.restart [--follows 1000]

The real bot as a process of its own between the simulated Slack and Omni of `bot/demo`, once on SQLite and once on a
real PostgreSQL, on which it is ended by SIGTERM and by kill -9 before. Measured from the start of the process:

- connected: Slack's socket is open.
- answered: a command typed right after that is answered, with a card.
- followed: every open follow is claimed by the new process and waits for its turn to ask Omni.
- asked: requests to Omni in the first 5 s, of 500 allowed a minute.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Script
from bot.demo.slack.simulator import SimulatedSlack
from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, MessageTs, TeamId, UserId
from bot.domain.jobs import JobId
from bot.storage.cards import SqlCardRepository
from bot.storage.database import Database
from bot.storage.tables import cards
from bot.storage.transactions import Transactions
from tests.benchmarks.ack import a_channel
from tests.support.postgres import database

HOURS = Script(0.0, tuple((3_600.0, f"Step {number}", number) for number in range(10)))
PER_CHANNEL = 20
ASKED_WITHIN_SECONDS = 5.0


async def open_follows(url: str, slack: SimulatedSlack, omni: SimulatedOmni, follows: int) -> None:
    """Cards of running jobs in Slack, and their rows in the database."""
    opened = await Database.open(url)
    store = SqlCardRepository(Transactions(opened), TeamId(slack.workspace.team))
    person = UserId(slack.workspace.user("ada").id)
    for number in range(follows):
        if number % PER_CHANNEL == 0:
            channel = slack.workspace.channel(a_channel(slack, number // PER_CHANNEL))
        card = slack.workspace.post(channel, slack.workspace.bot.id, "A card")
        now = datetime.now(UTC)
        posted = await store.add(
            Card(
                CardId(str(uuid4())),
                JobId(omni.add(HOURS)),
                ChannelRef(TeamId(slack.workspace.team), ChannelId(channel.id)),
                person,
                (person,),
                now,
            )
        )
        _, (posted,) = await store.claim(posted.job)
        await store.mark_post_started(posted, now)
        await store.mark_posted(posted.id, now, MessageTs(card.ts), None)
    await opened.close()


async def claims(engine: AsyncEngine) -> set[str]:
    """The claims on all open follows. A follow that begins makes a new one, for itself or with others."""
    async with engine.connect() as connection:
        found = await connection.scalars(select(cards.c.token).where(cards.c.closed_at.is_(None)))
        return {str(claim) for claim in found}


async def until_followed(engine: AsyncEngine, before: set[str]) -> float:
    """Wait until every open follow has a claim that it had not before. Returns when that was."""
    async with asyncio.timeout(120):
        while await claims(engine) & before:
            await asyncio.sleep(0.05)
    return time.monotonic()


class Trial:
    """One database, and the bot on it as often as it is started."""

    def __init__(self, url: str, folder: Path, slack: SimulatedSlack, omni: SimulatedOmni) -> None:
        self.url, self.folder, self.slack, self.omni = url, folder, slack, omni

    async def start(self) -> asyncio.subprocess.Process:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_APP_TOKEN": self.slack.app_token,
            "SLACK_API_URL": self.slack.api_url,
            "OMNI_BASE_URL": self.omni.base_url,
            "OMNI_API_TOKEN": self.omni.api_key,
            "OMNI_REQUESTS_PER_MINUTE": str(self.omni.requests_per_minute),
            "MAX_OPEN_FOLLOWS_PER_PERSON": "10000",
            "MAX_LOOKUPS_PER_MINUTE": "10000",
            "DATABASE_URL": self.url,
            "LOG_LEVEL": os.environ.get("LOG_LEVEL", "error"),
        }
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", cwd=self.folder, env=environment
        )

    async def restart(self, engine: AsyncEngine, end: str) -> list[float]:
        """Follow everything, end, start anew. Returns seconds to connected, answered, followed; then requests."""
        before = await claims(engine)
        process = await self.start()
        await until_followed(engine, before)
        before = await claims(engine)
        if end == "kill":
            process.kill()
        else:
            process.terminate()
        await process.wait()
        requests = len(self.omni.requests)
        began = time.monotonic()
        process = await self.start()
        followed = asyncio.create_task(until_followed(engine, before))
        await self.slack.connected(timeout=30)
        connected = time.monotonic()
        channel = a_channel(self.slack, 900 + len(self.slack.workspace.channels))
        typed = await self.slack.command(self.omni.add(HOURS), user="ada", channel=channel)
        assert typed.acked
        await self.slack.until(lambda: bool(self.slack.messages(channel)), timeout=30)
        answered = time.monotonic()
        moments = [connected, answered, await followed]
        await asyncio.sleep(max(0.0, began + ASKED_WITHIN_SECONDS - time.monotonic()))
        asked = len(self.omni.requests) - requests
        process.terminate()
        await process.wait()
        return [*(moment - began for moment in moments), asked]


async def trial(url: str, follows: int, end: str) -> list[float]:
    """A restart on an empty database at `url`, after so many follows were opened."""
    async with SimulatedSlack(limits=False) as slack, SimulatedOmni(requests_per_minute=500) as omni:
        with tempfile.TemporaryDirectory() as folder:
            await open_follows(url, slack, omni, follows)
            engine = create_async_engine(url)  # beside the bot, which holds the lock of a SQLite file
            try:
                return await Trial(url.replace("+aiosqlite", ""), Path(folder), slack, omni).restart(
                    engine, end
                )
            finally:
                await engine.dispose()


async def main() -> None:
    """Print a line per database and kind of end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--follows", type=int, default=1_000)
    follows = parser.parse_args().follows
    print("database    ended by  connected s  answered s  followed s  asked")
    for name, end in (("SQLite", "kill"), ("PostgreSQL", "SIGTERM"), ("PostgreSQL", "kill")):
        with ExitStack() as closing:
            if name == "SQLite":
                folder = closing.enter_context(tempfile.TemporaryDirectory())
                url = f"sqlite+aiosqlite:///{folder}/follows.sqlite3"
            else:
                url = closing.enter_context(database()).replace("postgresql:", "postgresql+psycopg:")
            seconds = await trial(url, follows, end)
        print(f"{name:10}  {end:8}" + "".join(f"{second:12.1f}" for second in seconds), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
