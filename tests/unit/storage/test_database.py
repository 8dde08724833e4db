"""How the database opens: a file for one process at a time or a server for many, and plain words when it won't."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from bot.domain.errors import DatabaseInUse, StoreUnavailable
from bot.storage import database as database_module
from bot.storage.database import Database
from bot.storage.migrations import SCHEMA_VERSION
from bot.storage.tables import metadata
from tests.support.paths import ROOT
from tests.support.pooler import pooler
from tests.support.postgres import Cable

HOLD = """
import asyncio, sys
from bot.domain import DatabaseInUse
from bot.storage import Database

async def hold():
    try:
        database = await Database.open(sys.argv[1])
    except DatabaseInUse as error:
        print("refused", error, flush=True)
        return
    print("open", flush=True)
    await asyncio.sleep(60)
    await database.close()

asyncio.run(hold())
"""


def url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.sqlite3"


@asynccontextmanager
async def another_process(path: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Start a process that opens the database and keeps it. Yields it with its first line of output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, url(path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_second_process_is_refused(path: Path) -> None:
    database = await Database.open(url(path))
    async with another_process(path) as (_, line):
        assert line == f"refused another process of the bot uses {path}"
    await database.close()


async def test_other_processes_lock_is_respected(path: Path) -> None:
    async with another_process(path) as (_, line):
        assert line == "open"
        with pytest.raises(DatabaseInUse):
            await Database.open(url(path))


async def test_symlink_leads_to_the_same_lock(path: Path) -> None:
    link = path.parent / "elsewhere" / "link.sqlite3"
    link.parent.mkdir()
    link.symlink_to(path)
    async with another_process(path) as (_, line):
        assert line == "open"
        with pytest.raises(DatabaseInUse):
            await Database.open(url(link))


async def test_a_killed_process_leaves_the_database_free(path: Path) -> None:
    async with another_process(path) as (process, line):
        assert line == "open"
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await (await Database.open(url(path))).close()


async def test_a_closed_database_can_be_opened_again(path: Path) -> None:
    for _ in range(3):
        await (await Database.open(url(path))).close()


async def test_failed_open_releases_the_lock(path: Path) -> None:
    path.write_bytes(b"This is a letter and no database. " * 100)
    with pytest.raises(StoreUnavailable):
        await Database.open(url(path))
    path.unlink()
    await (await Database.open(url(path))).close()


async def test_damaged_file_is_refused(path: Path) -> None:
    await (await Database.open(url(path))).close()
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = 'index' AND rootpage > 0 LIMIT 1"
        ).fetchone()
        connection.execute("INSERT INTO secrets (name, value) VALUES ('webhook', 'kept')")
        connection.commit()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreUnavailable, match=r"damaged|malformed"):
        await Database.open(url(path))


async def test_pooler_in_transaction_mode_is_refused(new_postgresql: str) -> None:
    async with pooler(new_postgresql) as pooled:
        with pytest.raises(StoreUnavailable, match="a pooler in transaction mode"):
            await Database.open(pooled)
    await (await Database.open(new_postgresql)).close()


async def test_open_file_can_be_copied(path: Path, tmp_path: Path) -> None:
    copy, secrets = tmp_path / "copy.sqlite3", metadata.tables["secrets"]
    database = await Database.open(url(path))
    async with database.engine.begin() as connection:
        await connection.execute(secrets.insert().values(name="webhook", value="kept"))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    await database.close()

    copied = await Database.open(url(copy))
    async with copied.engine.connect() as connection:
        assert await connection.scalar(secrets.select().with_only_columns(secrets.c.value)) == "kept"
    await copied.close()


async def test_two_databases_are_independent(tmp_path: Path) -> None:
    one = await Database.open(url(tmp_path / "one.sqlite3"))
    two = await Database.open(url(tmp_path / "two.sqlite3"))
    await one.close()
    await two.close()


def tables(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    try:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    finally:
        connection.close()


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute(statement)
    finally:
        connection.close()


OF_INSTALLATIONS = {"slack_bots", "slack_installations", "slack_oauth_states", "workspaces"}
"""Slack's SDK and the operator write these, and nothing that people ask comes near them."""


async def test_new_database_gets_every_table(path: Path) -> None:
    await (await Database.open(url(path))).close()
    kept = {"schema_version", "watches", "followers", "replies", "asks", "secrets", "budgets", "durations"}
    assert set(tables(path)) == kept | {"preferences", "channel_defaults", "ratings"} | OF_INSTALLATIONS
    with pytest.raises(sqlite3.IntegrityError):
        execute(path, f"INSERT INTO schema_version VALUES ({SCHEMA_VERSION})")


async def test_interrupted_creation_is_completed(path: Path) -> None:
    execute(path, "CREATE TABLE schema_version (version INTEGER PRIMARY KEY)")
    await (await Database.open(url(path))).close()
    assert "watches" in tables(path)


async def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as error:
        await Database.open(url(tmp_path / "missing" / "bot.sqlite3"))
    assert str(error.value) == f"No such file or directory: {tmp_path / 'missing'}"


async def test_file_in_place_of_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        await Database.open(url(tmp_path / "file" / "bot.sqlite3"))


async def test_unwritable_lock_is_reported(path: Path) -> None:
    path.with_name(f"{path.name}.lock").mkdir()
    with pytest.raises(StoreUnavailable, match="Is a directory"):
        await Database.open(url(path))


async def test_folder_in_place_of_file_is_reported(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreUnavailable) as error:
        await Database.open(url(path))
    assert str(error.value) == f"Is a directory: {path}"


async def test_invalid_file_is_reported_without_content(path: Path) -> None:
    path.write_bytes(b"Dear diary, our margins are 42 percent. " * 100)
    with pytest.raises(StoreUnavailable, match="file is not a database") as error:
        await Database.open(url(path))
    assert "margins" not in str(error.value)


async def test_commits_survive_a_crash(path: Path) -> None:
    database = await Database.open(url(path))
    async with database.engine.connect() as connection:
        journal = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one()
        keys = (await connection.exec_driver_sql("PRAGMA foreign_keys")).scalar_one()
    await database.close()
    assert (journal, keys) == ("wal", 1)


def test_no_column_holds_prompts_or_answers() -> None:
    columns = {
        table.name: {column.name for column in table.columns}
        for table in metadata.sorted_tables
        if table.name not in OF_INSTALLATIONS
    }
    assert columns == {
        "schema_version": {"version"},
        "watches": {
            *("id", "job", "team", "channel", "requester", "asked_at", "closed_at", "claim", "resumed_at"),
            *("card_tried_at", "card", "card_gone", "shown", "notice_tried_at", "notice", "ended"),
            *("thread", "is_own", "cancelled_by", "retried_by", "outcome", "given_up"),
            *("progress", "shared_by", "removed_by"),
        },
        "asks": {
            *("id", "team", "channel", "thread", "user", "asked_at", "touched_at"),
            *("model", "retry_of", "job", "told", "follow"),
        },
        "followers": {"number", "watch", "user"},
        "replies": {"watch", "slot", "tried_at", "ts"},
        "secrets": {"name", "value"},
        "budgets": {"name", "arrival", "paused_until"},
        "durations": {"job", "seconds", "ended_at", "team"},
        "preferences": {"team", "user", "notify", "changed_at"},
        "ratings": {"card", "user", "rating", "rated_at"},
        "channel_defaults": {"team", "channel", "model", "topic", "changed_at"},
    }


# PostgreSQL


async def test_server_serves_several_processes(postgresql: str) -> None:
    databases = [await Database.open(postgresql) for _ in range(3)]
    assert all(database.is_shared for database in databases)
    for database in databases:
        await database.close()


async def test_a_sqlite_file_is_not_shared(path: Path) -> None:
    database = await Database.open(url(path))
    assert not database.is_shared
    await database.close()


def at(server: str, **changed: Any) -> str:
    """A PostgreSQL database's address, changed."""
    return make_url(server).set(**changed).render_as_string(hide_password=False)


async def test_missing_server_is_reported_without_password(postgresql: str) -> None:
    with pytest.raises(StoreUnavailable) as error:
        await Database.open(at(postgresql, port=1, password="s3cret"))
    assert "127.0.0.1" in str(error.value) and "Connection refused" in str(error.value)
    assert "s3cret" not in f"{error.value}{error.value.__cause__}"


async def test_missing_database_is_named(postgresql: str) -> None:
    with pytest.raises(StoreUnavailable, match='database "missing" does not exist') as error:
        await Database.open(at(postgresql, database="missing", password="s3cret"))
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_the_tls_mode_reaches_the_driver(postgresql: str, mode: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"SSL|root certificate"):
        await Database.open(at(postgresql, query={"sslmode": mode}))
    await (await Database.open(at(postgresql, query={"sslmode": "prefer"}))).close()


async def test_unknown_option_is_named(postgresql: str) -> None:
    with pytest.raises(StoreUnavailable, match="sslmood"):
        await Database.open(at(postgresql, query={"sslmood": "require"}, password="s3cret"))


async def test_silent_server_times_out(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "CONNECTS_WITHIN_SECONDS", 2)
    async with Cable(postgresql.replace("+psycopg", "")).laid() as cable:
        cable.fall_silent()
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(Database.open(at(postgresql, port=make_url(cable.url).port)), 10.0)


async def test_connections_of_closed_databases_are_given_back(postgresql: str) -> None:
    for _ in range(3):
        await (await Database.open(postgresql)).close()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with psycopg.connect(postgresql.replace("+psycopg", ""), autocommit=True) as connection:
        async with asyncio.timeout(10.0):
            while connection.execute(others).fetchone() != (1,):
                await asyncio.sleep(0.05)
