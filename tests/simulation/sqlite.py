"""SQLite without a thread and without a file: SQLAlchemy's driver over a database in memory.

Committed data outlives its process; a transaction that is open when its process dies is
undone. Every statement lets others run, so a process can die between any two.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Self

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.storage.database import Database, begin_sqlite, prepare_sqlite
from tests.simulation.loop import Process, current_process

BUSY_SECONDS = 2.0
"""How long SQLite waits for a lock before it gives up: the bot's `busy_timeout`."""


class Disk:
    """Committed data."""

    def __init__(self, trouble: Callable[[str], tuple[float, str | None]]) -> None:
        """`trouble` returns for a statement its seconds and its failure:
        "locked", "full", "lost" (done, and not said so), or None."""
        self.rows = sqlite3.connect(":memory:", isolation_level=None)
        self.commits = 0
        self.committed: Callable[[Process | None], None] = lambda _: None
        """Called after each commit."""
        self._trouble = trouble
        self._held_by: Process | None = None
        self._freed = asyncio.Event()

    def close(self) -> None:
        """Forget everything."""
        self.rows.close()

    async def open(self) -> Database:
        """Open the database as `Database.open` does."""
        engine = create_async_engine(
            "sqlite+aiosqlite:///simulated", pool_size=1, max_overflow=0, async_creator=self._connect
        )
        event.listen(engine.sync_engine, "connect", prepare_sqlite)
        event.listen(engine.sync_engine, "begin", begin_sqlite)
        return await self._brought_up_to_date(engine)

    async def _brought_up_to_date(self, engine: AsyncEngine) -> Database:
        database = Database(engine, None)
        try:
            await database._bring_up_to_date()
        except BaseException:
            await database.close()
            raise
        return database

    async def _connect(self) -> "_Connection":
        return _Connection(self)

    def drop(self, process: Process) -> None:
        """Undo what a process had not committed when it died."""
        if self._held_by is process:
            self.rows.rollback()
            self._free()

    async def execute(self, sql: str, parameters: Sequence[Any] | None, *, many: bool) -> sqlite3.Cursor:
        """Run one statement."""
        seconds, wrong = self._trouble(sql)
        await asyncio.sleep(seconds)
        if sql.startswith("BEGIN"):
            await self._hold()
        if wrong == "locked":
            await asyncio.sleep(BUSY_SECONDS)
            raise sqlite3.OperationalError("database is locked")
        if wrong == "full":
            raise sqlite3.OperationalError("database or disk is full")
        if many:
            return self.rows.executemany(sql, parameters or ())
        return self.rows.execute(sql, parameters or ())

    async def commit(self) -> None:
        """Make the open transaction last."""
        seconds, wrong = self._trouble("COMMIT")
        await asyncio.sleep(seconds)
        if wrong in ("locked", "full"):
            raise sqlite3.OperationalError("disk I/O error")
        if self.rows.in_transaction:
            self.rows.commit()
            self.commits += 1
        self._free()
        self.committed(current_process())
        if wrong == "lost":
            raise sqlite3.OperationalError("disk I/O error")
        # The process may still die before it knows.
        await asyncio.sleep(0)

    async def rollback(self) -> None:
        """Undo the open transaction."""
        await asyncio.sleep(0)
        if self._held_by is current_process():
            self.rows.rollback()
            self._free()

    async def _hold(self) -> None:
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                while self._held_by is not None and self._held_by is not current_process():
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise sqlite3.OperationalError("database is locked") from None
        self._held_by = current_process()

    def _free(self) -> None:
        self._held_by = None
        self._freed.set()


class _Connection:
    """The part of aiosqlite's connection that SQLAlchemy uses."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.isolation_level: str | None = None
        self._connection = self
        self._conn = self
        self._tx = self

    def put_nowait(self, order: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        """The queue to aiosqlite's thread: here there is none."""
        future, function = order
        future.set_result(function())

    def cursor(self) -> "_Cursor":
        return _Cursor(self.disk)

    async def create_function(self, *_: Any, **__: Any) -> None:
        """For regular expressions in SQL, which the bot does not use."""

    async def commit(self) -> None:
        await self.disk.commit()

    async def rollback(self) -> None:
        await self.disk.rollback()

    async def close(self) -> None:
        await self.disk.rollback()

    def stop(self) -> None:
        process = current_process()
        if process is not None:
            self.disk.drop(process)


class _Cursor:
    """The part of aiosqlite's cursor that SQLAlchemy uses."""

    arraysize = 1

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._cursor: sqlite3.Cursor | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> "_Cursor":
        self._cursor = await self._disk.execute(sql, parameters, many=False)
        return self

    async def executemany(self, sql: str, parameters: Sequence[Any]) -> "_Cursor":
        self._cursor = await self._disk.execute(sql, parameters, many=True)
        return self

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall() if self._cursor else []

    async def fetchone(self) -> Any:
        return self._cursor.fetchone() if self._cursor else None

    async def close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()

    @property
    def description(self) -> Any:
        return self._cursor.description if self._cursor else None

    @property
    def lastrowid(self) -> Any:
        return self._cursor.lastrowid if self._cursor else None

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount if self._cursor else -1
