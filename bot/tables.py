"""The database: its tables, their version, and how it is opened. One file for SQLite."""

import fcntl
from pathlib import Path
from typing import IO, Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.ports import StoreUnavailable

SCHEMA_VERSION = 1
"""Raised by one with every change of a table, together with a step that brings an older file up to it."""

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

watches = Table(
    "watches",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("job", String(36), nullable=False),
    Column("team", String(32), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("requester", String(32), nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("card_tried_at", Float),
    Column("card", String(32)),
    Column("card_gone", Integer, nullable=False, default=0),
    Column("shown", String(32)),
    Column("notice_tried_at", Float),
    Column("notice", String(32)),
    Column("closed_at", Float),
    UniqueConstraint("team", "channel", "job"),
    Index("watches_by_job", "job", "closed_at"),
)
"""One row per card. Times are seconds since 1970, UTC."""

followers = Table(
    "followers",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("watch", ForeignKey("watches.id", ondelete="CASCADE"), nullable=False),
    Column("user", String(32), nullable=False),
    UniqueConstraint("watch", "user"),
    Index("followers_by_user", "user"),
)
"""Who is told of what; `number` keeps the order in which they came."""

budgets = Table(
    "budgets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("arrival", Float, nullable=False),
    Column("paused_until", Float, nullable=False),
)
"""The theoretical arrival time of each budget's next request, and until when nothing may go: seconds since 1970."""


class DatabaseInUse(StoreUnavailable):
    """Another process of the bot holds this SQLite file: two would post everything twice."""


class DatabaseTooNew(StoreUnavailable):
    """A newer version of the bot has written this database."""


class Database:
    """An open database. On SQLite it belongs to one process at a time, which a lock beside the file ensures."""

    def __init__(self, engine: AsyncEngine, lock: IO[str] | None) -> None:
        self.engine = engine
        self._lock = lock

    @classmethod
    async def open(cls, url: str) -> "Database":
        """Open the database and create what is missing.

        Args:
            url: SQLAlchemy's form, `sqlite+aiosqlite:///path`.

        Raises:
            DatabaseInUse: another process has it.
            DatabaseTooNew: its tables are of a later version.
            StoreUnavailable: anything else that keeps it from opening; the message says what.
        """
        path = make_url(url).database
        lock = _lock_beside(Path(path)) if path and path != ":memory:" else None
        engine = create_async_engine(url, pool_size=1, max_overflow=0)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        database = cls(engine, lock)
        try:
            if path and lock is not None:
                _make_sure_of(Path(path))
            await database._create()
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Close the connections and let the next process in."""
        await self.engine.dispose()
        if self._lock is not None:
            self._lock.close()

    async def _create(self) -> None:
        try:
            async with self.engine.begin() as connection:
                version = await connection.run_sync(_version)
                if version is not None and version > SCHEMA_VERSION:
                    raise DatabaseTooNew(
                        f"its tables have version {version} and this bot knows {SCHEMA_VERSION}: "
                        "run the newer bot"
                    )
                await connection.run_sync(metadata.create_all)
                if version is None:
                    await connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
        except SQLAlchemyError as error:
            raise StoreUnavailable(_reason(error)) from error


def _version(connection: Connection) -> int | None:
    """Which version the tables have; None where there are none yet."""
    if not inspect(connection).has_table(schema_version.name):
        return None
    return connection.scalar(select(schema_version.c.version))


def _lock_beside(path: Path) -> IO[str]:
    try:
        lock = path.with_name(path.name + ".lock").open("w")
    except OSError as error:
        raise StoreUnavailable(f"{error.strerror}: {path.parent}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise DatabaseInUse(f"another process of the bot uses {path}") from error
    return lock


def _make_sure_of(path: Path) -> None:
    """See that the file can be written. SQLite would only say that it is unable to open it."""
    try:
        path.open("ab").close()
    except OSError as error:
        raise StoreUnavailable(f"{error.strerror}: {path}") from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # WAL: a crash of the process loses nothing that was committed, and a commit costs no fsync.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA busy_timeout=2000")
    cursor.close()


def _reason(error: SQLAlchemyError) -> str:
    """What the driver said, without the statement and its parameters."""
    return str(getattr(error, "orig", None) or type(error).__name__)
