"""How the database is opened: one SQLite file for one process, or PostgreSQL for several."""

import fcntl
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.domain import DatabaseInUse, StoreUnavailable
from bot.storage.migrations import bring_up_to_date, require_current

CONNECTIONS = 4
"""How many connections to PostgreSQL a process keeps for its tables; the smallest plans allow 20 in all."""

CONNECTS_WITHIN_SECONDS = 5

CONNECTION_WITHIN_SECONDS = 3.0
"""How long a transaction waits for a connection. A user who typed a command waits too."""

PAUSED_AT_MOST_SECONDS = 3
"""After so long in the middle of a transaction, PostgreSQL undoes it and goes on without the process."""

MIGRATION_LOCK = 0x6F6D6E69
"""The advisory lock that lets one process at a time create or change tables: "omni" in ASCII."""


POOLER = (
    "it leads to a pooler in transaction mode, which loses the bot's locks and notifications: use the server's own "
    "address, or the pooler in session mode"
)


class Database:
    """An open database. On SQLite it belongs to one process at a time, which a lock beside the file ensures."""

    def __init__(self, engine: AsyncEngine, lock: IO[str] | None, path: Path | None = None) -> None:
        """`path`: of the SQLite file, which exists."""
        self.engine = engine
        self._lock = lock
        self._path = path
        self._file = path and _file(path)

    @property
    def is_shared(self) -> bool:
        """Whether other processes may use it at the same time."""
        return self.engine.dialect.name == "postgresql"

    @classmethod
    async def open(cls, url: str) -> "Database":
        """Open the database, create what is missing and bring up to date what is old.

        Args:
            url: SQLAlchemy's form, `sqlite+aiosqlite:///path` or `postgresql+psycopg://…`.

        Raises:
            DatabaseInUse: another process has it.
            DatabaseTooNew: its tables are of a later version.
            StoreUnavailable: anything else that keeps it from opening; the message says what.
        """
        address = make_url(url)
        is_file = address.get_backend_name() == "sqlite"
        database = cls(*(_sqlite(address) if is_file else (_postgresql(address), None)))
        try:
            await database._bring_up_to_date()
        except BaseException:
            await database.close()
            raise
        return database

    @classmethod
    async def join(cls, url: str) -> "Database":
        """Open the database beside the bot that has it, for short transactions on rows that no tracker owns.

        Takes no lock and changes no tables: SQLite lets several processes write in turn.

        Raises:
            DatabaseTooNew: its tables are of a later version.
            StoreUnavailable: as `open`; also if no bot of this version has opened it yet.
        """
        address = make_url(url)
        path = sqlite_path(address)
        if path is not None and not path.exists():
            raise StoreUnavailable(f"No such file: {path}. Start the bot first")
        is_file = address.get_backend_name() == "sqlite"
        database = cls(_sqlite_engine(address) if is_file else _postgresql(address), None, path)
        try:
            async with database.engine.begin() as connection:
                await connection.run_sync(require_current)
        except SQLAlchemyError as error:
            await database.close()
            raise StoreUnavailable(reason(error)) from error
        except BaseException:
            await database.close()
            raise
        return database

    def make_sure_of_file(self) -> None:
        """Raise StoreUnavailable if the SQLite file is not at its path any longer: what is written then is lost."""
        if self._path is not None and _file(self._path) != self._file:
            raise StoreUnavailable(f"{self._path} was deleted or replaced: restart the bot")

    async def close(self) -> None:
        """Close the connections and let the next process in."""
        await self.engine.dispose()
        if self._lock is not None:
            self._lock.close()

    async def _bring_up_to_date(self) -> None:
        try:
            await (self._refuse_pooler() if self.is_shared else self._refuse_damage())
            async with self.engine.begin() as connection:
                if self.is_shared:
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                await connection.run_sync(bring_up_to_date)
        except SQLAlchemyError as error:
            raise StoreUnavailable(reason(error)) from error

    async def _refuse_damage(self) -> None:
        """Raise StoreUnavailable if the SQLite file is damaged: the bot would act on wrong rows."""
        async with self.engine.connect() as connection:
            found = await connection.scalar(text("PRAGMA integrity_check(1)"))
        if found != "ok":
            raise StoreUnavailable(f"{self._path} is damaged ({found}): restore a backup")

    async def _refuse_pooler(self) -> None:
        """Raise StoreUnavailable behind a pooler in transaction mode.

        It gives a server's process to another connection at the end of each transaction, and with it the session's
        locks, LISTEN and prepared statements. Source: pgbouncer.org/features.html.
        """
        pid = text("SELECT pg_backend_pid()")
        async with self.engine.connect() as one, self.engine.connect() as other:
            first = await one.scalar(pid)
            await one.commit()
            is_pooled = await other.scalar(pid) == first or await one.scalar(pid) != first
        if is_pooled:
            raise StoreUnavailable(POOLER)


def _postgresql(url: URL) -> AsyncEngine:
    """Connections are checked before each use: servers close what is idle, which is no reason to fail."""
    engine = create_async_engine(
        url,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=CONNECTION_WITHIN_SECONDS,
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECTS_WITHIN_SECONDS},
    )
    event.listen(engine.sync_engine, "connect", prepare_postgresql)
    return engine


def _sqlite(url: URL) -> tuple[AsyncEngine, IO[str] | None, Path | None]:
    path = sqlite_path(url)
    # Beside the file itself, wherever a symlink to it is.
    lock = lock_beside(path.resolve()) if path else None
    engine = _sqlite_engine(url)
    if path and lock:
        try:
            _make_sure_of(path)
        except StoreUnavailable:
            lock.close()
            raise
    return engine, lock, path


def _sqlite_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=CONNECTION_WITHIN_SECONDS)
    event.listen(engine.sync_engine, "connect", prepare_sqlite)
    event.listen(engine.sync_engine, "begin", begin_sqlite)
    return engine


def sqlite_path(url: str | URL) -> Path | None:
    """Return the file of a SQLite database; None for PostgreSQL and for a database in memory."""
    address = make_url(url)
    is_file = address.get_backend_name() == "sqlite" and address.database not in (None, "", ":memory:")
    return Path(str(address.database)) if is_file else None


def shown(url: str) -> str:
    """Return what a database is and where, without user, password and parameters, for the log."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        return f"sqlite {address.database}"
    return f"postgresql {address.host or 'local'}/{address.database}"


def lock_beside(path: Path) -> IO[str]:
    """Lock a SQLite file for this process until the result is closed.

    Raises:
        DatabaseInUse: another process has locked it.
        StoreUnavailable: the lock's file can't be opened.
    """
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


def _file(path: Path) -> tuple[int, int] | None:
    """Which file is at the path: its device and inode. None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def prepare_postgresql(connection: Any, _record: object) -> None:
    """Let no paused process keep others from a row that it was just changing."""
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{PAUSED_AT_MOST_SECONDS}s'")
    cursor.close()
    connection.commit()


def prepare_sqlite(connection: Any, _record: object) -> None:
    """Set what every connection to SQLite needs."""
    # Left alone, Python's driver begins no transaction before a change of tables, which then can be cut short.
    connection.isolation_level = None
    cursor = connection.cursor()
    # WAL: a crash of the process loses nothing that was committed, and a commit costs no fsync.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA busy_timeout=2000")
    cursor.close()


def begin_sqlite(connection: Connection) -> None:
    """Begin each transaction, since the driver is configured to leave that to us.

    It takes the write lock at once: one that reads first and then writes could be refused in the middle.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def reason(error: SQLAlchemyError) -> str:
    """The driver's message, without the statement and its parameters, in one line."""
    if isinstance(error, PoolTimeout):
        return f"no connection free within {CONNECTION_WITHIN_SECONDS:.0f} s"
    said = getattr(error, "orig", None)
    primary = getattr(getattr(said, "diag", None), "message_primary", None)
    return primary or (str(said).partition("\n")[0] if said else type(error).__name__)
