"""Channels' models in a real database, SQLite and PostgreSQL."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from bot.domain.cards import ChannelId, TeamId
from bot.domain.errors import DatabaseTooNew, StoreUnavailable
from bot.domain.questions import ChannelDefault, ModelId
from bot.storage.channel_defaults import SqlChannelDefaultRepository
from bot.storage.database import Database
from bot.storage.installations import delete_uninstalled
from bot.storage.tables import schema_version
from bot.storage.transactions import Transactions
from tests.support.databases import NOON, Opened
from tests.support.installed import ACME, OTHER, installation, store

SALES, SUPPORT = ChannelId("C0SALES"), ChannelId("C0SUPPORT")
TICKETS = ChannelDefault(ModelId("770e8400-e29b-41d4-a716-446655440002"), "tickets")
SHOP = ChannelDefault(ModelId("880e8400-e29b-41d4-a716-446655440002"))


@pytest.fixture
async def defaults(database: Opened) -> SqlChannelDefaultRepository:
    return SqlChannelDefaultRepository(await database.process(), TeamId("T0"))


async def test_last_default_counts_in_every_process(
    database: Opened, defaults: SqlChannelDefaultRepository
) -> None:
    assert await defaults.get(SALES) is None
    for default in (TICKETS, SHOP):
        await defaults.put(SALES, default, NOON)
    await defaults.put(SUPPORT, TICKETS, NOON)
    again = SqlChannelDefaultRepository(await database.process(), TeamId("T0"))
    assert await again.get(SALES) == SHOP
    assert await again.all() == {SALES: SHOP, SUPPORT: TICKETS}


async def test_removed_default_is_gone(defaults: SqlChannelDefaultRepository) -> None:
    await defaults.put(SALES, TICKETS, NOON)
    assert [await defaults.remove(SALES) for _ in range(2)] == [True, False]
    assert await defaults.get(SALES) is None and await defaults.all() == {}


async def test_default_belongs_to_one_team(defaults: SqlChannelDefaultRepository) -> None:
    await defaults.put(SALES, TICKETS, NOON)
    other = SqlChannelDefaultRepository(defaults.transactions, OTHER)
    assert await other.get(SALES) is None and not await other.remove(SALES)
    await other.put(SALES, SHOP, NOON)
    assert (await defaults.all(), await other.all()) == ({SALES: TICKETS}, {SALES: SHOP})


async def test_simultaneous_changes_do_not_conflict(
    database: Opened, defaults: SqlChannelDefaultRepository
) -> None:
    other = SqlChannelDefaultRepository(await database.process(), TeamId("T0"))
    await asyncio.gather(*(one.put(SALES, TICKETS, NOON) for one in (defaults, other) for _ in range(5)))
    assert await defaults.all() == {SALES: TICKETS}


async def test_defaults_without_app_are_deleted(defaults: SqlChannelDefaultRepository) -> None:
    transactions = defaults.transactions
    await store(transactions).async_save(installation(ACME))
    teams = [SqlChannelDefaultRepository(transactions, team) for team in (ACME, OTHER)]
    for one in teams:
        await one.put(SALES, TICKETS, NOON)
    await delete_uninstalled(transactions, NOON - timedelta(days=1))
    assert [await one.get(SALES) for one in teams] == [TICKETS, TICKETS]
    await delete_uninstalled(transactions, NOON + timedelta(days=1))
    assert [await one.get(SALES) for one in teams] == [TICKETS, None]


async def test_joined_database_is_written_beside_its_owner(database: Opened) -> None:
    one = SqlChannelDefaultRepository(await database.process(), ACME)
    joined = await Database.join(database.url)
    other = SqlChannelDefaultRepository(Transactions(joined), ACME)
    await asyncio.gather(*(each.put(SALES, TICKETS, NOON) for each in (one, other) for _ in range(20)))
    await other.put(SALES, SHOP, NOON)
    await joined.close()
    assert await one.get(SALES) == SHOP
    await one.put(SALES, TICKETS, NOON)


async def test_joining_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Start the bot first"):
        await Database.join(f"sqlite+aiosqlite:///{tmp_path / 'bot.sqlite3'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by, error", [(-1, StoreUnavailable), (1, DatabaseTooNew)], ids=["older", "newer"])
async def test_joining_changes_no_tables(database: Opened, by: int, error: type[StoreUnavailable]) -> None:
    transactions = await database.process()

    async def shift(by: int) -> None:
        change = update(schema_version).values(version=schema_version.c.version + by)
        await transactions.run(lambda connection: connection.execute(change))

    await shift(by)
    with pytest.raises(error, match=r"the bot first|the newer bot"):
        await Database.join(database.url)
    await shift(-by)  # the server's database is that of the next test
