"""Backs up and restores the SQLite file with SQLite's own backup interface.

Copying the file instead can lose or damage data, because the newest changes are in another file beside it. Source:
sqlite.org/howtocorrupt.html, section 1.2, and sqlite.org/backup.html.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bot.domain import DatabaseTooNew, StoreUnavailable
from bot.storage.database import lock_beside
from bot.storage.migrations import SCHEMA_VERSION
from bot.storage.tables import schema_version


def back_up(database: Path, copy: Path) -> None:
    """Write a consistent copy, also while the bot runs. An existing copy is replaced once the new one is whole.

    Raises:
        StoreUnavailable: the database can't be read or the copy can't be written.
    """
    if not database.exists():
        raise StoreUnavailable(f"No such file or directory: {database}")
    if copy.resolve() == database.resolve():
        raise StoreUnavailable(f"{copy} is the database itself")
    partial = copy.with_name(f"{copy.name}.part")
    with _reported(copy):
        partial.unlink(missing_ok=True)
        try:
            partial.touch(mode=0o600)
            with closing(_connect(database)) as source, closing(sqlite3.connect(partial)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode=DELETE")  # keeps the copy in one file
            partial.replace(copy)
        finally:
            partial.unlink(missing_ok=True)


def restore(database: Path, copy: Path) -> None:
    """Replace the database's content by a copy's. The bot must not run.

    Raises:
        DatabaseInUse: the bot runs.
        DatabaseTooNew: the copy's tables are of a later version.
        StoreUnavailable: the copy is no intact backup, or the database can't be written.
    """
    if not copy.exists():
        raise StoreUnavailable(f"No such file or directory: {copy}")
    with lock_beside(database.resolve()), _reported(copy), closing(_connect(copy)) as source:
        _verify(source, copy)
        try:
            _overwrite(database, source)
        except sqlite3.DatabaseError:
            # Too damaged to be opened. An empty file keeps its owner, and SQLite then needs no other file beside it.
            os.truncate(database, 0)
            for suffix in ("-wal", "-shm"):
                database.with_name(database.name + suffix).unlink(missing_ok=True)
            _overwrite(database, source)


def _overwrite(database: Path, source: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(database)) as target:
        source.backup(target)


def _verify(source: sqlite3.Connection, copy: Path) -> None:
    (found,) = source.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise StoreUnavailable(f"{copy} is damaged: {found}")
    try:
        (version,) = source.execute(f"SELECT version FROM {schema_version.name}").fetchone()  # noqa: S608
    except (sqlite3.OperationalError, TypeError) as error:
        raise StoreUnavailable(f"{copy} is not a backup of this bot") from error
    if version > SCHEMA_VERSION:
        raise DatabaseTooNew(
            f"the tables in {copy} have version {version} and this bot knows {SCHEMA_VERSION}: use the newer bot"
        )


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{error.strerror}: {error.filename or path}") from error
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{error}: {path}") from error
