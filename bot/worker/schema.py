"""Installs and migrates procrastinate's tables and functions, which it ships as SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import LiteralString

import psycopg
import structlog

from bot.domain import StoreUnavailable
from bot.worker.pg import conninfo

log = structlog.get_logger()

LOCK = 0x71756575
"""The advisory lock that lets one process at a time change the queue's tables: "queu" in ASCII."""

WAITS_SECONDS = 30
"""How long to wait for a lock on the tables."""


@dataclass(frozen=True, slots=True)
class Schema:
    """procrastinate's SQL: the complete schema, and each change since its first version."""

    whole: str
    changes: Mapping[str, str]
    """By file name; the names sort in the order to apply them.
    Source: procrastinate.readthedocs.io/en/stable/howto/production/migrations.html."""

    @property
    def newest(self) -> str:
        """The last change that `whole` includes."""
        return max(self.changes)

    @classmethod
    def installed(cls) -> "Schema":
        """Return the schema of the installed version of procrastinate."""
        folder = files("procrastinate") / "sql"
        changes = {
            change.name: change.read_text(encoding="utf-8")
            for change in (folder / "migrations").iterdir()
            if change.name.endswith(".sql")
        }
        return cls((folder / "schema.sql").read_text(encoding="utf-8"), changes)


async def prepare(url: str, schema: Schema | None = None) -> None:
    """Install the queue's tables or apply newer changes. Several processes may call it at once.

    Raises:
        StoreUnavailable: the database does not answer, or its queue was made by a newer bot, or by another program.
    """
    schema = schema or Schema.installed()
    try:
        async with await psycopg.AsyncConnection.connect(conninfo(url), autocommit=True) as connection:
            await connection.execute(f"SET lock_timeout = '{WAITS_SECONDS}s'")
            # Held until the connection is closed: some changes can't be used in the transaction that makes them.
            await connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            await _bring_up_to_date(connection, schema)
    except psycopg.Error as error:
        raise StoreUnavailable(f"queue not prepared: {str(error).partition(chr(10))[0]}") from error


async def _bring_up_to_date(connection: psycopg.AsyncConnection, schema: Schema) -> None:
    await connection.execute("CREATE TABLE IF NOT EXISTS queue_changes (name text PRIMARY KEY)")
    made = await _one(connection, 'SELECT max(name COLLATE "C") FROM queue_changes')
    if made is None:
        if await _one(connection, "SELECT to_regclass('procrastinate_jobs')::text") is not None:
            raise StoreUnavailable(
                "another program keeps a queue in this database: give the bot one of its own"
            )
        await _make(connection, schema.whole, schema.newest)
        log.info("queue installed", newest=schema.newest)
        return
    if made > schema.newest:
        raise StoreUnavailable(
            f"its queue has the change {made} and this bot knows them to {schema.newest}: run the newer bot"
        )
    for name in sorted(name for name in schema.changes if name > made):
        await _make(connection, schema.changes[name], name)
        log.info("queue changed", change=name)


async def _make(connection: psycopg.AsyncConnection, change: str, name: str) -> None:
    async with connection.transaction():
        await connection.execute(change)
        await connection.execute("INSERT INTO queue_changes VALUES (%s)", [name])


async def _one(connection: psycopg.AsyncConnection, query: LiteralString) -> str | None:
    row = await (await connection.execute(query)).fetchone()
    return None if row is None or row[0] is None else str(row[0])
