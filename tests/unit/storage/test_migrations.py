"""Tables of an older version are led to those of today, with all that is in them, wholly or not at all."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, inspect, text

from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, MessageTs, TeamId, UserId
from bot.domain.errors import DatabaseTooNew, StoreUnavailable
from bot.storage import migrations
from bot.storage.database import Database
from bot.storage.migrations import SCHEMA_VERSION
from tests.support.databases import ADA, GRACE, JOB, LINUS, Opened, new_card, opened, taken_up

VERSION_1 = """
CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);
CREATE TABLE watches (
    id VARCHAR(36) NOT NULL,
    job VARCHAR(36) NOT NULL,
    team VARCHAR(32) NOT NULL,
    channel VARCHAR(32) NOT NULL,
    requester VARCHAR(32) NOT NULL,
    asked_at FLOAT NOT NULL,
    card_tried_at FLOAT,
    card VARCHAR(32),
    card_gone INTEGER NOT NULL,
    shown VARCHAR(32),
    notice_tried_at FLOAT,
    notice VARCHAR(32),
    closed_at FLOAT,
    PRIMARY KEY (id),
    UNIQUE (team, channel, job)
);
CREATE INDEX watches_by_job ON watches (job, closed_at);
CREATE TABLE followers (
    number INTEGER NOT NULL,
    watch VARCHAR(36) NOT NULL,
    user VARCHAR(32) NOT NULL,
    PRIMARY KEY (number),
    UNIQUE (watch, user),
    FOREIGN KEY(watch) REFERENCES watches (id) ON DELETE CASCADE
);
CREATE INDEX followers_by_user ON followers (user);
CREATE TABLE budgets (
    name VARCHAR(64) NOT NULL,
    arrival FLOAT NOT NULL,
    paused_until FLOAT NOT NULL,
    PRIMARY KEY (name)
);
INSERT INTO schema_version VALUES (1);
INSERT INTO watches VALUES ('open', '550e8400-e29b-41d4-a716-446655440000', 'T0ACME', 'C0HERE', 'U0ADA',
    1777896000.123457, 1777896001.5, '1777896001.000100', 0, 'look', NULL, NULL, NULL);
INSERT INTO watches VALUES ('closed', '550e8400-e29b-41d4-a716-446655440000', 'T0ACME', 'C0THERE', 'U0ADA',
    1777896000.0, 1777896001.0, '1777896001.000200', 1, 'end', 1777896050.0, '1777896050.000300', 1777896060.0);
INSERT INTO followers VALUES (1, 'open', 'U0GRACE'), (2, 'open', 'U0ADA'), (3, 'closed', 'U0ADA');
INSERT INTO budgets VALUES ('omni', 1777896100.0, 1777896200.0);
"""
"""What the first release created, and a little of what it wrote. SQLite alone: it knew no other."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that the first release left behind."""
    path = tmp_path / "bot.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    return path


@pytest.fixture
async def old(path: Path) -> AsyncIterator[Opened]:
    async with opened(f"sqlite+aiosqlite:///{path}") as database:
        yield database


def schema(connection: Connection) -> dict[str, object]:
    """Columns, keys and indexes of every table, however they came to be."""
    found = inspect(connection)
    return {
        table: (
            [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            found.get_pk_constraint(table)["constrained_columns"],
            sorted(found.get_unique_constraints(table), key=str),
            sorted(found.get_foreign_keys(table), key=str),
            sorted(found.get_indexes(table), key=str),
        )
        for table in found.get_table_names()
    }


async def schema_of(database: Database) -> dict[str, object]:
    async with database.engine.connect() as connection:
        return await connection.run_sync(schema)


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


async def test_migrated_tables_equal_new_ones(old: Opened, tmp_path: Path) -> None:
    new = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'new.sqlite3'}")
    fresh = await schema_of(new)
    await new.close()
    led = await schema_of((await old.process()).database)
    assert led == fresh
    ours = {
        "schema_version",
        "watches",
        "followers",
        "replies",
        "asks",
        "secrets",
        "budgets",
        "durations",
        "preferences",
        "channel_defaults",
        "ratings",
        "workspaces",
    }
    assert set(fresh) == ours | {"slack_bots", "slack_installations", "slack_oauth_states"}


async def test_what_the_first_release_wrote_is_kept(old: Opened) -> None:
    store = await old.store()
    (kept,) = await taken_up(store)
    assert kept == Card(
        id=CardId("open"),
        job=JOB,
        channel=ChannelRef(TeamId("T0ACME"), ChannelId("C0HERE")),
        requester=ADA,
        followers=(GRACE, ADA),
        requested_at=datetime.fromtimestamp(1777896000.123457, UTC),
        post_started_at=datetime.fromtimestamp(1777896001.5, UTC),
        message_ts=MessageTs("1777896001.000100"),
        shown_fingerprint="look",
        token=kept.token,
    )
    closed = await store.get(CardId("closed"))
    assert closed is not None
    assert (closed.is_message_gone, closed.completion_reply_ts, closed.token, closed.resumed_at) == (
        True,
        "1777896050.000300",
        None,
        None,
    )
    async with store.transactions.database.engine.begin() as connection:
        budgets = await connection.exec_driver_sql("SELECT name, arrival, paused_until FROM budgets")
        assert [tuple(row) for row in budgets] == [("omni", 1777896100.0, 1777896200.0)]


async def test_open_cards_survive_migration(old: Opened) -> None:
    store = await old.store()
    (kept,) = await taken_up(store)
    await store.mark_shown(kept, MessageTs("1777896001.000100"), "newer look")
    assert (await store.add(new_card(kept.channel, LINUS))).followers == (GRACE, ADA, LINUS)
    await store.resume(CardId("closed"), UserId("U0ADA"), kept.requested_at)
    assert len(await taken_up(store)) == 2


async def test_it_is_done_once(old: Opened, path: Path) -> None:
    await old.process()
    await old.close()
    once = dump(path)
    await old.process()
    await old.close()
    assert dump(path) == once
    assert f'INSERT INTO "schema_version" VALUES({SCHEMA_VERSION});' in once


async def test_interrupted_migration_is_repeated(
    old: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(path)
    first, *_ = migrations.STEPS
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", ((*first, "DELETE FROM watches", "DELETE FROM nowhere"),))
        with pytest.raises(StoreUnavailable, match="nowhere"):
            await old.process()
    assert dump(path) == before
    assert [one.id for one in await taken_up(await old.store())] == ["open"]


async def test_only_missing_steps_run_in_order(old: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = migrations.STEPS
    again = [(f"INSERT INTO budgets VALUES ('{to}', {to}, 0)",) for to in (3, 4, 5)]
    for version in (4, 5):
        monkeypatch.setattr(migrations, "STEPS", (first, *again)[: version - 1])
        monkeypatch.setattr(migrations, "SCHEMA_VERSION", version)
        process = await old.process()
        async with process.database.engine.begin() as connection:
            made = await connection.scalars(text("SELECT name FROM budgets WHERE name < 'a' ORDER BY rowid"))
            assert list(made) == ["3", "4", "5"][: version - 2]
        await old.close()


async def test_steps_lead_to_the_newest_version() -> None:
    assert len(migrations.STEPS) + 1 == SCHEMA_VERSION


# Both databases


@pytest.fixture(params=["sqlite", "new_postgresql"], ids=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> str:
    """The URL of a database without rows."""
    return str(request.getfixturevalue(request.param))


async def test_newer_tables_are_refused(new_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_database
    newer = SCHEMA_VERSION + 1
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "SCHEMA_VERSION", newer)
        patch.setattr(migrations, "STEPS", (*migrations.STEPS, ()))
        await open_and_close(url)
    for _ in range(2):
        with pytest.raises(DatabaseTooNew, match=f"version {newer} and this bot knows {SCHEMA_VERSION}"):
            await Database.open(url)


# PostgreSQL


async def test_three_processes_open_an_empty_database(new_postgresql: str) -> None:
    databases = await asyncio.gather(*(Database.open(new_postgresql) for _ in range(3)))
    schemas = [await schema_of(database) for database in databases]
    for database in databases:
        await database.close()
    assert schemas[0] == schemas[1] == schemas[2]
    with psycopg.connect(new_postgresql.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION,)]


async def test_three_processes_migrate_once(new_postgresql: str) -> None:
    await (await Database.open(new_postgresql)).close()
    fresh = await postgresql_schema(new_postgresql)
    added = (
        "claim resumed_at ended thread is_own cancelled_by retried_by outcome given_up progress shared_by "
        "removed_by"
    )
    undo = "ALTER TABLE watches " + ", ".join(f"DROP COLUMN {column}" for column in added.split())
    with psycopg.connect(new_postgresql.replace("+psycopg", "")) as connection:
        connection.execute(undo)
        connection.execute("DROP INDEX watches_by_closing")
        connection.execute("DROP TABLE durations")
        connection.execute("DROP TABLE replies")
        connection.execute("DROP TABLE asks")
        connection.execute("DROP TABLE secrets")
        connection.execute("DROP TABLE slack_bots, slack_installations, slack_oauth_states, workspaces")
        connection.execute("DROP TABLE preferences, channel_defaults, ratings")
        connection.execute("UPDATE schema_version SET version = 1")
    await asyncio.gather(*(open_and_close(new_postgresql) for _ in range(3)))
    assert await postgresql_schema(new_postgresql) == fresh


async def open_and_close(url: str) -> None:
    await (await Database.open(url)).close()


async def postgresql_schema(url: str) -> dict[str, object]:
    database = await Database.open(url)
    try:
        return await schema_of(database)
    finally:
        await database.close()
