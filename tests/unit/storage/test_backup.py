"""A copy of the SQLite file is whole, and restoring it survives a crash and a damaged file."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from bot.domain.errors import DatabaseInUse, DatabaseTooNew, StoreUnavailable
from bot.storage.backup import back_up, restore
from bot.storage.database import Database
from bot.storage.migrations import SCHEMA_VERSION
from tests.support.paths import ROOT

WRITE = """
import asyncio, sys
from sqlalchemy import text
from bot.storage import Database

async def write():
    database = await Database.open(sys.argv[1])
    for n in range(100_000):
        async with database.engine.begin() as connection:
            row = {"name": f"row {n:06}", "value": "x" * 500}
            await connection.execute(text("INSERT INTO secrets (name, value) VALUES (:name, :value)"), row)
        if n == 50:
            print("writing", flush=True)

asyncio.run(write())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.sqlite3"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.sqlite3"


def url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


async def store(path: Path, *names: str) -> None:
    database = await Database.open(url(path))
    async with database.engine.begin() as connection:
        for name in names:
            row = {"name": name, "value": "kept"}
            await connection.execute(text("INSERT INTO secrets (name, value) VALUES (:name, :value)"), row)
    await database.close()


async def stored(path: Path) -> list[str]:
    database = await Database.open(url(path))  # refuses a damaged file
    async with database.engine.connect() as connection:
        found = await connection.execute(text("SELECT name FROM secrets ORDER BY name"))
        names = [str(name) for (name,) in found]
    await database.close()
    return names


async def killed_while_writing(path: Path, meanwhile: Callable[[], None]) -> None:
    """Run a bot that writes all the time, and kill it after `meanwhile`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITE, url(path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"writing\n"
    await asyncio.to_thread(meanwhile)
    process.send_signal(signal.SIGKILL)
    await process.communicate()


async def test_backup_of_running_bot_is_whole(path: Path, copy: Path) -> None:
    await killed_while_writing(path, lambda: back_up(path, copy))
    names = await stored(copy)
    assert len(names) > 50
    assert names == [f"row {n:06}" for n in range(len(names))]
    assert [file.name for file in copy.parent.glob("copy*") if not file.name.endswith(".lock")] == [
        "copy.sqlite3"
    ]


async def test_restore_after_kill_brings_back_copy(path: Path, copy: Path) -> None:
    await store(path, "first", "second")
    back_up(path, copy)
    await killed_while_writing(path, lambda: None)
    assert path.with_name("bot.sqlite3-wal").stat().st_size > 0
    restore(path, copy)
    assert await stored(path) == ["first", "second"]


@pytest.mark.parametrize(
    "damage", [b"", b"This is a letter and no database. " * 300], ids=["empty", "letter"]
)
async def test_restore_replaces_unreadable_file(path: Path, copy: Path, damage: bytes) -> None:
    await store(path, "first")
    back_up(path, copy)
    await killed_while_writing(path, lambda: None)
    path.write_bytes(damage)
    restore(path, copy)
    assert await stored(path) == ["first"]


async def test_restore_creates_missing_file(path: Path, copy: Path) -> None:
    await store(path, "first")
    back_up(path, copy)
    path.unlink()
    restore(path, copy)
    assert await stored(path) == ["first"]


async def test_restore_needs_a_stopped_bot(path: Path, copy: Path) -> None:
    await store(path, "first")
    back_up(path, copy)
    database = await Database.open(url(path))
    with pytest.raises(DatabaseInUse):
        restore(path, copy)
    await database.close()


def damaged(copy: Path) -> None:
    with copy.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def newer(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE schema_version SET version = version + 1")


def foreign(copy: Path) -> None:
    copy.unlink()
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("CREATE TABLE songs (name)")


@pytest.mark.parametrize(
    "change, reason",
    [
        (damaged, "damaged|malformed"),
        (newer, f"version {SCHEMA_VERSION + 1} and this bot knows {SCHEMA_VERSION}"),
        (foreign, "is not a backup of this bot"),
        (lambda copy: copy.write_text("a letter" * 100), "file is not a database"),
        (Path.unlink, "No such file or directory"),
    ],
    ids=["damaged", "newer", "foreign", "letter", "missing"],
)
async def test_unusable_copy_changes_nothing(
    path: Path, copy: Path, change: Callable[[Path], None], reason: str
) -> None:
    await store(path, "first")
    back_up(path, copy)
    await store(path, "second")
    change(copy)
    with pytest.raises((StoreUnavailable, DatabaseTooNew), match=reason):
        restore(path, copy)
    assert await stored(path) == ["first", "second"]


async def test_failed_backup_keeps_the_older_one(path: Path, copy: Path) -> None:
    await store(path, "first")
    back_up(path, copy)
    path.write_bytes(b"This is a letter and no database. " * 300)
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        back_up(path, copy)
    assert await stored(copy) == ["first"]


async def test_database_is_not_its_own_copy(path: Path) -> None:
    await store(path, "first")
    with pytest.raises(StoreUnavailable, match="is the database itself"):
        back_up(path, path)
    assert await stored(path) == ["first"]


async def test_missing_database_is_not_backed_up(path: Path, copy: Path) -> None:
    with pytest.raises(StoreUnavailable, match=f"No such file or directory: {path}"):
        back_up(path, copy)
    assert not copy.exists() and not path.exists()


async def test_only_the_owner_reads_the_copy(path: Path, copy: Path) -> None:
    await store(path, "first")
    back_up(path, copy)
    assert copy.stat().st_mode & 0o777 == 0o600
