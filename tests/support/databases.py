"""The database that a test is about, as processes open it, close it and find it again: SQLite or PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url

from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.jobs import JobId
from bot.domain.ports.storage import CardRepository, FailedCardRepository, RemovalRepository
from bot.storage.cards import SqlCardRepository
from bot.storage.database import Database
from bot.storage.rate_limits import SqlRateLimitStore
from bot.storage.removals import SqlRemovalRepository
from bot.storage.transactions import Transactions
from bot.storage.undelivered import SqlFailedCardRepository
from tests.support.fakes import FakeCards, FakeFailedCards, FakeRemovals

TEAM = TeamId("T0ACME")
HERE = ChannelRef(TEAM, ChannelId("C0HERE"))
THERE = ChannelRef(TEAM, ChannelId("C0THERE"))
JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
OTHER_JOB = JobId("660e8400-e29b-41d4-a716-446655440000")
ADA, GRACE, LINUS = UserId("U0ADA"), UserId("U0GRACE"), UserId("U0LINUS")
NOON = datetime(2026, 5, 4, 12, 0, 0, 123_457, tzinfo=UTC)


def new_card(
    channel: ChannelRef = HERE,
    *people: UserId,
    job: JobId = JOB,
    asked_at: datetime = NOON,
    name: str | None = None,
) -> Card:
    """A new card, followed by Ada unless others are named."""
    followers = people or (ADA,)
    return Card(CardId(name or str(uuid4())), job, channel, followers[0], followers, asked_at)


async def taken_up(store: CardRepository, job: JobId = JOB) -> list[Card]:
    """A job's open cards, as a follow that begins now has them."""
    return list((await store.claim(job))[1])


async def followed(
    store: CardRepository, *people: UserId, channel: ChannelRef = HERE, job: JobId = JOB
) -> Card:
    """A new card, as a follow that has just begun has it."""
    added = await store.add(new_card(channel, *people, job=job))
    return next(one for one in await taken_up(store, job) if one.id == added.id)


def removals_of(table: CardRepository) -> RemovalRepository:
    """The removals of a table of cards."""
    if isinstance(table, FakeCards):
        return FakeRemovals(table)
    assert isinstance(table, SqlCardRepository)
    return SqlRemovalRepository(table.transactions, TEAM)


def failed_cards_of(table: CardRepository) -> FailedCardRepository:
    """What a table holds of the cards that were given up."""
    if isinstance(table, FakeCards):
        return FakeFailedCards(table)
    assert isinstance(table, SqlCardRepository)
    return SqlFailedCardRepository(table.transactions, TEAM)


class Clock:
    """The time of a process."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Opened:
    """A database that processes have open. SQLite has one process at a time, however often it is asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_shared = make_url(url).get_backend_name() == "postgresql"
        self.clock = Clock()
        self._processes: list[Transactions] = []

    async def process(self) -> Transactions:
        """The database as one more process has it."""
        if not self._processes or self.is_shared:
            self._processes.append(Transactions(await Database.open(self.url)))
        return self._processes[-1]

    async def store(self, team: TeamId = TEAM, most_open_follows: int | None = None) -> SqlCardRepository:
        """A team's cards, as one more process has them."""
        return SqlCardRepository(await self.process(), team, most_open_follows)

    async def ledger(self) -> SqlRateLimitStore:
        """The budgets of one more process."""
        return SqlRateLimitStore(await self.process(), self.clock)

    async def close(self) -> None:
        """End every process."""
        while self._processes:
            process = self._processes.pop()
            await process.drain()
            await process.database.close()

    async def let_pass(self, seconds: float) -> None:
        """Let time pass for the budgets. PostgreSQL's clock is nobody's to set, so there their past moves."""
        self.clock.go(seconds)
        if self.is_shared and seconds:
            move = "UPDATE budgets SET arrival = arrival - :s, paused_until = paused_until - :s"
            async with self._processes[-1].database.engine.begin() as connection:
                await connection.execute(text(move), {"s": seconds})


def empty(url: str) -> None:
    """Leave nothing in the tables of a PostgreSQL database."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(
            "DELETE FROM watches; DELETE FROM asks; DELETE FROM secrets; DELETE FROM budgets; DELETE FROM durations;"
            " DELETE FROM slack_bots; DELETE FROM slack_installations; DELETE FROM slack_oauth_states;"
            " DELETE FROM workspaces; DELETE FROM channel_defaults"
        )


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Opened]:
    """The database at an address; whoever still has it open at the end is closed."""
    database = Opened(url)
    try:
        yield database
    finally:
        await database.close()


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is sent to the database, as long as the context lasts: the statements, without their parameters."""
    sent: list[str] = []

    def remember(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", remember)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", remember)


async def steps(number: int) -> None:
    """Let the event loop go round so many times."""
    for _ in range(number):
        await asyncio.sleep(0)
